"""The rules of a traffic split."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.gcp import behaviour
from tests.gcp.routing import refuse

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Mapping

NEW = "0"  # in deployModel: the model that is being deployed


def check_split(split: Mapping[str, int], known: Iterable[str]) -> None:
    """Refuse a split that is not whole, or that names somebody unknown."""
    strangers = sorted(split.keys() - set(known))
    if strangers:
        if NEW in strangers:
            behaviour.apply("split-zero-key")
        raise refuse(
            "INVALID_ARGUMENT",
            f"The following DeployedModel ID(s) [{', '.join(strangers)}] do not exist.",
            rule="split-unknown",
        )
    if split and (sum(split.values()) != 100 or min(split.values()) < 0):
        raise refuse(
            "INVALID_ARGUMENT",
            f"Traffic split percentages must be between 0 and 100 and add up to 100: {dict(split)}",
            rule="split-sum",
        )


def filled(split: Mapping[str, int], new: str) -> dict[str, int]:
    """Return a split with the new model's id in the place of "0".

    >>> filled({"0": 5, "7": 95}, "8")
    {'8': 5, '7': 95}
    """
    if NEW in split:
        behaviour.apply("split-zero-key")
    return {new if key == NEW else key: share for key, share in split.items()}


def without(
    split: Mapping[str, int], given: Mapping[str, int], gone: str, rest: list[str]
) -> dict[str, int]:
    """Return the split after a model is gone, or refuse to let it go.

    Args:
        split: the endpoint's.
        given: the call's; empty for none.
        gone: the model to go.
        rest: the models that stay.
    """
    if not rest:
        behaviour.apply("undeploy-last")
        return {}
    wanted = dict(given or split)
    if given:
        check_split(given, {*rest, gone})
    if wanted.get(gone):
        others = sum(share for key, share in wanted.items() if key != gone)
        raise refuse(
            "FAILED_PRECONDITION",
            f"DeployedModel {gone} has {wanted[gone]} % of the traffic; without it {others} %"
            " would be left. Give a traffic split that takes its traffic away.",
            rule="undeploy-remainder" if others else "undeploy-with-traffic",
        )
    wanted.pop(gone, None)
    return wanted


def choose(split: Mapping[str, int], source: random.Random) -> str:
    """Return the model that a request goes to."""
    behaviour.apply("random-split")
    behaviour.apply("split-absent")
    return source.choices(list(split), weights=list(split.values()))[0]
