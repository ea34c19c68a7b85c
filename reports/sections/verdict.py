"""The sticky bar with the verdict, and under it the sentence and how it was decided."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tunegate.harness.decision.verdict.early_ends import saved_time
from tunegate.harness.decision.verdict.next_step import next_step
from tunegate.harness.records.contamination import ContaminationCoverage
from tunegate.harness.records.run_folder import Run
from tunegate.reports.data import ReportData
from tunegate.reports.formatting import FACES, face_of, goal_rule, skip_reason
from tunegate.reports.identity import run_folder
from tunegate.reports.templating import fill_page_template
from tunegate.reports.typical_cases import ON_PAGE, excerpt, typical_cases

if TYPE_CHECKING:
    from markupsafe import Markup

TITLE = ""
ORDER = 0


def render(data: ReportData) -> Markup:
    """Return the bar and the sentence; the frame and heading are its own."""
    suites = data.run.verdict.suites
    unscored: dict[str, int] = {}
    for suite in suites:
        for arm, n in suite.n_unscored.items():
            unscored[arm] = unscored.get(arm, 0) + n
    return fill_page_template(
        "verdict.html",
        data=data,
        verdict=data.run.verdict,
        manifest=data.run.manifest,
        faces=FACES,
        typical=typical_cases(data),
        excerpt=partial(excerpt, limit=ON_PAGE),
        face_of=face_of,
        goal_rule=goal_rule,
        n_planned=sum(suite.n_planned for suite in suites),
        n_scored=sum(suite.n_scored for suite in suites),
        n_touched=sum(suite.n_touched for suite in suites),
        skip_reason=skip_reason(s for s in suites if s.n_skipped_decided),
        n_skipped=sum(suite.n_skipped_decided for suite in suites),
        saved=saved_time(data.run),
        unscored={arm: n for arm, n in sorted(unscored.items()) if n},
        not_checked=_unchecked_facts(data.run),
        step=next_step(
            data.run.verdict,
            data.run.manifest.suites,
            run=run_folder(data.run),
            report="under Regressions",
        ),
    )


def _unchecked_facts(run: Run) -> tuple[str, ...]:
    """Return what the verdict takes on trust, one sentence each."""
    leakage = run.verdict.leakage
    if leakage is None or leakage.checked is not ContaminationCoverage.NOTHING:
        return run.verdict.trust_notes()
    return (
        *run.verdict.trust_notes(),
        leakage.sentence.replace("leakage not checked", "training data", 1),
    )
