"""The run as files, made by the page itself: nothing is fetched, and the page may travel alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunegate.reports.data import ReportData
from tunegate.reports.templating import fill_page_template

if TYPE_CHECKING:
    from markupsafe import Markup

TITLE = "Downloads"
ORDER = 80


def render(data: ReportData) -> Markup:
    """Return the buttons; the script shows them and saves the files."""
    return fill_page_template("downloads.html", folder=data.run.verdict.run_id)
