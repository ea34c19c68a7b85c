"""Equal answers with unequal scores: a sign of different rules that no file mentions.

A deterministic scorer gives equal answers to one case equal scores. If it did not, the two runs
were scored by different rules, or against different right answers. A few cases may be chance, but
chance favors both runs equally, and a rule favors one. Judges, times and an agent's calls are left
out: there a score does not follow from the text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby

from tunegate.harness.contracts.metric import Metric
from tunegate.harness.contracts.model import Arm
from tunegate.harness.contracts.result_set import results_of
from tunegate.harness.records.answers import CellKind, Completion, StoredAnswer
from tunegate.harness.records.errors import NotComparable
from tunegate.harness.records.wording import count_noun
from tunegate.harness.suite import Suite

MOST_UNEQUAL = 0.01
"""Share of cases in which equal answers may have unequal scores."""
ROUNDING = 1e-5
"""Relative difference of equal scores: single-precision sums differ by less, as batches do."""
ONE_IN = 20
"""Level of the sign test, 1 in 20: a few unequal scores must not prove a gain."""
SHOWN = 3
LONGEST = 40
"""Characters of an answer that are shown."""

ArmAnswers = Mapping[str, Iterable[Completion]]
"""Arm → its answers to one case."""


@dataclass(slots=True)
class UnequalScores:
    """The cases in which an arm gave base's answer and got another score."""

    score: str
    arm: str
    cases: int = 0
    """Cases that both arms have a score for."""
    found: list[str] = field(default_factory=list)
    """Each such case, in words."""
    higher: int = 0
    """How many of them score higher than in base."""
    noisy: int = 0
    """Cases in which an arm has two scores for one text."""

    def add(self, case: str, answers: ArmAnswers) -> None:
        """Compare the answers to a case."""
        base, other = (_scores_by_text(answers.get(n, ()), self.score) for n in ("base", self.arm))
        self.cases += bool(base and other)
        several = [scores for arm in (base, other) for scores in arm.values()]
        if not all(_are_equal(min(scores), max(scores)) for scores in several):
            self.noisy += 1
            return
        for (text, thoughts), ours in base.items():
            theirs = other.get((text, thoughts), ours)
            if not _are_equal(ours[0], theirs[0]) and text.strip():
                shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
                self.found.append(
                    f"{case!r}, answer {shown!r}, has {ours[0]:g} in base and {theirs[0]:g} "
                    f"in {self.arm}"
                )
                self.higher += theirs[0] > ours[0]
                return

    @property
    def too_many(self) -> bool:
        """Whether a deterministic scorer cannot explain them: too many, or nearly all one way."""
        most = MOST_UNEQUAL * self.cases
        return self.noisy <= most and (len(self.found) > most or self._is_one_sided)

    @property
    def _is_one_sided(self) -> bool:
        count = len(self.found)
        more = max(self.higher, count - self.higher)
        return ONE_IN * sum(math.comb(count, k) for k in range(more, count + 1)) <= 1 << count

    @property
    def sentence(self) -> str:
        """How many there are, with some of them."""
        return (
            f"equal answers have unequal scores in {len(self.found)} of "
            f"{count_noun(self.cases, 'case')}: {'; '.join(self.found[:SHOWN])}"
        )


def find_unequal_scores(
    cases: Iterable[tuple[str, ArmAnswers]], arm: str, score: str
) -> UnequalScores:
    """Return the cases in which an arm gave base's answer and got another score."""
    unequal = UnequalScores(score, arm)
    for case, answers in cases:
        unequal.add(case, answers)
    return unequal


def _are_equal(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=ROUNDING, abs_tol=1e-9)


def _scores_by_text(
    answers: Iterable[Completion], score: str
) -> dict[tuple[str, str | None], list[float]]:
    scores: dict[tuple[str, str | None], list[float]] = {}
    for done in answers:
        value = (done.scores or {}).get(score)
        if value is not None and done.text is not None and not done.beyond_text:
            scores.setdefault((done.text, done.reasoning), []).append(value)
    return scores


def refuse_unequal_scores(
    suites: Iterable[Suite], arms: Mapping[str, Arm], answers: Iterable[StoredAnswer]
) -> None:
    """Refuse recorded scores that differ between equal answers of base and another arm.

    Only scores with a gate are compared: others decide nothing. `answers` are grouped by suite and
    case.

    Raises:
        NotComparable: more than 1 % of the cases do, or nearly all of a few favor one arm.
    """
    compared = {
        (suite.name, metric.name): [
            UnequalScores(str(metric.options["score"]), arm) for arm in arms if arm != "base"
        ]
        for suite in suites
        for metric in suite.gated_metrics
        if metric.needs is CellKind.RECORDED and _is_deterministic(metric, arms)
    }
    for (suite, case), arm_answers in _recorded_cases(answers) if compared else ():
        for (name, _), several in compared.items():
            for unequal in several if name == suite else ():
                unequal.add(case, arm_answers)
    for (suite, metric), several in compared.items():
        for unequal in several:
            if unequal.too_many:
                raise NotComparable(
                    f"{suite}: metric {metric!r}: {unequal.sentence}: the runs were scored by "
                    "different rules or right answers; score both the same way, or write "
                    "deterministic = false into the metric if a judge, a time or anything besides "
                    "the answer's text makes its scores"
                )


def _is_deterministic(metric: Metric, arms: Mapping[str, Arm]) -> bool:
    """Return whether a score is a function of the answer, as far as suite and files tell."""
    key = str(metric.options["score"])
    traits = [
        results.traits(task, key)
        for arm in arms.values()
        if (results := results_of(arm)) is not None
        for task in results.tasks
    ]
    declared = bool(metric.options.get("deterministic", True))
    return declared and all(trait.deterministic is not False for trait in traits)


def _recorded_cases(
    answers: Iterable[StoredAnswer],
) -> Iterator[tuple[tuple[str, str], ArmAnswers]]:
    """Yield (suite, case) with the arms' answers that have recorded scores."""
    for place, group in groupby(answers, key=lambda answer: (answer.cell.suite, answer.cell.case)):
        by_arm: dict[str, list[Completion]] = {}
        for answer in group:
            if answer.cell.kind is CellKind.RECORDED and answer.completion is not None:
                by_arm.setdefault(answer.cell.arm, []).append(answer.completion)
        yield place, by_arm
