"""Differences by subject and by group of subjects, worst first: where to look, not what counts.

Every tag is a subject. A fine-tune often forgets a whole field whose subjects each have too few
cases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunegate.harness.decision.gating.tag_slices import (
    ENOUGH,
    FALSE_SHARE,
    TagSlice,
    q_values,
    slices_by_group,
)
from tunegate.reports.case_view import MetricFacts
from tunegate.reports.data import ReportData
from tunegate.reports.templating import fill_page_template

if TYPE_CHECKING:
    from markupsafe import Markup

TITLE = "Forgetting by subject"
ORDER = 30
SHOWN = 5
"""Subjects of a metric that are not folded away."""


@dataclass(frozen=True, slots=True)
class SubjectTile:
    """One metric's subjects, or its groups of subjects."""

    metric: MetricFacts
    of: str
    """`Subject` or `Group of subjects`."""
    rows: tuple[tuple[TagSlice, str], ...]
    """Each slice, with `stands out` if it does."""


def render(data: ReportData) -> Markup:
    """Return a table for each gated metric: groups of subjects first, then subjects."""
    tags, groups = data.tag_slices, slices_by_group(data.score_tables)
    q_of = (*q_values(groups), *q_values(tags))
    marks = [_mark(q) for q in q_of]
    named = zip((*groups, *tags), marks, strict=True)
    known = [
        (s, mark, at < len(groups), data.metrics[s.suite, s.metric.name])
        for at, (s, mark) in enumerate(named)
    ]
    tiles = [
        SubjectTile(facts, title, rows)
        for facts in data.metrics.values()
        for title, grouped in (("Group of subjects", True), ("Subject", False))
        if (rows := tuple((s, m) for s, m, g, of in known if of is facts and g is grouped))
    ]
    return fill_page_template(
        "subjects.html",
        tiles=tiles,
        enough=ENOUGH,
        share=FALSE_SHARE,
        shown=SHOWN,
        tested=sum(q is not None for q in q_of),
        grouped=bool(groups),
    )


def _mark(q: float | None) -> str:
    """Return `stands out` with the adjusted p-value; empty if it does not."""
    if q is None or q > FALSE_SHARE:
        return ""
    return "stands out, q < 0.001" if q < 0.001 else f"stands out, q = {q:.2g}"
