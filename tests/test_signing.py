"""Signed models: nothing serves that this key did not sign as this version of this model."""

from __future__ import annotations

import base64
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from tests.engine import Engine
from tests.real_repo import Stage, two_releases
from tidegate import bundles
from tidegate.core.events import Registered
from tidegate.core.model import VersionRef
from tidegate.digests import folder_digest
from tidegate.errors import ConfigError, Exit, OutsideError
from tidegate.home import MODEL, Home
from tidegate.signing import (
    PRIVATE_KEY,
    TAG,
    Trust,
    UntrustedError,
    new_pair,
    public_of,
    sign,
    signing_key,
    statement,
    verify,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes import FakeRegistry
    from tidegate.perform import World

PRIVATE, PUBLIC = new_pair()
OTHER_PRIVATE, OTHER_PUBLIC = new_pair()


def model_of(version: str = "3", digest: str = "d" * 64) -> VersionRef:
    return VersionRef(version=version, digest=digest, recipe="e" * 64, commit="c" * 40)


# --- the signature ---------------------------------------------------------------------------------


def test_what_was_signed_verifies_and_signing_again_gives_the_same() -> None:
    signed = statement("m", model_of())
    signature = sign(signed, PRIVATE)
    assert verify(signed, signature, PUBLIC)
    assert sign(signed, PRIVATE) == signature
    assert public_of(PRIVATE) == PUBLIC


def test_the_statement_is_written_down_for_ever() -> None:
    """A change of this text makes every signature ever given worthless."""
    assert statement("coin", model_of("12", "ab" * 32)) == (
        b"tidegate model signature, format 1\nmodel: coin\nversion: 12\n"
        b"digest: abababababababababababababababababababababababababababababababab\n"
    )
    # OpenSSL signs this very text with this key the same way.
    private = base64.b64encode(b"k" * 32).decode()
    assert sign(statement("coin", model_of("12", "ab" * 32)), private).startswith(
        "rfYghLNDfew1wGh7Wk1B5plM"
    )


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("n", model_of()),
        ("m", model_of("4")),
        ("m", model_of(digest="d" * 63 + "e")),
        ("m", model_of("33")),
    ],
    ids=["name", "version", "digest", "longer version"],
)
def test_a_signature_fits_its_own_name_version_and_bytes_only(name: str, model: VersionRef) -> None:
    signature = sign(statement("m", model_of()), PRIVATE)
    assert not verify(statement(name, model), signature, PUBLIC)


@pytest.mark.parametrize(
    ("name", "version"), [("m\nversion: 9", "3"), ("m", "3\ndigest: x"), ("m\r", "3"), ("m\u2028", "3")]
)  # fmt: skip
def test_a_part_of_the_statement_cannot_pretend_to_be_another(name: str, version: str) -> None:
    with pytest.raises(ValueError, match="one line a fact"):
        statement(name, model_of(version))


