"""The difference by tag, worst first: where to look, never what to decide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.data import ReportData
from reports.slices import ENOUGH, FALSE_SHARE, by_tag, q_values
from reports.templating import fill

if TYPE_CHECKING:
    from markupsafe import Markup

TITLE = "By subject"
ORDER = 30


def render(data: ReportData) -> Markup:
    """Return a table of subjects for each gated metric."""
    slices = by_tag(data)
    q_of = q_values(slices)
    marked = [(s, _mark(q)) for s, q in zip(slices, q_of, strict=True)]
    groups = [(f, [(s, m) for s, m in marked if s.metric is f]) for f in data.metrics.values()]
    return fill(
        "subjects.html",
        groups=[(facts, rows) for facts, rows in groups if rows],
        enough=ENOUGH,
        share=FALSE_SHARE,
        tested=sum(q is not None for q in q_of),
    )


def _mark(q: float | None) -> str:
    """Return that a slice stands out, with its adjusted p-value; nothing if it does not."""
    if q is None or q > FALSE_SHARE:
        return ""
    return "stands out, q < 0.001" if q < 0.001 else f"stands out, q = {q:.2g}"
