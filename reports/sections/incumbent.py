"""Tuned compared with the fine-tune that is shipped today, gate by gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunegate.harness.contracts.further_arm import INCUMBENT, comparison_results
from tunegate.reports.charts import HEIGHT, WIDTH, draw_interval
from tunegate.reports.data import ReportData
from tunegate.reports.escaping import escape_markdown
from tunegate.reports.formatting import FACES, STATUSES, metric_direction
from tunegate.reports.markdown import GATES, count_rest, format_table, gate_row
from tunegate.reports.templating import fill_page_template

if TYPE_CHECKING:
    from markupsafe import Markup

TITLE = "Incumbent"
ORDER = 12


def render(data: ReportData) -> Markup:
    """Return a table of incumbent and tuned for each suite; nothing without an incumbent."""
    return fill_page_template(
        "incumbent.html",
        found=comparison_results(data.run.verdict).get(INCUMBENT),
        specs={name: arm.spec for name, arm in data.arms.items()},
        faces=FACES,
        statuses=STATUSES,
        direction=metric_direction,
        draw=draw_interval,
        width=WIDTH,
        height=HEIGHT,
    )


def summarize(data: ReportData) -> str:
    """Return the gates as a table in Markdown, with the incumbent's level in base's place."""
    result = comparison_results(data.run.verdict).get(INCUMBENT)
    if result is None:
        return ""
    numbers = ("incumbent", "tuned", "difference", "interval", "n")
    gates = list(result.decided_gates())
    rows = (gate_row(suite, gate) for suite, gate in gates[:GATES])
    table = format_table(("result", "suite", "metric", "rule", *numbers), rows)
    return "\n".join(
        [escape_markdown(result.sentence), "", table, *count_rest(len(gates) - GATES, "gate")]
    )
