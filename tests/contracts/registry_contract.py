"""What every model registry must do, wherever it keeps its versions. Subclass it with a fixture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes import make_bundle
from tidegate.digests import folder_digest
from tidegate.errors import OutsideError
from tidegate.home import MODEL
from tidegate.ports import Registration

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.ports import Registry


def registration(folder: Path, content: str = "a model", name: str = "m") -> Registration:
    """Return a bundle on its way: another content is another digest."""
    bundle = make_bundle(folder, content)
    (bundle / MODEL / "deep" / "er").mkdir(parents=True)
    (bundle / MODEL / "deep" / "er" / "größe.bin").write_bytes(bytes(range(256)))
    (bundle / "run.json").write_text("{}")
    return Registration(
        name=name,
        digest=folder_digest(bundle / MODEL),
        bundle=bundle,
        tags={"tidegate.commit": "c" * 40, "tidegate.by": "Ada | `@grace` <b>"},
        params={"depth": "3"},
        metrics={"auc": 0.9},
    )


def files(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


class RegistryContract:
    """Needs the fixture ``registry`` (empty and new)."""

    def test_the_same_bytes_get_one_version_and_others_the_next(
        self, registry: Registry, tmp_path: Path
    ) -> None:
        one = registration(tmp_path / "one")
        assert registry.register(one) == "1"
        assert registry.register(one) == "1"
        assert registry.register(registration(tmp_path / "two", "another")) == "2"
        assert registry.register(registration(tmp_path / "three", "a third")) == "3"
        assert registry.register(one) == "1"

    def test_models_are_numbered_by_themselves(self, registry: Registry, tmp_path: Path) -> None:
        # One name begins like the other, and one ends like a version of it.
        names = ("m", "m-v1", "mm")
        for index, name in enumerate(names):
            given = registration(tmp_path / name, f"model {index}", name)
            assert registry.register(given) == "1"
            assert registry.register(given) == "1"
        registry.publish("m", {"champion": "1"}, ["h1"])
        assert [dict(registry.aliases(name)) for name in names] == [{"champion": "1"}, {}, {}]
        again = registration(tmp_path / "m again", "model 0", "m-v1")
        assert registry.register(again) == "2", "the same bytes under another name"

    def test_a_fetched_bundle_is_whole_and_what_was_registered(
        self, registry: Registry, tmp_path: Path
    ) -> None:
        given = registration(tmp_path / "one")
        version = registry.register(given)
        registry.register(registration(tmp_path / "two", "another"))
        into = tmp_path / "store" / "fetched"
        for _ in range(2):  # the second replaces the first
            registry.fetch("m", version, into)
            assert folder_digest(into / MODEL) == given.digest
            assert files(into) == files(given.bundle)
            assert [p.name for p in into.parent.iterdir()] == ["fetched"]

    @pytest.mark.parametrize("version", ["7", "0", "-1", "1.0", "latest", "../1", ""])
    def test_a_version_that_is_not_there_is_an_outside_error(
        self, registry: Registry, version: str, tmp_path: Path
    ) -> None:
        registry.register(registration(tmp_path / "one"))
        with pytest.raises(OutsideError):
            registry.fetch("m", version, tmp_path / "store" / "x")
        assert not (tmp_path / "store" / "x").exists()

    def test_aliases_are_where_the_ledger_says_and_nowhere_else(
        self, registry: Registry, tmp_path: Path
    ) -> None:
        assert dict(registry.aliases("m")) == {}
        for index in range(3):
            registry.register(registration(tmp_path / str(index), f"model {index}"))
        assert dict(registry.aliases("m")) == {}
        chain = []
        steps: list[tuple[dict[str, str | None], dict[str, str]]] = [
            ({"champion": "1", "challenger": None}, {"champion": "1"}),
            ({"champion": "1", "challenger": "2"}, {"champion": "1", "challenger": "2"}),
            ({"champion": "2", "challenger": None}, {"champion": "2"}),
            ({"challenger": "3"}, {"champion": "2", "challenger": "3"}),
            ({"champion": "1", "challenger": None}, {"champion": "1"}),
            ({"champion": None, "challenger": "2"}, {"challenger": "2"}),
            ({"champion": None, "challenger": None}, {}),
        ]
        for index, (wanted, then) in enumerate(steps):
            chain.append(f"h{index}")
            for _ in range(2):
                registry.publish("m", wanted, chain)
                assert dict(registry.aliases("m")) == then

    @pytest.mark.parametrize(
        "chain", [["h1", "other"], ["h1"], ["x1", "x2", "x3"], ["h2"[::-1]]],
        ids=["forked", "cut", "another", "new"],
    )  # fmt: skip
    def test_a_rewritten_ledger_is_refused_and_changes_nothing(
        self, registry: Registry, chain: list[str], tmp_path: Path
    ) -> None:
        for index in range(2):
            registry.register(registration(tmp_path / str(index), f"model {index}"))
        registry.publish("m", {"champion": "1"}, ["h1"])
        registry.publish("m", {"champion": "2"}, ["h1", "h2"])
        for _ in range(2):
            with pytest.raises(OutsideError, match="ledger head"):
                registry.publish("m", {"champion": "1"}, chain)
            assert dict(registry.aliases("m")) == {"champion": "2"}
        registry.publish("m", {"champion": "1"}, ["h1", "h2", "h3"])
        assert dict(registry.aliases("m")) == {"champion": "1"}

    def test_annotating_keeps_bytes_and_aliases(self, registry: Registry, tmp_path: Path) -> None:
        given = registration(tmp_path / "one")
        version = registry.register(given)
        registry.publish("m", {"champion": version}, ["h1"])
        for _ in range(2):
            registry.annotate("m", version, {"tidegate.outcome": "promoted"})
        registry.annotate("m", version, {"tidegate.rollout": "r1"})
        assert dict(registry.aliases("m")) == {"champion": version}
        assert registry.register(given) == version
        registry.fetch("m", version, tmp_path / "fetched")
        assert folder_digest(tmp_path / "fetched" / MODEL) == given.digest
        with pytest.raises(OutsideError):
            registry.annotate("m", "9", {"x": "y"})
