"""The run next to others of its suites, whose pages this page's script reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunegate.reports.data import ReportData
from tunegate.reports.identity import run_facts
from tunegate.reports.templating import fill_page_template

if TYPE_CHECKING:
    from markupsafe import Markup

TITLE = "Next to other runs"
ORDER = 75


def render(data: ReportData) -> Markup:
    """Return the field that takes other runs' pages, and the command that decides among them."""
    return fill_page_template("other_runs.html", folder=run_facts(data.run)["folder"])
