"""A stand-in and its kit for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.aws.kit import Kit
from tests.aws.server import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.aws.cloud import Cloud


@pytest.fixture
def kit() -> Iterator[Kit]:
    with serve() as cloud:
        yield Kit(cloud)


@pytest.fixture
def cloud(kit: Kit) -> Cloud:
    return kit.cloud
