"""What ships beside what was judged: metric by metric, answer by answer, token by token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunegate.reports.data import ReportData
from tunegate.reports.formatting import PARITIES, STATUSES, metric_direction
from tunegate.reports.templating import fill_page_template

if TYPE_CHECKING:
    from markupsafe import Markup

TITLE = "What ships"
ORDER = 15


def render(data: ReportData) -> Markup:
    """Return a table of tuned and shipped for each suite; nothing without a shipped arm."""
    return fill_page_template(
        "parity.html",
        parity=data.run.verdict.parity,
        specs={name: arm.spec for name, arm in data.arms.items()},
        parities=PARITIES,
        statuses=STATUSES,
        direction=metric_direction,
    )
