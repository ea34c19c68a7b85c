"""Missing evidence: unscored cases and failed cells, by reason and arm."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunegate.reports.data import ReportData
from tunegate.reports.formatting import skip_reason
from tunegate.reports.templating import fill_page_template

if TYPE_CHECKING:
    from markupsafe import Markup

TITLE = "Errors and gaps"
ORDER = 60
NAMED = 5
"""Cases named of each gap."""


@dataclass(frozen=True, slots=True)
class CaseGap:
    """Cases that lack something for one reason."""

    suite: str
    arm: str
    what: str
    """The metric without a score, or the kind of cell that failed."""
    reason: str
    cases: tuple[str, ...]


def render(data: ReportData) -> Markup:
    """Return a table of gaps, the largest first."""
    return fill_page_template(
        "gaps.html", gaps=find_gaps(data), named=NAMED, skipped=_skipped_suites(data)
    )


def find_gaps(data: ReportData) -> list[CaseGap]:
    """Return the failed cells and unscored cases, the largest group first."""
    cases_of: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for stored in data.run.cells:
        if stored.status not in ("ok", "skipped"):
            cell, reason = stored.cell, stored.error or stored.status
            cases_of[cell.suite, cell.arm, f"{cell.kind} cell", reason].append(cell.case)
    for row in data.run.scores:
        if row.value is None:
            cases_of[row.suite, row.arm, row.metric, row.reason or "no reason"].append(row.case)
    gaps = [CaseGap(*key, cases=tuple(cases)) for key, cases in cases_of.items()]
    return sorted(gaps, key=lambda gap: (-len(gap.cases), gap.suite, gap.arm, gap.what))


def _skipped_suites(data: ReportData) -> list[tuple[str, int, str]]:
    """Return name, number of cases that were not run and why, of the suites with such cases."""
    suites = data.run.verdict.suites
    return [(s.name, s.n_skipped_decided, skip_reason([s])) for s in suites if s.n_skipped_decided]
