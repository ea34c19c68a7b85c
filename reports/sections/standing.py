"""Tuned beside the fine-tune that is shipped today: gate by gate, as beside base."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunegate.reports.charts import HEIGHT, WIDTH, draw_interval
from tunegate.reports.data import ReportData
from tunegate.reports.formatting import FACES, STATUSES, metric_direction
from tunegate.reports.templating import fill_page_template

if TYPE_CHECKING:
    from markupsafe import Markup

TITLE = "Incumbent"
ORDER = 12


def render(data: ReportData) -> Markup:
    """Return a table of incumbent and tuned for each suite; nothing without an incumbent."""
    return fill_page_template(
        "standing.html",
        standing=data.run.verdict.standing,
        specs={name: arm.spec for name, arm in data.arms.items()},
        faces=FACES,
        statuses=STATUSES,
        direction=metric_direction,
        draw=draw_interval,
        width=WIDTH,
        height=HEIGHT,
    )
