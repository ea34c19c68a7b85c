"""What a suite may ask of a classifier, reranker or embedder, and answers of them that say nothing.

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
from tunegate.harness.contracts.model import Arm, ClassifierArm, RankingArm, RecordedArm
from tunegate.harness.records.answers import CellKind, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import NotComparable, UsageError
from tunegate.harness.records.wording import count_noun
from tunegate.harness.suite import Suite

_SHOWN = 5
"""Most labels that a message names."""


def check_labels(suite: Suite, name: str, arm: Arm) -> None:
    """Refuse metrics of text for a classifier, and labels that it can never give.

    Base may lack labels that the fine-tune adds, but not all of them.
    """
    if not isinstance(arm, ClassifierArm):
        for metric in suite.metrics:
            if metric.probabilities and not isinstance(arm, RecordedArm):
                raise UsageError(
                    f"{suite.name}: metric {metric.name!r} needs the probabilities of labels, "
                    f"which {name} does not give; write classifier:PATH for a classification head"
                )
        return
    for metric in suite.metrics:
        if not _reads_labels(metric):
            what = "asks a judge" if metric.judge is not None else "scores written text"
            raise UsageError(
                f"{suite.name}: metric {metric.name!r} {what}, and {name} is a classifier, which "
                "answers with a label; use classification, label_probability, brier_score, "
                "calibration_error, label_set_f1 or absolute_error"
            )
    if arm.labels:
        _refuse_unknown_labels(suite, name, arm)


def _reads_labels(metric: Metric) -> bool:
    """Return whether a metric can score a label: it reads `expected`, or is not bundled."""
    if metric.judge is not None or metric.episodes:
        return False
    if metric.needs is CellKind.LATENCY or not metric.is_bundled:
        return True
    return "expected" in metric.requires


def _refuse_unknown_labels(suite: Suite, name: str, arm: ClassifierArm) -> None:
    expected = {
        label.strip(): case.id
        for case in reversed(suite.cases)
        for label in case.expected_texts()
        if label.strip()
    }
    unknown = sorted(expected.keys() - {*arm.labels})
    if not unknown or (name != "tuned" and len(unknown) < len(expected)):
        return
    label, case = unknown[0], expected[unknown[0]]
    shown = ", ".join(arm.labels[:_SHOWN]) + (", …" if len(arm.labels) > _SHOWN else "")
    raise UsageError(
        f"{suite.name}: case {case!r} expects {label!r}, which {name} never answers: its labels "
        f"are {shown}; correct the case, or id2label in the config.json of {name}"
    )


def check_label_maps(name: str, base: ClassifierArm, arm: ClassifierArm) -> None:
    """Refuse two heads whose outputs are named differently.

    A training may add labels. Those of the smaller head must all be labels of the larger one, in
    the same order: exchanged names would make one arm wrong about texts that it reads right.
    """
    kinds = [_kind(each) for each in (base, arm)]
    if kinds[0] != kinds[1]:
        raise NotComparable(
            f"base gives {kinds[0]} and {name} {kinds[1]}; correct problem_type or id2label in the "
            "config.json of one of them"
        )
    (few, fewer), (many, more) = sorted(
        (("base", base.labels), (name, arm.labels)), key=lambda side: len(side[1])
    )
    if lacking := [label for label in fewer if label not in more]:
        raise NotComparable(
            f"{few} answers {lacking[0]!r}, which is no label of {many} "
            f"({', '.join(more[:_SHOWN])}{', …' if len(more) > _SHOWN else ''}); write the labels "
            "that the cases expect into id2label in the config.json of both"
        )
    if other := [
        pair
        for pair in zip(fewer, filter({*fewer}.__contains__, more), strict=True)
        if pair[0] != pair[1]
    ]:
        raise NotComparable(
            f"the heads of base and {name} name their outputs in another order: {few} has "
            f"{other[0][0]!r} where {many} has {other[0][1]!r}; correct id2label in one of them, "
            "or, if both are right, put the rows of one head into the other's order"
        )


def _kind(arm: ClassifierArm) -> str:
    if not arm.labels:
        return "a number"
    return "several labels" if getattr(arm, "several", False) else "one label"


def check_rankings(suite: Suite, name: str, arm: Arm) -> None:
    """Refuse metrics of rankings for other arms, and other metrics for arms that rank."""
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
    """Refuse scores of candidates that are sorted, all equal, or against the ranking in words."""
    cases = {
        (suite.name, case.id): case
        for suite in suites
        if any("positive" in metric.requires for metric in suite.metrics)
        for case in suite.cases
    }
    lists_by_arm: dict[tuple[str, str], _ScoreLists] = {}
    for answer in answers if cases else ():
        cell, done = answer.cell, answer.completion
        case = cases.get((cell.suite, cell.case))
        if case is None or done is None or done.candidate_scores is None:
            continue
        if len(done.candidate_scores) == len(case.candidates):
            lists = lists_by_arm.setdefault((cell.suite, cell.arm), _ScoreLists())
            lists.add(case, done.candidate_scores, done.text or "")
    for (suite, arm), lists in lists_by_arm.items():
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
            if any(by_name[better] < by_name[other] for better, other in pairwise(names)):
                self.against = self.against or case.id
        if len({*scores}) == 1:
            self.tied += len(scores) > 1
            return
        orders = math.factorial(len(case.positive or ())) * math.factorial(len(case.negative or ()))
        if orders > 1:
            self.free += 1
            self.expected += 1 / orders
            self.falling += all(better >= other for better, other in pairwise(scores))
            self.rising += all(better <= other for better, other in pairwise(scores))

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
