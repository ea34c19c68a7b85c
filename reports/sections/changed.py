"""Completions that changed while every gated score stayed equal: what the metrics cannot see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunegate.reports.case_view import CaseChange
from tunegate.reports.data import ReportData
from tunegate.reports.templating import fill_page_template

if TYPE_CHECKING:
    from markupsafe import Markup

TITLE = "Changed, but equal"
ORDER = 50


def render(data: ReportData) -> Markup:
    """Return the counts, and the link by which the list of cases shows them."""
    return fill_page_template(
        "changed.html",
        total=len(data.changed),
        equal=data.with_outcome(CaseChange.EQUAL),
    )
