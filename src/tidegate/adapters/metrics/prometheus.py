"""Counts of anybody's servers, from Prometheus (or what speaks its API).

https://prometheus.io/docs/prometheus/latest/querying/api/

Raw samples are read, with range selectors, and subtracted here (:mod:`.counters` says why): neither
``increase()``, which extrapolates, nor ``query_range``, which shows a sample up to five minutes after
the last scrape and hides what happened between two steps.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests

from tidegate.adapters.metrics.counters import Counter, increases
from tidegate.core.evidence import Arm
from tidegate.errors import ConfigError, OutsideError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tidegate.core.clouds import Metering
    from tidegate.ports import Measure

DELAY = 60.0  # seconds: two scrapes at the usual 30 s
TIMEOUT = (5.0, 60.0)  # seconds to connect, between bytes
_LOOKBACK = 300.0  # seconds of samples before the first interval, for its base
_SPAN = 21_600.0  # seconds of samples in one answer
_MOST_BYTES = 256_000_000
_BLOCK = 1 << 16
_SELECTOR = re.compile(
    r"""\s*(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)\s*
    (\{(?:[^"'`{}]|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)*\})?\s*""",
    re.VERBOSE,
)


class Prometheus:
    """Counts by the label whose value is the version, summed over everything else.

    Args:
        settings: ``release.metrics``: the address, counter selectors, the label.
        delay: seconds after its end by which an interval's scrapes are there: two of the server's.
        token: sent as a bearer token.
    """

    # Seconds: a request counts when its counter is scraped.
    blur = 60.0

    def __init__(
        self, settings: Metering, *, delay: float | None = None, token: str | None = None
    ) -> None:
        url, asked, errors = settings.url, settings.requests, settings.errors
        if not url or not asked or not errors:
            raise ConfigError(
                "release.metrics: Prometheus needs `url`, `requests` and `errors`",
                remedy="Each but the first selects counters that have the label of `by`.",
            )
        if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
            raise ConfigError("release.metrics.url: expected http://... or https://...")
        self._url = url.rstrip("/")
        self._selectors = {"requests": asked, "errors": errors}
        if settings.slow:
            self._selectors["slow"] = settings.slow
        for what, selector in self._selectors.items():
            if not _SELECTOR.fullmatch(selector):
                raise ConfigError(
                    f"release.metrics.{what}: got {selector!r}, expected the name of a counter, "
                    'with matchers if needed: http_requests_total{job="model"}'
                )
        self._by = settings.by
        self._session = requests.Session()
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"
        self.delay = next((one for one in (delay, settings.delay) if one is not None), DELAY)

    def check(self, measure: Measure) -> None:
        """Say whether Prometheus has the counters.

        A counter of errors without any error may have no series; its name must be known all the
        same, so that a misspelt one does not look like no errors.

        Raises:
            ConfigError: slow answers are asked for and `slow` is not set.
            OutsideError: Prometheus cannot be asked, or does not know a counter.
        """
        self._needed(measure)
        for what, selector in self._selectors.items():
            match = _SELECTOR.fullmatch(selector)
            assert match is not None
            name = match["name"]
            if not self._ask("series", {"match[]": name, "limit": "1"}):
                raise OutsideError(
                    f"Prometheus has no counter {name} (release.metrics.{what})",
                    remedy="Is the name right, and is it scraped? Initialise counters with 0.",
                )

    def counts(
        self, versions: Sequence[str], first: int, end: int, measure: Measure
    ) -> Mapping[tuple[int, str], Arm]:
        """Return (interval's index, version) -> counts, for first <= index < end.

        An interval in which a target with this version was not scraped has no entry. Errors may be
        counted an interval after their requests: there are never more than requests.

        https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries

        Raises:
            ConfigError: as :meth:`check`.
            OutsideError: Prometheus cannot be asked, answers in part, or says what cannot be.
        """
        self._needed(measure)
        begin, stop = first * measure.interval, end * measure.interval
        back = max(_LOOKBACK, 2 * measure.interval)
        try:
            counters = [
                counter
                for what, selector in self._selectors.items()
                if what != "slow" or measure.slower_than is not None
                for counter in self._counters(what, selector, begin - back, stop)
            ]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._wrong(f"{type(error).__name__} {error}") from None
        found = increases(counters, first, end, measure.interval, end_time=stop)
        arms = {}
        for (what, index, version), requested in found.added.items():
            if what != "requests" or version not in versions or not requested:
                continue
            if (index, version) in found.unknown:
                continue
            errors = found.added.get(("errors", index, version), 0)
            slow = found.added.get(("slow", index, version), 0)
            arms[index, version] = Arm(
                requests=requested,
                errors=min(errors, requested),
                slow=None if measure.slower_than is None else min(slow, requested),
            )
        return arms

    def _needed(self, measure: Measure) -> None:
        if measure.slower_than is not None and "slow" not in self._selectors:
            raise ConfigError(
                "release.metrics.slow is missing: the guard slow_requests needs a counter of answers "
                f"slower than {measure.slower_than:g} s"
            )

    def _counters(self, what: str, selector: str, begin: float, end: float) -> Iterator[Counter]:
        samples: dict[str, dict[float, float]] = {}
        labels: dict[str, Mapping[str, str]] = {}
        while begin < end:
            stop = min(end, begin + _SPAN)
            query = {
                "query": f"{selector}[{round((stop - begin) * 1000)}ms]",
                "time": f"{stop:.3f}",
            }
            for series in self._matrix(query):
                key = json.dumps(series["metric"], sort_keys=True)
                labels[key] = series["metric"]
                samples.setdefault(key, {}).update(
                    (float(moment), float(value)) for moment, value in series["values"]
                )
            begin = stop
        if labels and not any(self._by in one for one in labels.values()):
            raise OutsideError(
                f"Prometheus: {selector} has no label {self._by}, which is to tell the version",
                remedy="Set release.metrics.by to the label whose value is the version.",
            )
        for key, held in samples.items():
            if (version := labels[key].get(self._by)) is not None:
                yield Counter(what, version, _target(labels[key]), sorted(held.items()))

    def _matrix(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        data = self._ask("query", query)
        if not isinstance(data, dict) or data.get("resultType") != "matrix":
            raise self._wrong("no matrix")
        return list(data["result"])

    def _ask(self, method: str, query: Mapping[str, str]) -> Any:
        where = f"{self._url}/api/v1/{method}"
        content = bytearray()
        try:
            with self._session.get(where, params=query, timeout=TIMEOUT, stream=True) as answer:
                status = answer.status_code
                for block in answer.iter_content(_BLOCK):
                    content += block
                    if len(content) > _MOST_BYTES:
                        raise self._wrong(f"more than {_MOST_BYTES:,} bytes")
        except (requests.RequestException, OSError) as error:
            raise OutsideError(
                f"Prometheus at {_shown(self._url)} does not answer: {type(error).__name__}",
                remedy="Is release.metrics.url right, and reachable from here?",
            ) from None
        try:
            document = json.loads(content)
        except ValueError:
            document = None
        if not isinstance(document, dict) or document.get("status") != "success":
            said = document.get("error") if isinstance(document, dict) else None
            raise self._wrong(f"status {status}, {said or 'no answer of its API'}")
        if document.get("warnings"):  # a store that was not reached, behind Thanos or remote read
            raise self._wrong(f"incomplete: {'; '.join(map(str, document['warnings']))}")
        return document.get("data")

    def _wrong(self, what: str) -> OutsideError:
        return OutsideError(
            f"Prometheus at {_shown(self._url)} answered: {what}",
            remedy="Nothing is decided on it; the next pass asks again.",
        )


def _target(labels: Mapping[str, str]) -> str:
    return "/".join(labels[name] for name in ("job", "instance") if name in labels)


def _shown(url: str) -> str:
    return urlsplit(url).hostname or "?"
