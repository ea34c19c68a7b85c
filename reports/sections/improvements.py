"""What got better, folded away: a gain is believed from the gates, not from examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.case_view import view
from reports.data import ReportData
from reports.pairs import Outcome
from reports.templating import fill

if TYPE_CHECKING:
    from markupsafe import Markup

TITLE = "Improvements"
ORDER = 40
SHOWN = 100
"""Improvements shown in full."""


def render(data: ReportData) -> Markup:
    """Return the folded list, newly passing first."""
    return fill(
        "improvements.html",
        fixed=data.with_outcome(Outcome.FIXED),
        better=data.with_outcome(Outcome.BETTER),
        total=len(data.improvements),
        views=[view(pair) for pair in data.improvements[:SHOWN]],
    )
