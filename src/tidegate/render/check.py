"""A verdict as a check run: its conclusion, the job summary, and what to look at in ``mlops.yaml``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tidegate.core.model import Cause, Kind, Level, Outcome
from tidegate.core.notices import Annotation, Check, Conclusion, Severity
from tidegate.render.comment import job_summary
from tidegate.render.markdown import code, plain
from tidegate.render.outcome import title
from tidegate.render.verdict import reason, rule, summary
from tidegate.yaml12 import YamlError, parse

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path as FilePath

    from tidegate.core.model import Finding, Verdict
    from tidegate.problems import BadConfigError
    from tidegate.render.report import Report
    from tidegate.yaml12 import Document, Path

MOST = 50  # annotations that GitHub takes with one request
_TITLE = 200
_CONCLUSIONS = {
    Outcome.PASS: Conclusion.SUCCESS,
    Outcome.INCONCLUSIVE: Conclusion.ACTION_REQUIRED,
    Outcome.REJECT: Conclusion.FAILURE,
    Outcome.ERROR: Conclusion.FAILURE,
}
_SEVERITIES = {
    Outcome.INCONCLUSIVE: Severity.WARNING,
    Outcome.REJECT: Severity.FAILURE,
    Outcome.ERROR: Severity.FAILURE,
}
_LIMITS = {
    Kind.FLOOR: "at_least",
    Kind.CEILING: "at_most",
    Kind.MARGIN: "margin",
    Kind.ANCHOR: "margin",
    Kind.IMPROVES: "improves_by",
    Kind.GAP: "at_most",
    Kind.GAP_MARGIN: "margin",
    Kind.DISAGREEMENT: "disagreement",
}
_DATA: dict[Cause, Path] = {
    Cause.NO_MARGIN: ("gate", "rules"),
    Cause.MISSING_COLUMN: ("gate", "slices"),
    Cause.EMPTY_SLICE: ("gate", "slices"),
}
_PROBLEM = re.compile(r":(\d{1,9}):(\d{1,9}): ")


def name_of(model: str) -> str:
    """Return the check's name, by which branch protection knows it."""
    return f"tidegate/{model}"


def check(report: Report, annotations: Sequence[Annotation] = ()) -> Check:
    """Return the check run of a pull request's newest commit.

    Raises:
        ValueError: the report does not say which commit it is about.
    """
    if report.commit is None:
        raise ValueError("a check needs a commit")
    return Check(
        name=name_of(report.model),
        commit=report.commit,
        conclusion=_CONCLUSIONS[report.verdict.outcome],
        title=_headline(report),
        summary=job_summary(report),
        annotations=tuple(annotations)[:MOST],
        url=report.run_url,
    )


def identical(model: str, commit: str, version: str, url: str | None = None) -> Check:
    """Return the check of a change after which training makes the very model that serves."""
    return Check(
        name=name_of(model),
        commit=commit,
        conclusion=Conclusion.SUCCESS,
        title="The model that serves already",
        summary=f"Training made version {code(version)} again, byte for byte.\n",
        url=url,
    )


def _line_word(note: Annotation) -> str:
    return f"line {note.line}: {code(note.message, 400)}"


def _headline(report: Report) -> str:
    """Return the verdict's line as plain text: GitHub renders no Markdown in a title."""
    said = report.unjudged.sentence if report.unjudged else summary(report.verdict, plain)
    return plain(f"{title(report)}: {said}", _TITLE)


# --- beside the lines of mlops.yaml ---------------------------------------------------------


def rule_annotations(verdict: Verdict, config: FilePath, path: str) -> tuple[Annotation, ...]:
    """Return a message beside the rule of each finding that blocks, worst first.

    Args:
        verdict: what was found.
        config: the pull request's ``mlops.yaml``; where it cannot be read there are no messages.
        path: the same from the top of the repository, as GitHub names it.
    """
    try:
        document = parse(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, YamlError):
        return ()
    found = [f for f in verdict.findings if f.decides and f.outcome is not Outcome.PASS]
    found.sort(key=lambda f: f.outcome is Outcome.INCONCLUSIVE)
    return tuple(
        Annotation(
            path=path,
            line=_line(document, _place(document, finding)),
            severity=_SEVERITIES[finding.outcome],
            title=plain(f"{finding.outcome}: {rule(finding, plain)}", _TITLE),
            message=plain(reason(finding, verdict.confidence, plain), 1000),
        )
        for finding in found[:MOST]
    )


def problem_annotations(error: BadConfigError, path: str) -> tuple[Annotation, ...]:
    """Return a message beside each bad line of ``path``, a file from the top of the repository."""
    notes = []
    for line in error.lines[:MOST]:
        found = _PROBLEM.search(line)
        notes.append(
            Annotation(
                path=path,
                line=int(found[1]) if found else 1,
                severity=Severity.FAILURE,
                title="mlops.yaml",
                message=plain(line[found.end() :] if found else line, 1000),
            )
        )
    return tuple(notes)


def _line(document: Document, path: Path) -> int:
    """Return the line of a key, or of the nearest thing around it."""
    while path:
        if mark := document.keys.get(path) or document.values.get(path):
            return mark.line
        path = path[:-1]
    return 1


def _place(document: Document, finding: Finding) -> Path:
    """Return where the rule of a finding stands; at least the section it belongs to."""
    if finding.level is Level.DATA:
        return _DATA.get(finding.cause, ("data",))
    section = "slices" if finding.level in (Level.CRITICAL, Level.SLICE) else "rules"
    rules: Any = document.data
    for part in ("gate", section):
        rules = rules.get(part) if isinstance(rules, dict) else None
    about = [
        (_named(item, finding), -index)
        for index, item in enumerate(rules if isinstance(rules, list) else ())
        if isinstance(item, dict) and item.get("metric") == finding.metric
    ]
    names, index = max(about, default=(0, 0))
    if not about or (finding.slice is not None and not names):
        return ("gate", section)
    return ("gate", section, -index, _LIMITS.get(finding.kind, "metric"))


def _named(rule: dict[str, Any], finding: Finding) -> int:
    """Return how many of a rule's columns a slice's label ("region=north, sex=f") names: all or none.

    A value may hold anything; what that can do is point at another rule of the same metric.
    """
    by = rule.get("by")
    names = [str(name) for name in by] if isinstance(by, list) else []
    label = f", {finding.slice}"
    if not names or not label.startswith(f", {names[0]}="):
        return 0
    at = 0
    for name in names:
        if (at := label.find(f", {name}=", at)) < 0:
            return 0
        at += 1
    return len(names)
