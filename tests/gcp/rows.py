"""Which test shows which row of the table; a test that claims a row must make it take effect."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, ParamSpec

from tests.gcp import behaviour

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")

SHOWN: set[str] = set()


def shows(*rules: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Say that a test exercises rows of the table."""
    assert set(rules) <= behaviour.RULES.keys(), rules
    SHOWN.update(rules)

    def decorate(test: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(test)
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            behaviour.applied.clear()
            test(*args, **kwargs)
            silent = set(rules) - behaviour.applied
            assert not silent, f"rules that did not take effect: {sorted(silent)}"

        return run

    return decorate
