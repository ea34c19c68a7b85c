"""Equal answers with unequal scores: what no file tells of the rules that scored two runs.

A deterministic scorer gives equal answers to one case equal scores. Two runs in which it did not
were scored by different rules, or against different right answers. Judges, times and an agent's
calls are left out: there a score does not follow from the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from tunegate.harness.contracts.metric import Metric
from tunegate.harness.contracts.model import Arm, ScoredArm
from tunegate.harness.records.answers import CellKind, Completion, StoredAnswer
from tunegate.harness.records.errors import NotComparable
from tunegate.harness.records.wording import count_noun
from tunegate.harness.suite import Suite

MOST_UNEQUAL = 0.01
"""Share of cases in which equal answers may have unequal scores."""
SHOWN = 3
LONGEST = 40
"""Characters of an answer that are shown."""

ArmAnswers = Mapping[str, Iterable[Completion]]
"""Arm → its answers to one case."""


@dataclass(frozen=True, slots=True)
class UnequalScores:
    """The cases in which two arms gave an equal answer and got different scores."""

    cases: int
    """Cases that both arms have a score of."""
    found: tuple[str, ...]
    """Each such case, in words."""

    @property
    def too_many(self) -> bool:
        """Whether they are too many for a slip."""
        return len(self.found) > MOST_UNEQUAL * self.cases

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
    """Return the cases in which an arm's answer is base's, and its score is not.

    If an arm has two scores for one text in one case, the scorer is not deterministic, and no case
    counts.
    """
    scored, found = 0, []
    for case, answers in cases:
        base, other = (_scores_by_text(answers.get(name, ()), score) for name in ("base", arm))
        scored += bool(base and other)
        for (text, thoughts), ours in base.items():
            theirs = other.get((text, thoughts), ours)
            if len(ours) > 1 or len(theirs) > 1:
                return UnequalScores(scored, ())
            if ours != theirs and text.strip():
                shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
                found.append(
                    f"{case!r}, answer {shown!r}, has {min(ours):g} in base and {min(theirs):g} "
                    f"in {arm}"
                )
                break
    return UnequalScores(scored, tuple(found))


def _scores_by_text(
    answers: Iterable[Completion], score: str
) -> dict[tuple[str, str | None], set[float]]:
    found: dict[tuple[str, str | None], set[float]] = {}
    for done in answers:
        value = (done.scores or {}).get(score)
        if value is not None and done.text is not None and not done.beyond_text:
            rounded = float(f"{value:.9g}")
            found.setdefault((done.text, done.reasoning), set()).add(rounded)
    return found


def refuse_unequal_scores(
    suites: Iterable[Suite], arms: Mapping[str, Arm], answers: Iterable[StoredAnswer]
) -> None:
    """Refuse recorded scores that differ between equal answers of base and another arm.

    `answers` are grouped by suite and case, and are read once for each metric and arm.

    Raises:
        NotComparable: more than 1 % of the cases do; the message has three of them.
    """
    for suite in suites:
        for metric in suite.metrics:
            if metric.needs is not CellKind.RECORDED or not _is_deterministic(metric, arms):
                continue
            for arm in arms:
                if arm == "base":
                    continue
                score = str(metric.options["score"])
                unequal = find_unequal_scores(_by_case(answers, suite.name), arm, score)
                if unequal.too_many:
                    raise NotComparable(
                        f"{suite.name}: metric {metric.name!r}: {unequal.sentence}: the runs were "
                        "scored by different rules or right answers; score both alike, or write "
                        "deterministic = false into the metric if a judge, a time or anything "
                        "besides the answer's text makes its scores"
                    )


def _is_deterministic(metric: Metric, arms: Mapping[str, Arm]) -> bool:
    """Return whether a score is a function of the answer, as far as suite and files tell."""
    key = str(metric.options["score"])
    traits = [
        arm.results.traits(task, key)
        for arm in arms.values()
        if isinstance(arm, ScoredArm)
        for task in arm.results.tasks
    ]
    declared = bool(metric.options.get("deterministic", True))
    return declared and all(found.deterministic is not False for found in traits)


def _by_case(answers: Iterable[StoredAnswer], suite: str) -> Iterator[tuple[str, ArmAnswers]]:
    recorded = (a for a in answers if a.cell.suite == suite and a.cell.kind is CellKind.RECORDED)
    for case, group in groupby(recorded, key=lambda answer: answer.cell.case):
        found: dict[str, list[Completion]] = {}
        for answer in group:
            if answer.completion is not None:
                found.setdefault(answer.cell.arm, []).append(answer.completion)
        yield case, found
