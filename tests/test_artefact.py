"""Under `TIDEGATE_WHEEL` it is the wheel that is tested, and nothing of the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import tidegate
from tidegate.resources import resource

wheel_only = pytest.mark.skipif(
    not os.environ.get("TIDEGATE_WHEEL"),
    reason="the checkout is installed: TIDEGATE_WHEEL=1 ./dev test",
)
RESOURCES = (
    "schemas/mlops.schema.json",
    "examples/flight-delays/mlops.yaml",
    "workflow-templates/mlops.yml",
)


@wheel_only
def test_the_installed_package_is_the_one_imported() -> None:
    assert "site-packages" in Path(tidegate.__file__).parts


@pytest.mark.parametrize("name", RESOURCES)
def test_what_the_commands_read_is_there(name: str) -> None:
    assert resource(name).is_file()


@wheel_only
@pytest.mark.parametrize("name", RESOURCES)
def test_the_wheel_carries_what_the_commands_read(name: str) -> None:
    assert Path(tidegate.__file__).parent in resource(name).parents
