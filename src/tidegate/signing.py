"""Signatures of registered models: name, version and bytes bound together by an Ed25519 key.

Optional. The private key is a secret of our own jobs (``TIDEGATE_SIGNING_KEY``), the public one
stands in ``mlops.yaml`` as ``registry.public_key``. With it, nothing serves that was not signed
under this name and version: an older model's signature does not fit a newer version's number.

Ed25519: https://www.rfc-editor.org/rfc/rfc8032
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tidegate.errors import ConfigError, OutsideError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from tidegate.core.model import VersionRef

PRIVATE_KEY = "TIDEGATE_SIGNING_KEY"  # environment variable
TAG = "tidegate.signature"  # on the registry's version

_FORMAT = "tidegate model signature, format 1"


class UntrustedError(OutsideError):
    """A model does not carry the signature that it must; it gets no traffic."""


def new_pair() -> tuple[str, str]:
    """Return a new private and public key, as base64."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    return _text(key.private_bytes_raw()), _text(key.public_key().public_bytes_raw())


def statement(name: str, model: VersionRef) -> bytes:
    """Return what is signed: this model, this version, these bytes.

    Raises:
        ValueError: a part holds a line break, and could pretend to be another.
    """
    lines = [_FORMAT, f"model: {name}", f"version: {model.version}", f"digest: {model.digest}"]
    if any(not line.isprintable() for line in lines):
        raise ValueError("a signed statement holds one line a fact")
    return ("\n".join(lines) + "\n").encode()


def sign(signed: bytes, private: str) -> str:
    """Return the signature as base64; the same statement and key give the same one.

    Raises:
        ConfigError: the private key is none.
    """
    return _text(_private(private).sign(signed))


def public_of(private: str) -> str:
    """Return the public key of a private one.

    Raises:
        ConfigError: the private key is none.
    """
    return _text(_private(private).public_key().public_bytes_raw())


def verify(signed: bytes, signature: str, public: str) -> bool:
    """Whether the signature is this key's, of this very statement.

    Raises:
        ConfigError: the public key is none.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = Ed25519PublicKey.from_public_bytes(_bytes(public))
    except ValueError:
        raise ConfigError(
            "registry.public_key is not an Ed25519 public key in base64 (44 characters)"
        ) from None
    try:
        key.verify(_bytes(signature), signed)
    except (InvalidSignature, ValueError):
        return False
    return True


def signing_key(public: str, environment: Mapping[str, str]) -> str:
    """Return the private key that belongs to ``public``.

    Raises:
        ConfigError: it is not there, or belongs to another.
    """
    private = environment.get(PRIVATE_KEY, "").strip()
    if not private:
        raise ConfigError(
            f"registry.public_key asks for signed models, and {PRIVATE_KEY} is not set",
            remedy=f"Give the job the secret {PRIVATE_KEY}, or take registry.public_key out of "
            "mlops.yaml. Nothing was registered.",
        )
    if public_of(private) != public:
        raise ConfigError(
            f"{PRIVATE_KEY} is not the key that registry.public_key belongs to",
            remedy=f"Its public key is {public_of(private)}. Nothing was registered.",
        )
    return private


@dataclass(frozen=True, kw_only=True, slots=True)
class Trust:
    """Which versions may serve: all of them (no key), or those signed under their own name."""

    public_key: str | None
    signatures: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def holds(self, name: str, model: VersionRef) -> bool:
        """Whether the version may serve."""
        if self.public_key is None:
            return True
        signed, key = statement(name, model), self.public_key
        return any(verify(signed, given, key) for given in self.signatures.get(model.digest, ()))

    def check(self, name: str, model: VersionRef) -> None:
        """Refuse a version that may not serve.

        Raises:
            UntrustedError: no signature, or none by this key of this name, version and digest.
        """
        if self.holds(name, model):
            return
        signed = bool(self.signatures.get(model.digest))
        why = "is signed by another key or as something else" if signed else "is not signed"
        raise UntrustedError(
            f"version {model.version} of {name} {why}, and registry.public_key asks for it",
            remedy="It gets no traffic. If you know where it comes from, sign it: "
            f"`tidegate register --sign {model.version}` with {PRIVATE_KEY} set.",
        )


def _private(text: str) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        return Ed25519PrivateKey.from_private_bytes(_bytes(text))
    except ValueError:
        # Never its text: it is a secret, even a mistyped one.
        raise ConfigError(
            f"{PRIVATE_KEY} is not an Ed25519 private key in base64 (44 characters)"
        ) from None


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    """Return the bytes of base64 in its one proper spelling.

    Raises:
        ValueError: it is not that.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None
    if _text(data) != text:
        raise ValueError("not base64 as it is written")
    return data
