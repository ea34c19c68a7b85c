"""Tuned beside the fine-tune that is shipped today: gate by gate, as beside base."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunegate.reports.charts import HEIGHT, WIDTH, draw
from tunegate.reports.data import ReportData
from tunegate.reports.formatting import FACES, STATUSES, direction
from tunegate.reports.templating import fill

if TYPE_CHECKING:
    from markupsafe import Markup

TITLE = "Incumbent"
ORDER = 12


def render(data: ReportData) -> Markup:
    """Return a table of incumbent and tuned for each suite; nothing without an incumbent."""
    return fill(
        "standing.html",
        standing=data.run.verdict.standing,
        specs={name: arm.spec for name, arm in data.arms.items()},
        faces=FACES,
        statuses=STATUSES,
        direction=direction,
        draw=draw,
        width=WIDTH,
        height=HEIGHT,
    )
