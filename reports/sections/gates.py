"""Every gate with its rule, numbers, interval and sentence, suite by suite.

The gate of the headline comes first with its suite, then the worst ones. Suites that decide
nothing, since all their gates are advisory, come last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunegate.harness.decision.verdict.verdict_lines import LOOKS, interim_look, sorted_gates
from tunegate.harness.records.verdict import SuiteResult, Verdict
from tunegate.reports.charts import HEIGHT, WIDTH, draw_interval
from tunegate.reports.data import ReportData
from tunegate.reports.formatting import REASONS, STATUSES, face_of, metric_direction, skip_reason
from tunegate.reports.templating import fill_page_template

if TYPE_CHECKING:
    from markupsafe import Markup

TITLE = "Gates"
ORDER = 10


def render(data: ReportData) -> Markup:
    """Return a table of gates for each suite."""
    gates = sorted_gates(data.run.verdict)
    first = gates[0][0] if gates else None
    suites = sorted(
        data.run.verdict.suites, key=lambda s: (s.name == first, *_severity(s)), reverse=True
    )
    return fill_page_template(
        "gates.html",
        suites=suites,
        gates={suite.name: [g for name, g in gates if name == suite.name] for suite in suites},
        attempts=data.run.verdict.attempts,
        face_of=face_of,
        statuses=STATUSES,
        reasons=REASONS,
        direction=metric_direction,
        draw=draw_interval,
        width=WIDTH,
        height=HEIGHT,
        skip_reason=skip_reason,
        interim_look=interim_look,
        looks=LOOKS,
        links=data.gate_links,
        noisy=any(g.noise is not None for suite in data.run.verdict.suites for g in suite.gates),
    )


def _severity(suite: SuiteResult) -> tuple[bool, int]:
    return suite.counts, list(Verdict).index(suite.verdict)
