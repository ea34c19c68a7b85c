"""Rankings: what a suite may ask of a reranker or embedder, and scores that rank nothing.

A list of scores means something in the order of the case's candidates alone: `positive`, then
`negative`. Sorted, it is a perfect ranking, or the worst one, whatever the model said.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tunegate.harness.contracts.metric import Metric
from tunegate.harness.contracts.model import Arm, RankingArm, RecordedArm
from tunegate.harness.records.answers import CellKind, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import NotComparable, UsageError
from tunegate.harness.records.wording import count_noun
from tunegate.harness.suite import Suite


def check_rankings(suite: Suite, name: str, arm: Arm) -> None:
    """Refuse metrics of rankings for other arms, and other metrics for arms that rank.

    Raises:
        UsageError: suite, metric, and why.
    """
    ranks = isinstance(arm, RankingArm)
    for metric in suite.metrics:
        reads = "positive" in metric.requires
        if reads and not ranks and not isinstance(arm, RecordedArm):
            raise UsageError(
                f"{suite.name}: metric {metric.name!r} scores a ranking, which {name} does not "
                "give; write reranker:PATH or embedder:PATH"
            )
        if ranks and not reads and not _applies(metric):
            what = "asks a judge" if metric.judge is not None else "does not score a ranking"
            raise UsageError(
                f"{suite.name}: metric {metric.name!r} {what}, and {name} ranks candidates; use "
                "ndcg, mrr, recall or latency"
            )


def _applies(metric: Metric) -> bool:
    """Return whether a metric of something else applies: the time, or what it reads is unknown."""
    if metric.judge is not None or metric.episodes:
        return False
    return metric.needs is CellKind.LATENCY or not metric.is_bundled


MOST = 0.9
"""Share of cases whose scores may be sorted, or all equal."""
CHANCE = 1e-6
"""Probability of so many sorted lists, from which on they were sorted afterwards."""
_STEP = re.compile(r"\s*[>=]\s*")


def refuse_unusable_scores(
    suites: Iterable[Suite], arms: Mapping[str, Arm], answers: Iterable[StoredAnswer]
) -> None:
    """Refuse scores of candidates that are sorted, all equal, or against the ranking in words.

    Raises:
        NotComparable: suite, arm, and what is wrong.
    """
    cases = {
        (suite.name, case.id): case
        for suite in suites
        if any("positive" in metric.requires for metric in suite.metrics)
        for case in suite.cases
    }
    found: dict[tuple[str, str], _ScoreLists] = {}
    for answer in answers if cases else ():
        cell, done = answer.cell, answer.completion
        case = cases.get((cell.suite, cell.case))
        if case is None or done is None or done.candidate_scores is None:
            continue
        if len(done.candidate_scores) == len(case.candidates):
            lists = found.setdefault((cell.suite, cell.arm), _ScoreLists())
            lists.add(case, done.candidate_scores, done.text or "")
    for (suite, arm), lists in found.items():
        if arm in arms and lists.problem:
            raise NotComparable(
                f"{suite}: candidate_scores of {arm} {lists.problem}; give them in the order of "
                "the case, first those of `positive`, then those of `negative`"
            )


@dataclass
class _ScoreLists:
    """The scores of one arm's candidates, case by case."""

    cases: int = 0
    tied: int = 0
    free: int = 0
    """Cases whose candidates could stand in other orders without another relevance."""
    expected: float = 0.0
    """Sorted lists among those, if candidates of one relevance stand in random order."""
    falling: int = 0
    rising: int = 0
    against: str = ""
    """A case whose ranking in words is another one."""

    def add(self, case: Case, scores: Sequence[float], text: str) -> None:
        """Count one case."""
        self.cases += 1
        names = _STEP.split(text.strip())
        if {*names} == case.candidates.keys():
            by_name = dict(zip(case.candidates, scores, strict=True))
            if any(by_name[one] < by_name[other] for one, other in pairwise(names)):
                self.against = self.against or case.id
        if len({*scores}) == 1:
            self.tied += len(scores) > 1
            return
        orders = math.factorial(len(case.positive or ())) * math.factorial(len(case.negative or ()))
        if orders > 1:
            self.free += 1
            self.expected += 1 / orders
            self.falling += all(one >= other for one, other in pairwise(scores))
            self.rising += all(one <= other for one, other in pairwise(scores))

    @property
    def problem(self) -> str:
        """What is wrong with them; empty if nothing."""
        if self.against:
            return f"and its completion rank the candidates of {self.against!r} differently"
        if self.tied > MOST * self.cases:
            return f"are all equal in {self.tied} of {count_noun(self.cases, 'case')}"
        most = max(self.falling, self.rising)
        if most > MOST * self.free and _tail(most, self.expected) < CHANCE:
            return f"are sorted in {most} of {count_noun(self.free, 'case')}"
        return ""


def _tail(count: int, expected: float) -> float:
    """Return Chernoff's bound of a sum of independent events reaching `count` or more."""
    if count <= expected:
        return 1.0
    return math.exp(count - expected - count * math.log(count / expected))
