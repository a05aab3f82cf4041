"""A cloud, and somebody who asks it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.gcp.client import Client
from tests.gcp.server import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.gcp.cloud import Cloud


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with serve() as one:
        yield one


@pytest.fixture
def client(cloud: Cloud) -> Client:
    return Client(cloud)
