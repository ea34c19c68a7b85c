"""Rules that must hold under every value of a tag key: level, difference and interval of each.

The worst value comes first; all intervals of a rule have one scale. The range is the largest minus
the smallest measured value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunegate.harness.decision.gating.every_value import by_rule, measured_range
from tunegate.reports.charts import HEIGHT, WIDTH, draw_interval
from tunegate.reports.data import ReportData
from tunegate.reports.formatting import STATUSES
from tunegate.reports.templating import fill_page_template

if TYPE_CHECKING:
    from markupsafe import Markup

TITLE = "Under every value"
ORDER = 13


def render(data: ReportData) -> Markup:
    """Return a table for each rule on every value of a key; nothing without one."""
    rules = [
        (suite.name, sorted(rule, key=lambda gate: not gate.worst))
        for suite in data.run.verdict.suites
        for rule in by_rule(suite.gates)
        if rule[0].every is not None
    ]
    return fill_page_template(
        "every_value.html",
        rules=rules,
        draw=draw_interval,
        measured_range=measured_range,
        statuses=STATUSES,
        width=WIDTH,
        height=HEIGHT,
    )
