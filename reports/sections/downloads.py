"""The run as files, made by the page itself: nothing is fetched, and the page may travel alone."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from tunegate.reports.data import ReportData
from tunegate.reports.templating import fill_page_template

if TYPE_CHECKING:
    from markupsafe import Markup

TITLE = "Downloads"
ORDER = 80


def render(data: ReportData) -> Markup:
    """Return the buttons; the script shows them and does what they say."""
    return fill_page_template(
        "downloads.html",
        folder=data.run.verdict.run_id,
        compare=f"tunegate compare {shlex.quote(_folder(data))} OTHER_RUN",
    )


def _folder(data: ReportData) -> str:
    """Return the run's folder as its command named it; it may have moved since."""
    words = data.run.manifest.shell_words()
    named = [word.removeprefix("--run-dir=") for word in words if word.startswith("--run-dir=")]
    return named[-1] if named else f".tunegate/runs/{data.run.verdict.run_id}"
