"""A case with what both arms did on it: scores side by side, and how it changed.

Changes are oriented: positive is better, whatever direction the metric has. Only gated metrics
say whether a case got better or worse: they are what the suite's author cares about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256

from harness.leakage import Match
from harness.records import CellKind, Completion, ScoreRow, StoredCell
from harness.run import RunCase

EPSILON = 1e-6
"""Differences below this are rounding."""


class Outcome(StrEnum):
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
    """What a suite's scores and gates say about one metric."""

    suite: str
    name: str
    higher_is_better: bool
    gated: bool
    timed: bool
    """Whether it measures time, which on one case is mostly noise."""
    binary: bool
    """Whether a case passes or fails it: pass/fail by design, and every value 0 or 1."""
    picks: bool
    """Whether it calls the answer to a multiple-choice question right or wrong."""
    span: float
    """The width of its range, of the values seen if it has none: drops are ranked on this scale."""

    @property
    def ranks(self) -> bool:
        """Whether this metric says that a case got better or worse."""
        return self.gated and not self.timed


@dataclass(frozen=True, slots=True)
class PairScore:
    """One metric of one case on both arms."""

    metric: MetricFacts
    base: ScoreRow | None
    tuned: ScoreRow | None

    @property
    def delta(self) -> float | None:
        """tuned − base; None unless both are scored."""
        if self.base is None or self.tuned is None:
            return None
        if self.base.value is None or self.tuned.value is None:
            return None
        return self.tuned.value - self.base.value

    @property
    def change(self) -> float | None:
        """The difference with + for better, as a share of the metric's span."""
        if self.delta is None:
            return None
        change = self.delta if self.metric.higher_is_better else -self.delta
        return 0.0 if abs(change) < EPSILON else change / self.metric.span

    @property
    def flips(self) -> bool:
        """Whether a pass/fail metric changed sides."""
        return self.metric.binary and bool(self.change)


@dataclass(frozen=True, slots=True)
class CasePair:
    """A case with both arms' scores and cells."""

    suite: str
    name: str
    """The case's id."""
    cases: Mapping[tuple[str, str], RunCase] = field(repr=False)
    """(suite, case id) → case: all those of the run, each read when it is shown."""
    scores: tuple[PairScore, ...]
    cells: Mapping[tuple[str, CellKind], StoredCell] = field(repr=False)
    """(arm, kind) → the first sample's cell."""
    touched: Match | None = None
    """What training rows have in common with it; None where tuned was not trained on it."""
    left_out: bool = False
    """Whether the gates leave it out for that."""

    @property
    def case(self) -> RunCase:
        """The case as the run saw it."""
        return self.cases[self.suite, self.name]

    @property
    def anchor(self) -> str:
        """Name of the case within the page: stable, and safe as an HTML id."""
        key = f"{self.suite}\0{self.name}".encode("utf-8", "surrogatepass")
        return "c-" + sha256(key).hexdigest()[:12]

    @property
    def ranked(self) -> tuple[PairScore, ...]:
        """The scores that say whether the case changed, worst first, flips before the rest."""
        changed = [s for s in self.scores if s.metric.ranks and s.change]
        return tuple(sorted(changed, key=lambda s: (s.change or 0) - (2 if s.flips else 0)))

    @property
    def outcome(self) -> Outcome:
        """How the case changed; a loss outweighs a gain."""
        losses = [s for s in self.ranked if (s.change or 0) < 0]
        gains = [s for s in self.ranked if (s.change or 0) > 0]
        if losses:
            return Outcome.BROKE if any(s.flips for s in losses) else Outcome.WORSE
        if gains:
            return Outcome.FIXED if any(s.flips for s in gains) else Outcome.BETTER
        base, tuned = self.text("base"), self.text("tuned")
        differs = base is not None and tuned is not None and base != tuned
        return Outcome.CHANGED if differs else Outcome.EQUAL

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
        cell = self.cells.get((arm, kind))
        return cell.completion if cell else None

    def text(self, arm: str) -> str | None:
        """Return the text that `arm` wrote, None where it wrote none."""
        completion = self.completion(arm, CellKind.GENERATE)
        return completion.text if completion else None
