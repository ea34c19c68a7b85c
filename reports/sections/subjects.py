"""The difference by tag, worst first: where to look, never what to decide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.data import ReportData
from reports.slices import ENOUGH, by_tag
from reports.templating import fill

if TYPE_CHECKING:
    from markupsafe import Markup

TITLE = "By subject"
ORDER = 30


def render(data: ReportData) -> Markup:
    """Return a table of subjects for each gated metric."""
    slices = by_tag(data)
    groups = [(facts, [s for s in slices if s.metric is facts]) for facts in data.metrics.values()]
    return fill("subjects.html", groups=[(f, s) for f, s in groups if s], enough=ENOUGH)
