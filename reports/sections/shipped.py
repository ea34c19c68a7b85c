"""The shipped artifact compared with the judged one: by metric, by answer, by token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunegate.harness.contracts.further_arm import SHIPPED, comparison_results
from tunegate.harness.contracts.quantity import parity_format
from tunegate.harness.records.parity import DeploymentParity, MetricParity, SuiteParity
from tunegate.harness.records.wording import count_noun
from tunegate.reports.data import ReportData
from tunegate.reports.escaping import code_span, escape_markdown
from tunegate.reports.formatting import (
    PARITIES,
    STATUSES,
    format_difference,
    format_interval,
    format_level,
    metric_direction,
)
from tunegate.reports.markdown import GATES, count_rest, format_table, tag_phrase
from tunegate.reports.templating import fill_page_template

if TYPE_CHECKING:
    from markupsafe import Markup

TITLE = "What ships"
ORDER = 15


def render(data: ReportData) -> Markup:
    """Return a table of tuned and shipped for each suite; nothing without a shipped arm."""
    return fill_page_template(
        "shipped.html",
        parity=comparison_results(data.run.verdict).get(SHIPPED),
        specs={name: arm.spec for name, arm in data.arms.items()},
        parities=PARITIES,
        statuses=STATUSES,
        direction=metric_direction,
    )


def summarize(data: ReportData) -> str:
    """Return the metrics as a table in Markdown, and how many answers are equal."""
    parity = comparison_results(data.run.verdict).get(SHIPPED)
    if not isinstance(parity, DeploymentParity):
        return ""
    head = ("result", "suite", "metric", "tuned", "shipped", "difference", "interval", "margin")
    metrics = [(suite, metric) for suite in parity.suites for metric in suite.metrics]
    table = format_table(head, (_metric(suite, metric) for suite, metric in metrics[:GATES]))
    answers = [
        f"- {code_span(s.name)}: {s.agreement.same:,} of "
        f"{count_noun(s.agreement.answers, 'answer')} equal"
        for s in parity.suites
        if s.agreement is not None
    ]
    more = count_rest(len(metrics) - GATES, "metric")
    return "\n".join([escape_markdown(parity.sentence), "", table, *more, *(["", *answers])])


def _metric(suite: SuiteParity, metric: MetricParity) -> list[str]:
    face, how = PARITIES[metric.status], parity_format(metric)
    return [
        f"{face.sign} {face.word}{' (advisory)' if metric.advisory else ''}",
        code_span(suite.name),
        f"{code_span(metric.metric)}{tag_phrase(metric.tag)}",
        format_level(metric.tuned, how),
        format_level(metric.shipped, how),
        format_difference(metric.delta, how),
        format_interval(metric.low, metric.high, how),
        f"±{how.margin(metric.margin)}",
    ]
