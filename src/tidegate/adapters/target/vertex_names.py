"""What things are called on Vertex AI: names made of what they stand for, so that a repeat collides.

Ids: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/create,
https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.models/upload and
https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints#DeployedModel
"""

from __future__ import annotations

import hashlib
import re

# Labels: keys and values of at most 63 lower-case letters, digits, underscores and dashes.
OWNER = "tidegate-endpoint"  # the endpoint's id: what carries it is ours
GENERATION = "tidegate-generation"  # of the newest change accepted: the fence
ROUTED = "tidegate-routed"  # generation of the last route
ASKED = "tidegate-asked"  # hash of the split that it asked for
CLEARED = "tidegate-cleared"  # the dead-man's firing (milliseconds) that a route has answered
VERSION = "tidegate-version"
ROLE = "tidegate-role"
PARITY = "parity"  # value of ROLE: the endpoint beside ours, for the check before traffic

# On a model: ids of the operations that bring it up and take it down, on either endpoint.
UP, DOWN = "tidegate-up", "tidegate-down"
PARITY_UP, PARITY_DOWN = "tidegate-parity-up", "tidegate-parity-down"
NO_OPERATION = "none"

_LONGEST = 63
_ENDPOINT = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]+")
_PLAIN_VERSION = re.compile(r"[a-z0-9_]{1,16}")
_CREATABLE = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?|[1-9][0-9]{0,8}|0")


def endpoint_id(name: str) -> str:
    """Return the id of the endpoint: the name itself where the rules of ids allow it.

    >>> endpoint_id("flights"), endpoint_id("8234567890123456789")
    ('flights', '8234567890123456789')
    >>> endpoint_id("Flight delays")
    'tg-0805b67dcf99a7c8'
    """
    if _ENDPOINT.fullmatch(name) or _NUMBER.fullmatch(name):
        return name
    return f"tg-{_hash(name)[:16]}"


def creatable(endpoint: str) -> bool:
    """Whether an endpoint of this id may be created; longer numbers are Google's to give.

    >>> creatable("flights"), creatable("123456789"), creatable("8234567890123456789")
    (True, True, False)
    """
    return _CREATABLE.fullmatch(endpoint) is not None


def parity_id(endpoint: str) -> str:
    """Return the id of the endpoint beside ``endpoint`` on which a candidate is asked.

    >>> parity_id("flights"), parity_id("1234")
    ('flights-parity', 'tg-1234-parity')
    """
    return _joined(endpoint, "-parity")


def job_id(endpoint: str) -> str:
    """Return the name of the dead-man's switch in Cloud Scheduler.

    >>> job_id("flights")
    'flights-dead-man'
    """
    return _joined(endpoint, "-dead-man")


def model_id(endpoint: str, version: str, digest: str) -> str:
    """Return the id of a version's model: at most 63 of ``[a-z0-9_-]``, a letter first.

    >>> model_id("flights", "3", "0123456789abcdef")
    'flights-v3-0123456789'
    >>> len(model_id("a" * 63, "3", "0123456789abcdef"))
    63
    """
    return _joined(endpoint, f"-{folder(version, digest)}")


def folder(version: str, digest: str) -> str:
    """Return the folder of a version's files in the bucket.

    >>> folder("3", "0123456789abcdef"), folder("Rel/3", "sha256:x")
    ('v3-0123456789', 'vxbc531e14-fe8eb9ab98')
    """
    short = digest[:10] if re.fullmatch(r"[0-9a-f]{10,}", digest) else _hash(digest)[:10]
    return f"v{slug(version)}-{short}"


def slug(version: str) -> str:
    """Return a version's name as ids and labels can hold it.

    >>> slug("3"), slug("1.0")
    ('3', 'xd0ff5974')
    """
    return version if _PLAIN_VERSION.fullmatch(version) else f"x{_hash(version)[:8]}"


def deployed_id(version: str, digest: str) -> str:
    """Return the id of a deployed model: ten digits.

    >>> deployed_id("3", "0123456789abcdef")
    '9381056373'
    """
    number = int(_hash(f"{version}\0{digest}"), 16)
    return str(10**9 + number % (9 * 10**9))


def _joined(endpoint: str, suffix: str) -> str:
    base = endpoint if endpoint[0].isalpha() else f"tg-{endpoint}"
    room = _LONGEST - len(suffix)
    if len(base) > room:
        base = f"{base[: room - 9]}-{_hash(base)[:8]}"
    return base + suffix


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
