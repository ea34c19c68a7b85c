"""Which cases the fine-tune was trained on, and the difference on them beside that on the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunegate.harness.records.training_card import (
    ContaminationCoverage,
    ContaminationMatch,
    SuiteContamination,
)
from tunegate.reports.data import ReportData
from tunegate.reports.formatting import metric_direction
from tunegate.reports.templating import fill_page_template

if TYPE_CHECKING:
    from markupsafe import Markup

TITLE = "Training data"
ORDER = 57
LISTED = 200
"""Cases listed of each suite; the manifest holds them all."""


def render(data: ReportData) -> Markup:
    """Return what was compared with what, the strata and the cases; that nothing was, if so."""
    known = data.run.manifest.leakage
    better = {
        (m.suite, m.name): metric_direction(m.higher_is_better) for m in data.metrics.values()
    }
    return fill_page_template(
        "leakage.html",
        known=known,
        result=data.run.verdict.leakage,
        checked=ContaminationCoverage,
        listed=LISTED,
        direction=better,
        matches={suite.name: _sort_matches(suite) for suite in (known.suites if known else ())},
    )


def _sort_matches(suite: SuiteContamination) -> list[ContaminationMatch]:
    """Return the matches, touched ones first, the longest run first among equals."""
    return sorted(suite.matches, key=lambda m: (not m.touched, -m.longest, -m.share))
