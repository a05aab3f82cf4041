"""A recipe's digest: what a model is made of, wherever in the repository that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.test_rules import Repository
from tidegate.digests import recipe_digest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real
PATHS = ("lib/**/*.py", "shared.txt")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    repository = Repository.make(tmp_path / "r")
    for folder in ("models/churn", "lib/deep"):
        (repository.path / folder).mkdir(parents=True)
    write(repository, "models/churn/train.py", "1")
    write(repository, "lib/deep/x.py", "1")
    write(repository, "shared.txt", "1")
    write(repository, "README.md", "1")
    return repository


def write(repository: Repository, name: str, content: str) -> None:
    (repository.path / name).write_text(content)
    repository.commit()


def recipe(repository: Repository, *paths: str) -> str:
    return recipe_digest(repository.path, repository.path / "models" / "churn", "c", ["d"], paths)


@pytest.mark.parametrize("name", ["models/churn/train.py", "lib/deep/x.py", "shared.txt"])
def test_a_change_of_what_it_is_made_of_is_another_recipe(
    repository: Repository, name: str
) -> None:
    before = recipe(repository, *PATHS)
    write(repository, name, "2")
    assert recipe(repository, *PATHS) != before


@pytest.mark.parametrize("name", ["README.md", "lib/x.txt", "lib2.py", "models/other.py"])
def test_a_change_of_anything_else_is_the_same_recipe(repository: Repository, name: str) -> None:
    before = recipe(repository, *PATHS)
    write(repository, name, "2")
    assert recipe(repository, *PATHS) == before


def test_only_what_is_named_counts(repository: Repository) -> None:
    plain, named = recipe(repository), recipe(repository, "shared.txt")
    assert plain != named
    write(repository, "lib/deep/x.py", "2")
    assert (recipe(repository), recipe(repository, "shared.txt")) == (plain, named)
