"""What got worse: how many cases flipped, then the list of cases, newly failing first.

The list holds every case of the run; it begins with its filter on what got worse.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunegate.reports.data import CaseChange, MetricFacts, PairScore, ReportData
from tunegate.reports.templating import fill_page_template

if TYPE_CHECKING:
    from markupsafe import Markup

TITLE = "Regressions"
ORDER = 20


@dataclass(frozen=True, slots=True)
class FlipCounts:
    """How often a pass/fail metric changed sides."""

    metric: MetricFacts
    broke: int
    fixed: int
    both_pass: int
    both_fail: int


def render(data: ReportData) -> Markup:
    """Return the flip counts, and the frame in which the script draws the list."""
    return fill_page_template(
        "regressions.html",
        flips=count_flips(data),
        broke=data.with_outcome(CaseChange.BROKE),
        worse=data.with_outcome(CaseChange.WORSE),
        total=len(data.regressions),
        touched=sum(view.touched is not None for view in data.regressions),
    )


def count_flips(data: ReportData) -> list[FlipCounts]:
    """Return the flip counts of every gated pass/fail metric, and of questions in any case."""
    scores = [score for view in data.cases for score in view.scores]
    return [
        _count(facts, (s for s in scores if s.metric is facts))
        for facts in data.metrics.values()
        if facts.binary and (facts.gated or facts.picks)
    ]


def _count(facts: MetricFacts, scores: Iterable[PairScore]) -> FlipCounts:
    counts = dict.fromkeys(((a, b) for a in (True, False) for b in (True, False)), 0)
    for score in scores:
        if score.base and score.tuned and score.delta is not None:
            passed = [bool(s.value) is facts.higher_is_better for s in (score.base, score.tuned)]
            counts[passed[0], passed[1]] += 1
    return FlipCounts(
        metric=facts,
        broke=counts[True, False],
        fixed=counts[False, True],
        both_pass=counts[True, True],
        both_fail=counts[False, False],
    )
