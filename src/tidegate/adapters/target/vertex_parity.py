"""The endpoint beside, on which a candidate is asked before it gets traffic.

Vertex AI cannot send a prediction to one deployed model of an endpoint: ``predict``, ``rawPredict``
and ``directPredict`` follow the traffic split, and ``explain``, whose ``deployedModelId`` does override
it, serves only models with an explanation specification: numeric inputs, baselines and many
predictions per row. Giving the candidate 1 % to ask it would be traffic before the check.

So the same model resource (same image, same bytes, same container) is deployed a second time, one
replica, on an endpoint of its own, at the same time as on the real one; what is asked there is in no
count and no log of the real endpoint. The answer names the deployed model that gave it. The replica
is taken down when the version gets traffic or is removed: its price is one machine for the minutes
between the two.

https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/explain
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

from tidegate.adapters.target import vertex_names as names
from tidegate.adapters.target.vertex_bodies import parity_body
from tidegate.adapters.target.vertex_seen import Stage, beside_is_ours, look, shares
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from tidegate.adapters.target.vertex_calls import Calls, Row
    from tidegate.adapters.target.vertex_seen import Member, Seen


_CLOSED = 900.0  # seconds


def ensure(calls: Calls, endpoint: str) -> str:
    """Have the endpoint beside, and return its id.

    Raises:
        OutsideError: an endpoint of its name is not ours.
    """
    identity = names.parity_id(endpoint)
    row = calls.endpoint(identity) or calls.create_endpoint(identity, parity_body(endpoint))
    if not beside_is_ours(row, endpoint):
        raise OutsideError(
            f"Endpoint {identity} is not Tidegate's, and the parity check needs one of that name.",
            remedy="Delete it or rename release.endpoint.",
        )
    return identity


def release(calls: Calls, endpoint: str, member: Member) -> None:
    """Take a model down from the endpoint beside; not there is fine, on its way up is for later."""
    identity = names.parity_id(endpoint)
    down = names.NO_OPERATION
    if member.parity.stage is Stage.UP:
        calls.change_endpoint(identity, lambda row: _without(row, member.parity.deployed))
        down = calls.undeploy(identity, member.parity.deployed)
    elif member.parity.stage is not Stage.FAILED:
        return
    calls.relabel(member.model, {names.PARITY_DOWN: down})


def close(calls: Calls, endpoint: str) -> Seen:
    """Take everything of ours down from the endpoint beside, and delete it; return what is left.

    Somebody else's endpoint of that name stays, and one on which there is something of somebody else's
    or something that is still on its way up.

    Raises:
        OutsideError: what is on its way does not end within minutes.
    """
    end = time.monotonic() + _CLOSED
    for turn in itertools.count():
        seen = look(calls, endpoint)
        if not seen.parity_leaves:
            return seen
        for member in seen.members:
            release(calls, endpoint, member)
        if not seen.parity_deployed:
            break
        if time.monotonic() > end:
            raise OutsideError(
                f"Endpoint {names.parity_id(endpoint)} is not empty after {_CLOSED:.0f} s.",
                remedy="The next pass goes on.",
            )
        calls.pause(min(5.0, 0.1 * 2**turn))
    calls.delete_endpoint(names.parity_id(endpoint))
    return look(calls, endpoint)


def _without(row: Row, deployed: str) -> Row | None:
    """Return the change that takes a model's requests away; an empty split takes none at all."""
    return {"trafficSplit": {}} if deployed in shares(row) else None
