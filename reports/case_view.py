"""One case on both arms: its scores side by side, and how it changed.

Changes are oriented: positive is better, whatever direction the metric has. Only gated metrics
decide whether a case got better or worse: they are what the suite's author cares about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256

from tunegate.harness.records.answers import CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.contamination import ContaminationMatch
from tunegate.harness.records.run_folder import RunCase
from tunegate.harness.records.scores import ScoreRow

BASE, TUNED = "base", "tuned"
"""The two arms that a report compares; further ones appear under provenance."""


class CaseChange(StrEnum):
    """How a case changed from base to tuned, the worst first."""

    BROKE = "newly failing"
    """A pass/fail metric passed with base and fails with tuned."""
    WORSE = "lower"
    """Some metric is worse; its kind is not pass/fail."""
    FIXED = "newly passing"
    BETTER = "higher"
    CHANGED = "changed"
    """Equal scores, another completion."""
    EQUAL = "equal"


@dataclass(frozen=True, slots=True)
class MetricFacts:
    """A suite's scores and gates on one metric."""

    suite: str
    name: str
    higher_is_better: bool
    gated: bool
    timed: bool
    """Whether it measures time, which on one case is mostly noise."""
    bounded: bool
    """Whether its gates only bound it: a case that is a word shorter is not better."""
    binary: bool
    """Whether a case passes or fails it: pass/fail by design, and every value 0 or 1."""
    rate: bool
    """Whether its scores are written in percent."""
    picks: bool
    """Whether it calls the answer to a multiple-choice question right or wrong."""
    span: float
    """The width of its range, of the values seen if it has none: drops are ranked on this scale."""

    @property
    def ranks(self) -> bool:
        """Whether this metric decides if a case got better or worse."""
        return self.gated and not self.timed and not self.bounded


@dataclass(frozen=True, slots=True)
class PairScore:
    """One metric of one case on both arms."""

    metric: MetricFacts
    base: ScoreRow | None
    tuned: ScoreRow | None
    delta: float | None = field(init=False)
    """tuned − base; None unless both are scored."""
    change: float | None = field(init=False)
    """The difference with + for better, as a share of the metric's span. Kept, as each part of the
    page asks for it several times."""

    def __post_init__(self) -> None:
        """Find the differences."""
        base, tuned = (None if row is None else row.value for row in (self.base, self.tuned))
        delta = None if base is None or tuned is None else tuned - base
        object.__setattr__(self, "delta", delta)
        object.__setattr__(self, "change", None if delta is None else self._change(delta))

    def _change(self, delta: float) -> float:
        change = delta if self.metric.higher_is_better else -delta
        return 0.0 if abs(change) < EPSILON else change / self.metric.span

    @property
    def flips(self) -> bool:
        """Whether a pass/fail metric changed sides."""
        return self.metric.binary and bool(self.change)


@dataclass(frozen=True, slots=True)
class CaseView:
    """A case as its run left it: both arms' scores and cells, and how it changed."""

    suite: str
    name: str
    """The case's id."""
    cases: Mapping[tuple[str, str], RunCase] = field(repr=False)
    """(suite, case id) → case: all those of the run, each read when it is shown."""
    scores: tuple[PairScore, ...]
    cells: Mapping[tuple[str, CellKind], StoredAnswer] = field(repr=False)
    """(arm, kind) → the first sample's cell."""
    touched: ContaminationMatch | None = None
    """Overlap with training rows; None where tuned was not trained on it."""
    left_out: bool = False
    """Whether the gates leave it out for that."""
    outcome: CaseChange = field(init=False)
    """How the case changed; a loss outweighs a gain. Kept, for it takes both answers to know it."""

    def __post_init__(self) -> None:
        """Find the outcome while the case's cells are in memory."""
        object.__setattr__(self, "outcome", self._change())

    @property
    def stored(self) -> RunCase:
        """The case with its place and its rendered prompt."""
        return self.cases[self.suite, self.name]

    @property
    def case(self) -> Case:
        """The case."""
        return self.stored.case

    @property
    def is_code(self) -> bool:
        """Whether its answers are programs or queries: they are run to be scored."""
        return self.case.tests is not None or self.case.database is not None

    @property
    def anchor(self) -> str:
        """Name of the case within the page: stable, and safe as an HTML id."""
        key = f"{self.suite}\0{self.name}".encode("utf-8", "surrogatepass")
        return "c-" + sha256(key).hexdigest()[:12]

    @property
    def ranked(self) -> tuple[PairScore, ...]:
        """The scores that decide whether the case changed, worst first, flips before the rest."""
        changed = [s for s in self.scores if s.metric.ranks and s.change]
        return tuple(sorted(changed, key=lambda s: (s.change or 0) - (2 if s.flips else 0)))

    def _change(self) -> CaseChange:
        losses = [s for s in self.ranked if (s.change or 0) < 0]
        gains = [s for s in self.ranked if (s.change or 0) > 0]
        if losses:
            return CaseChange.BROKE if any(s.flips for s in losses) else CaseChange.WORSE
        if gains:
            return CaseChange.FIXED if any(s.flips for s in gains) else CaseChange.BETTER
        base, tuned = self.text("base"), self.text("tuned")
        differs = base is not None and tuned is not None and base != tuned
        return CaseChange.CHANGED if differs else CaseChange.EQUAL

    @property
    def deciding(self) -> PairScore | None:
        """The score that put the case on its list: the worst loss, else the best gain."""
        losses = [s for s in self.ranked if (s.change or 0) < 0]
        if losses:
            return losses[0]
        gains = [s for s in self.ranked if (s.change or 0) > 0]
        return max(gains, key=lambda s: (s.flips, s.change or 0), default=None)

    def completion(self, arm: str, kind: CellKind) -> Completion | None:
        """Return what `arm` answered when asked for `kind`."""
        place = arm, kind
        return self.cells[place].completion if place in self.cells else None

    def answer(self, arm: str) -> Completion | None:
        """Return the completion with the text that `arm` wrote, or that is recorded of it."""
        written = self.completion(arm, CellKind.GENERATE)
        return self.completion(arm, CellKind.RECORDED) if written is None else written

    def text(self, arm: str) -> str | None:
        """Return the text that `arm` wrote, None where it wrote none."""
        completion = self.answer(arm)
        return completion.text if completion else None


EPSILON = 1e-6
"""Differences below this are rounding."""
