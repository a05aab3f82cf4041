"""What a person is told when the machine must not go on by itself: an issue, once an alert."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from tidegate.core.events import Alerted
from tidegate.core.notices import Issue
from tidegate.render.markdown import code, link, plain
from tidegate.render.pages import template, tidied
from tidegate.render.words import cause, share, when

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.core.ledger import Event
    from tidegate.core.state import State

_TODO = {
    "endpoint_broken": "Look at the endpoint in the cloud's console and repair it: the machine writes "
    "nothing to it until then.",
    "not_ready": "The version that should serve does not come up: look at its container's logs.",
    "changed_outside": "Somebody moved traffic by hand. Leave it so, or move it back.",
    "raised_outside": "Somebody gave the candidate more traffic by hand. Leave it so, or move it back.",
}


def alert_issue(
    model: str,
    state: State,
    chain: Sequence[Event],
    *,
    ledger: str | None = None,
    labels: tuple[str, ...] = (),
) -> Issue | None:
    """Return the issue of the alert that nobody has answered yet; None when there is none."""
    raised = next((e for e in reversed(chain) if isinstance(e.payload, Alerted)), None)
    if state.alert is None or raised is None:
        return None
    first = f"<!-- tidegate:{model}:alert-{raised.seq} -->"
    text: str = _page().render(
        model=model,
        alert=state.alert,
        at=raised.at,
        serving=state.champion,
        todo=_TODO.get(state.alert.cause, "Look at the endpoint."),
        ledger=ledger,
    )
    return Issue(
        marker=first,
        title=plain(f"{model} needs a person: {cause(state.alert.cause)}", 200),
        body=f"{first}\n{tidied(text)}",
        labels=labels,
    )


@cache
def _page() -> Any:
    filters = {"code": code, "when": when, "share": share, "cause": cause}
    return template("alert.md.j2", filters=filters, functions={"link": link})