def flipped(signature: str, bit: int) -> str:
    data = bytearray(base64.b64decode(signature))
    data[bit // 8] ^= 1 << bit % 8
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("bit", [*range(0, 512, 37), 511])
def test_a_flipped_bit_in_the_signature_is_noticed(bit: int) -> None:
    signed = statement("m", model_of())
    assert not verify(signed, flipped(sign(signed, PRIVATE), bit), PUBLIC)


@pytest.mark.parametrize(
    "signature",
    ["", "=", "not base64!", "é", "AAAA", " ", base64.b64encode(bytes(64)).decode()],
)  # fmt: skip
def test_what_is_no_signature_does_not_verify(signature: str) -> None:
    assert not verify(statement("m", model_of()), signature, PUBLIC)


def test_a_signature_has_one_spelling() -> None:
    signed = statement("m", model_of())
    signature = sign(signed, PRIVATE)
    for other in (signature + "\n", f" {signature}", signature.rstrip("="), signature + "===="):
        assert not verify(signed, other, PUBLIC)


@pytest.mark.parametrize("key", ["", "short", "A" * 44, PRIVATE[:-4], "é" * 44],
    ids=["empty", "short", "no padding", "cut", "foreign"],
)  # fmt: skip
def test_a_key_that_is_none_is_named_and_never_shown(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        sign(b"x", key)
    assert PRIVATE_KEY in str(caught.value)
    assert not key or key not in str(caught.value) + caught.value.remedy
    with pytest.raises(ConfigError, match="public_key"):
        verify(b"x", "x", key)


def test_the_signing_key_must_be_there_and_belong_to_the_public_one() -> None:
    assert signing_key(PUBLIC, {PRIVATE_KEY: f"{PRIVATE}\n"}) == PRIVATE
    with pytest.raises(ConfigError, match="is not set") as caught:
        signing_key(PUBLIC, {})
    assert caught.value.exit_code is Exit.USAGE
    with pytest.raises(ConfigError, match="is not the key") as caught:
        signing_key(PUBLIC, {PRIVATE_KEY: OTHER_PRIVATE})
    assert OTHER_PRIVATE not in str(caught.value) + caught.value.remedy


# --- before anything serves ---------------------------------------------------------------------------


@dataclass
class Signed(Engine):
    """An engine that asks for signatures."""

    public_key: str | None = PUBLIC

    @property
    def world(self) -> World:
        return replace(super().world, public_key=self.public_key)

    def sign(self, model: VersionRef, private: str = PRIVATE, name: str = "m") -> None:
        self.append(Registered(model=model, signature=sign(statement(name, model), private)))


@pytest.fixture
def engine(tmp_path: Path) -> Signed:
    """Version 1 serves, signed; version 2 is registered, not signed."""
    engine = Signed.make(tmp_path)
    assert isinstance(engine, Signed)
    one = engine.version(1)
    engine.sign(one)
    engine.request(one)
    engine.tick()
    assert engine.state.champion == one
    return engine


def traffic(engine: Engine) -> dict[str, float]:
    return dict(engine.target.read().traffic())


def test_a_signed_version_serves(engine: Signed) -> None:
    two = engine.version(2)
    engine.sign(two)
    engine.request(two)
    engine.tick(3)
    assert engine.state.versions == (engine.state.champion, two), "signing is no second version"
    assert set(traffic(engine)) == {"1", "2"}


@pytest.mark.parametrize("why", ["unsigned", "another key", "another version", "another model"])
def test_a_version_without_its_own_signature_gets_no_traffic(engine: Signed, why: str) -> None:
    two = engine.version(2)
    if why == "another key":
        engine.sign(two, OTHER_PRIVATE)
    elif why == "another model":
        engine.sign(two, name="n")
    elif why == "another version":
        one = engine.state.versions[0]
        (older,) = engine.state.signatures[one.digest]
        engine.append(Registered(model=two, signature=older))
    engine.request(two)
    for _ in range(3):
        with pytest.raises(UntrustedError, match="version 2 of m is"):
            engine.tick(1)
    assert traffic(engine) == {"1": 1.0}
    assert engine.target.read().variant("2") is None, "not even deployed"


def test_an_older_signed_model_under_the_new_version_is_refused(
    engine: Signed, tmp_path: Path
) -> None:
    two = engine.version(2)
    engine.sign(two)
    shutil.rmtree(tmp_path / "v2")
    shutil.copytree(tmp_path / "v1", tmp_path / "v2")  # the registry now gives the old bytes
    engine.request(two)
    with pytest.raises(OutsideError, match="not what was judged"):
        engine.tick(1)
    assert traffic(engine) == {"1": 1.0}


@pytest.mark.parametrize("harm", ["bit", "file", "hidden file", "renamed", "gone"])
def test_bytes_that_are_not_the_signed_ones_are_refused(
    engine: Signed, harm: str, tmp_path: Path
) -> None:
    two = engine.version(2)
    engine.sign(two)
    model = tmp_path / "v2" / MODEL
    target = model / "model.txt"
    match harm:
        case "bit":
            data = bytearray(target.read_bytes())
            data[3] ^= 1
            target.write_bytes(bytes(data))
        case "file":
            (model / "extra.txt").write_text("x")
        case "hidden file":
            (model / ".git").mkdir()
            (model / ".git" / "config").write_text("x")
        case "renamed":
            target.rename(model / "other.txt")
        case _:
            shutil.rmtree(model)
    engine.request(two)
    with pytest.raises(OutsideError):
        engine.tick(1)
    assert traffic(engine) == {"1": 1.0}
    assert engine.target.read().variant("2") is None


@pytest.mark.parametrize("harm", ["bytes", "link"])
def test_bytes_swapped_on_this_machine_after_the_fetch_are_refused(
    engine: Signed, harm: str, tmp_path: Path
) -> None:
    two = engine.version(2)
    engine.sign(two)
    home, registry = engine.world.home, engine.registry
    trust = Trust(public_key=PUBLIC, signatures=engine.state.signatures)
    folder = bundles.fetch(home, registry, "m", two, trust)
    target = folder / MODEL / "model.txt"
    if harm == "link":  # the same bytes today, others tomorrow
        shutil.move(target, tmp_path / "elsewhere")
        target.symlink_to(tmp_path / "elsewhere")
    else:
        target.write_text("evil")
    with pytest.raises(OutsideError, match=r"not what was judged|regular files only"):
        bundles.fetch(home, registry, "m", two, trust)


def test_an_alias_moved_in_the_registry_moves_no_traffic(engine: Signed) -> None:
    engine.version(2)
    registry: FakeRegistry = engine.registry
    registry.alias = {"champion": "2"}
    engine.run(3)
    assert traffic(engine) == {"1": 1.0}


def test_without_a_public_key_nothing_changes(tmp_path: Path) -> None:
    engine = Signed.make(tmp_path)
    assert isinstance(engine, Signed)
    engine.public_key = None
    one = engine.version(1)
    engine.request(one)
    engine.tick()
    assert traffic(engine) == {"1": 1.0}


def test_any_signature_of_the_ledger_may_be_the_right_one(engine: Signed) -> None:
    """A second one, after a change of keys, does not make the first one worthless, nor hide it."""
    two = engine.version(2)
    engine.sign(two)
    engine.sign(two, OTHER_PRIVATE)
    for key in (PUBLIC, OTHER_PUBLIC):
        Trust(public_key=key, signatures=engine.state.signatures).check("m", two)
    with pytest.raises(UntrustedError, match="signed by another key"):
        Trust(public_key=new_pair()[1], signatures=engine.state.signatures).check("m", two)


def test_trust_is_asked_before_anything_is_downloaded(engine: Signed, tmp_path: Path) -> None:
    two = engine.version(2)
    empty = Home(tmp_path / "empty")
    trust = Trust(public_key=PUBLIC, signatures=engine.state.signatures)
    with pytest.raises(UntrustedError):
        bundles.fetch(empty, engine.registry, "m", two, trust)
    assert not empty.root.exists()


# --- tidegate register ----------------------------------------------------------------------------------


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Versions 1 and 2 were released before there was a key; a better model waits."""
    monkeypatch.delenv(PRIVATE_KEY, raising=False)
    stage = two_releases(tmp_path, monkeypatch)
    stage.push(0.95)
    assert [stage.tidegate(verb) for verb in ("train", "evaluate", "gate")] == [0, 0, 0]
    config = stage.repo.config
    config.write_text(config.read_text().replace(
        '"version": 1,', f'"version": 1,\n "registry": {{"public_key": "{PUBLIC}"}},'
    ))  # fmt: skip
    return stage


@pytest.mark.real
def test_without_the_private_key_nothing_is_registered(
    stage: Stage, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in (None, OTHER_PRIVATE, "rubbish"):
        if key is not None:
            monkeypatch.setenv(PRIVATE_KEY, key)
        assert stage.tidegate("register") == 2
        said = capfd.readouterr().err
        assert PRIVATE_KEY in said
        assert key is None or key not in said
    assert [v.version for v in stage.state.versions] == ["1", "2"]
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{stage.repo.home.registry / 'mlflow.db'}")
    assert len(client.search_model_versions("name = 'coin'")) == 2


@pytest.mark.real
def test_a_registered_version_is_signed_in_ledger_and_registry_and_serves(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(PRIVATE_KEY, PRIVATE)
    for _ in range(2):
        assert stage.tidegate("register") == 0
    state = stage.state
    three = state.versions[-1]
    (signature,) = state.signatures[three.digest]
    assert verify(statement("coin", three), signature, PUBLIC)
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{stage.repo.home.registry / 'mlflow.db'}")
    assert client.get_model_version("coin", "3").tags[TAG] == signature
    assert PRIVATE not in capfd.readouterr().err


@pytest.mark.real
def test_a_version_from_before_the_key_is_refused_until_a_person_signs_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert stage.tidegate("evaluate") == 3, "the champion is compared with, and not signed"
    assert "tidegate register --sign 2" in capfd.readouterr().err
    monkeypatch.setenv(PRIVATE_KEY, PRIVATE)
    assert stage.tidegate("register", "--sign", "9") == 2
    for _ in range(2):
        assert stage.tidegate("register", "--sign", "2") == 0
    signed = [e for e in stage.repo.book.chain if getattr(e.payload, "signature", "")]
    assert [(e.actor, e.human) for e in signed] == [("Ada", True)]
    assert stage.tidegate("evaluate") == 0


@pytest.mark.real
def test_what_a_person_signs_is_verified_first(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PRIVATE_KEY, PRIVATE)
    two = stage.state.versions[-1]
    folder = stage.repo.home.fetched(two.digest)
    assert folder_digest(folder / MODEL) == two.digest
    (folder / MODEL / "slope.txt").write_text("0.0")
    assert stage.tidegate("register", "--sign", "2") == 3
    assert stage.state.signatures == {}
