"""Look at what people see: ``python -m tests.render.look FOLDER`` writes every comment, and every page.

The style is near GitHub's. With a file ``mermaid.min.js`` in FOLDER the charts are drawn, too. Markdown
that is there already (``TIDEGATE_KEEP_PAGES=FOLDER ./dev github tests/act/test_story.py`` keeps what a
whole run wrote; the pictures in docs/images are of that) is shown the same way.
"""

from __future__ import annotations

import re
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import cmarkgfm
from cmarkgfm.cmark import Options

from tests.render.samples import drawn, reports
from tests.render.stories import Play, pull_requests
from tidegate.core.events import Ordered, Phase
from tidegate.core.model import Task
from tidegate.render.comment import comment
from tidegate.render.html import html
from tidegate.render.issue import branch_of, issue, revert_pull

_STYLE = """
body{font:14px/1.5 -apple-system,"Segoe UI","Noto Sans",Helvetica,Arial,sans-serif;color:#1f2328;
max-width:720px;margin:24px auto;padding:0 16px}
table{border-collapse:collapse;display:block;width:max-content;max-width:100%;overflow:auto;margin:0 0 16px}
th,td{border:1px solid #d1d9e0;padding:6px 13px}tr:nth-child(2n){background:#f6f8fa}
code{background:#818b981f;border-radius:6px;padding:.2em .4em;font:85% ui-monospace,monospace}
pre{background:#f6f8fa;padding:16px;overflow:auto}pre code{background:none;padding:0}
blockquote{margin:0 0 16px;padding:0 1em;color:#59636e;border-left:.25em solid #d1d9e0}
.alert{border-left:.25em solid var(--c);padding:8px 16px;margin:0 0 16px}
.alert b.t{color:var(--c);display:block}h3{font-size:1.25em;margin:24px 0 16px}details{margin:8px 0}
"""
_COLORS = {"TIP": "#1a7f37", "WARNING": "#9a6700", "CAUTION": "#d1242f", "IMPORTANT": "#8250df"}


def page(markdown: str) -> str:
    """Return Markdown as GitHub would show it."""
    text = cmarkgfm.github_flavored_markdown_to_html(markdown, options=Options.CMARK_OPT_UNSAFE)
    text = re.sub(
        r"<blockquote>\s*<p>\[!(\w+)\]\s*(.*?)</p>\s*</blockquote>",
        lambda m: (
            f'<div class="alert" style="--c:{_COLORS[m[1]]}"><b class="t">{m[1].title()}</b>{m[2]}</div>'
        ),
        text,
        flags=re.DOTALL,
    )
    text = re.sub(
        r'<pre lang="mermaid"><code>(.*?)</code></pre>', r'<pre class="mermaid">\1</pre>', text,
        flags=re.DOTALL,
    )  # fmt: skip
    script = '<script src="mermaid.min.js"></script><script>mermaid.initialize({startOnLoad:true})</script>'
    return f"<!doctype html><meta charset=utf-8><style>{_STYLE}</style>{text}{script}"


def texts(root: Path) -> dict[str, str]:
    """Return everything there is to look at, by name."""
    found = {name: comment(report) for name, report in pull_requests().items()}
    play = Play.begin(root / "good")
    play.until(Phase.CANARY)
    decision = play.engine.run(5).wait.decision
    found["canary_start"] = comment(play.report(decision=decision))
    play.until(Phase.CANARY, step=1)
    decision = play.engine.run(3).wait.decision
    found["canary"] = comment(play.report(decision=decision))
    decision = play.until(Phase.PROBATION)
    found["probation"] = comment(play.report(decision=decision))
    play.until(Phase.PROMOTED)
    found["promoted"] = comment(play.report())
    play = Play.begin(root / "bad", bad=True)
    play.until(Phase.REVERTED)
    found["taken_back"] = comment(play.report())
    case = play.taken_back(branch=branch_of("m", play.taken_back().story.rollout.id))
    found["issue"] = f"# {issue(case).title}\n\n{issue(case).body}"
    found["revert_pull"] = f"# {revert_pull(case).title}\n\n{revert_pull(case).body}"
    play = Play.begin(root / "person")
    play.until(Phase.CANARY)
    rollout = play.engine.state.rollout
    assert rollout is not None
    order = Ordered(verb="revert", rollout=rollout.id, reason="the pager rang")
    play.engine.append(order, human=True)
    play.until(Phase.REVERTED)
    found["by_hand"] = comment(play.report())
    return found


def pages() -> dict[str, str]:
    """Return a page of every outcome, and of every task's pictures, by name."""
    made = reports()
    found = {f"page_{name}": html(replace(r, pictures=drawn())) for name, r in made.items()}
    for task in Task:
        found[f"page_{task}"] = html(replace(made["pass"], pictures=drawn(task)))
    return found


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for kept in folder.glob("*.md"):
        kept.with_suffix(".html").write_text(
            page(kept.read_text(encoding="utf-8")), encoding="utf-8"
        )
    for name, text in pages().items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    with tempfile.TemporaryDirectory() as root:
        for name, text in texts(Path(root)).items():
            (folder / f"{name}.md").write_text(text, encoding="utf-8")
            (folder / f"{name}.html").write_text(page(text), encoding="utf-8")
            sys.stdout.write(f"{folder / name}.html\n")
