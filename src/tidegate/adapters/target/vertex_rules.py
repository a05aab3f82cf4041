"""What may be changed on a Vertex AI endpoint, and what the change is. No IO.

The fence is a label of the endpoint, written by the same compare-and-swap as the change that it lets
through (or by the one before it, where the change is an operation). A split is whole per cents:
https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints#Endpoint
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from tidegate.adapters.target import vertex_names as names
from tidegate.adapters.target.vertex_seen import Seen, Stage, generation, number, shares
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate.adapters.target.vertex_calls import Row
    from tidegate.core.endpoint import Traffic


def fence(row: Row, mine: int) -> None:
    """Let only the newest controller through.

    Raises:
        OutsideError: a newer generation was seen.
    """
    seen = generation(row)
    if mine < seen:
        raise OutsideError(
            f"The endpoint has seen generation {seen}; {mine} is out of date.",
            remedy="Somebody else moved on. Read the ledger again and decide again.",
        )


def idle(seen: Seen, now: float) -> None:
    """Let nobody change what is changing.

    Raises:
        OutsideError: an operation is under way.
    """
    if (stuck := seen.stuck(now)) is not None:
        raise OutsideError(f"The endpoint needs a person: {stuck}.")
    if seen.busy is not None:
        raise OutsideError(
            f"The endpoint is busy: {seen.busy}.", remedy="Try again when it is done."
        )


def labelled(row: Row, **labels: str) -> dict[str, str]:
    """Return an endpoint's labels with ours over them."""
    return {**(row.get("labels") or {}), **labels}


def accepted(row: Row, mine: int) -> Row | None:
    """Return the change that lets a generation through; None: it has been let through already.

    Raises:
        OutsideError: a newer generation was seen.
    """
    fence(row, mine)
    labels = labelled(row, **{names.GENERATION: str(mine)})
    return None if labels == row.get("labels") else {"labels": labels}


def same_bytes(seen: Seen, version: str, digest: str) -> None:
    """Let a version stand for one model.

    Raises:
        OutsideError: it is on the endpoint with other bytes.
    """
    for member in seen.members:
        if (
            member.version == version
            and member.digest != digest
            and member.main.stage is not Stage.ABSENT
        ):
            raise OutsideError(
                f"Version {version} is on the endpoint with other bytes "
                f"({member.digest}, not {digest}).",
                remedy="A version's name stands for one model. Remove it first.",
            )


def split(seen: Seen, traffic: Traffic) -> dict[str, int]:
    """Return the traffic as deployed model's id -> per cent.

    Raises:
        OutsideError: the shares do not sum to 1, are not whole per cents, or are for a version that
            is not deployed.
    """
    wanted = {version: float(share) for version, share in traffic.items() if share != 0}
    if not wanted or min(wanted.values()) < 0 or abs(sum(wanted.values()) - 1) > 1e-6:
        raise OutsideError(
            f"These shares do not sum to 1: {dict(traffic)}.",
            remedy="Give every version a share between 0 and 1, together 1.",
        )
    found = {}
    for version, share in wanted.items():
        member = seen.serving(version)
        if member is None or member.main.stage is not Stage.UP:
            there = [m.version for m in seen.members if m.main.stage is Stage.UP]
            raise OutsideError(
                f"Version {version} is not on the endpoint (there: {', '.join(there)}).",
                remedy="Deploy it before giving it traffic.",
            )
        found[member.main.deployed] = _per_cent(version, share)
    return found


def routed(row: Row, wanted: Mapping[str, int], mine: int, cleared: float | None) -> Row | None:
    """Return the change that gives an endpoint this split; None: this generation gave it before.

    Args:
        row: the endpoint.
        wanted: deployed model's id -> per cent.
        mine: the generation that asks.
        cleared: when the dead-man's switch fired that this answers (epoch seconds).

    Raises:
        OutsideError: a newer generation was seen, or this one asked for another split before.
    """
    fence(row, mine)
    asked = hashlib.sha256(json.dumps(dict(wanted), sort_keys=True).encode()).hexdigest()[:16]
    if number(row, names.ROUTED, -1) == mine:
        if (row.get("labels") or {}).get(names.ASKED) != asked:
            raise OutsideError(
                f"Generation {mine} has already routed traffic otherwise than {dict(wanted)}.",
                remedy="Two controllers share a generation: only one of them may go on.",
            )
        return None
    labels = {names.GENERATION: str(mine), names.ROUTED: str(mine), names.ASKED: asked}
    if cleared is not None:
        labels[names.CLEARED] = str(milliseconds(cleared))
    return {"trafficSplit": dict(wanted), "labels": labelled(row, **labels)}


def removable(row: Row, version: str, deployed: str, fallback: Mapping[str, int]) -> None:
    """Let a model go that nothing sends requests to.

    Args:
        row: the endpoint.
        version: what is to go.
        deployed: its deployed model's id.
        fallback: the split of the dead-man's switch; empty where it is not armed.

    Raises:
        OutsideError: it has traffic, now or when the switch fires.
    """
    if share := shares(row).get(deployed):
        raise OutsideError(
            f"Version {version} still has {share:.0%} of the traffic.",
            remedy="Route its share elsewhere before removing it.",
        )
    if deployed in fallback:
        raise OutsideError(
            f"The dead-man's switch would send traffic to version {version}.",
            remedy="Arm it with another fallback, or disarm it, before removing the version.",
        )


def milliseconds(moment: float) -> int:
    """Return a time as a label holds it."""
    return round(moment * 1000)


def _per_cent(version: str, share: float) -> int:
    exact = share * 100
    whole = round(exact)
    if whole < 1 or abs(exact - whole) > 1e-6:
        raise OutsideError(
            f"Vertex AI cannot give version {version} {exact:.4g} % of the traffic: it splits by "
            "whole per cents.",
            remedy="Use steps of whole per cents in release.canary, the smallest 1 %.",
        )
    return whole
