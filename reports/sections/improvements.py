"""Improvements, counted: a gain is proven by the gates, not by examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunegate.reports.case_view import CaseChange
from tunegate.reports.data import ReportData
from tunegate.reports.templating import fill_page_template

if TYPE_CHECKING:
    from markupsafe import Markup

TITLE = "Improvements"
ORDER = 40


def render(data: ReportData) -> Markup:
    """Return the counts, and the link by which the list of cases shows them."""
    return fill_page_template(
        "improvements.html",
        fixed=data.with_outcome(CaseChange.FIXED),
        better=data.with_outcome(CaseChange.BETTER),
        total=len(data.improvements),
    )
