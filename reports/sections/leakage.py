"""Which cases the fine-tune was trained on, and the difference on them and on the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunegate.harness.contracts.quantity import QuantityFormat
from tunegate.harness.records.contamination import (
    ContaminationCoverage,
    ContaminationMatch,
    SuiteContamination,
)
from tunegate.reports.data import ReportData
from tunegate.reports.escaping import code_span, escape_markdown
from tunegate.reports.formatting import format_difference, format_level, metric_direction
from tunegate.reports.markdown import GATES, format_table
from tunegate.reports.templating import fill_page_template

if TYPE_CHECKING:
    from markupsafe import Markup

TITLE = "Training data"
ORDER = 57
LISTED = 200
"""Cases listed of each suite; the manifest holds them all."""


def render(data: ReportData) -> Markup:
    """Return the data compared, the strata and the cases; or that nothing was checked."""
    leakage = data.run.manifest.leakage
    better = {
        (m.suite, m.name): metric_direction(m.higher_is_better) for m in data.metrics.values()
    }
    return fill_page_template(
        "leakage.html",
        known=leakage,
        result=data.run.verdict.leakage,
        checked=ContaminationCoverage,
        listed=LISTED,
        direction=better,
        rates=_rates(data),
        matches={suite.name: _sort_matches(suite) for suite in (leakage.suites if leakage else ())},
    )


def _rates(data: ReportData) -> set[tuple[str, str]]:
    """Return (suite, metric) of the metrics that are written in percent."""
    return {key for key, metric in data.metrics.items() if metric.rate}


def _sort_matches(suite: SuiteContamination) -> list[ContaminationMatch]:
    """Return the matches, touched ones first, the longest run first among equals."""
    return sorted(suite.matches, key=lambda m: (not m.touched, -m.longest, -m.share))


def summarize(data: ReportData) -> str:
    """Return both strata of each metric as a table in Markdown."""
    leakage = data.run.verdict.leakage
    if leakage is None:
        return ""
    rates = _rates(data)
    head = ("suite", "metric", "cases", "base", "tuned", "difference", "n")
    rows = [
        [
            code_span(suite.name),
            code_span(metric.metric),
            name,
            format_level(part.base, how),
            format_level(part.tuned, how),
            format_difference(part.delta, how),
            str(part.n),
        ]
        for suite in leakage.suites
        for metric in suite.metrics
        for how in [QuantityFormat((suite.name, metric.metric) in rates)]
        for name, part in (("clean", metric.clean), ("touched", metric.touched))
    ]
    sentence = f"{escape_markdown(leakage.sentence)}."
    return f"{sentence}\n\n{format_table(head, rows[:GATES])}" if rows else sentence
