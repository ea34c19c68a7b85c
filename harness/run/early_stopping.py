"""Early stopping: after each interim look, decides which suites need no further answers.

The looks are planned before the first answer, and only the cases that they saw count, even if an
earlier run has stored answers to later ones: otherwise the promised error rate would not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.contracts.further_arm import ARMS, BASE_AGAIN, comparisons
from tunegate.harness.contracts.model import Arm
from tunegate.harness.decision.planning.look_schedule import schedule_looks
from tunegate.harness.decision.scoring import score_suite
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.engine.plan import Plan
from tunegate.harness.engine.runner import collect_answers
from tunegate.harness.records.answers import Cell
from tunegate.harness.records.manifest import LookSchedule, Manifest
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.suite import Suite


def compared_whole(arms: Mapping[str, Arm]) -> dict[str, Arm]:
    """Return the arms that answer all cases: compared further arms, and tuned with them.

    The looks are about base and tuned only.
    """
    compared = {name: arms[name] for name in comparisons(arms)}
    return {"tuned": arms["tuned"], **compared} if compared else {}


@dataclass
class EarlyStopping:
    """The looks of a run's suites, and at which of them each suite ended."""

    schedules: dict[str, LookSchedule] = field(default_factory=dict)
    """Suite → its looks; suites that are asked whole are absent."""
    ended: dict[str, int] = field(default_factory=dict)
    """Suite → the look at which it ended early."""
    scores: dict[str, list[ScoreRow]] = field(default_factory=dict)
    """Suite → the scores of its looks."""

    @classmethod
    def of(
        cls,
        suites: Iterable[Suite],
        *,
        seed: int,
        left_out: Mapping[str, frozenset[str]] = MappingProxyType({}),
    ) -> EarlyStopping:
        """Plan the looks of every suite that can gain from them.

        Args:
            suites: The suites.
            seed: Seed of the order of cases.
            left_out: Suite → cases that its gates leave out: no look waits for them.
        """
        # Judges and people are asked after all answers are there, so nothing is decided earlier.
        whole = (
            _drop_cases(suite, left_out.get(suite.name, frozenset()))
            for suite in suites
            if all(m.judge is None and not m.votes for m in suite.gated_metrics)
        )
        planned = {suite.name: schedule_looks(suite, seed=seed) for suite in whole}
        return cls({name: looks for name, looks in planned.items() if looks is not None})

    @property
    def looks(self) -> dict[str, InterimLook]:
        """Suite → the look at which it is judged: where it ended, or its last one."""
        return {
            name: InterimLook(looks, self.ended.get(name, len(looks.sizes) - 1))
            for name, looks in self.schedules.items()
        }

    def skips(self, *, whole: Collection[str] = ()) -> Callable[[Cell], bool]:
        """Return the function that tells whether a request was left out because its suite ended."""
        later = {
            name: frozenset(look.looks.order) - frozenset(look.seen)
            for name, look in self.looks.items()
        }
        return lambda cell: cell.arm not in whole and cell.case in later.get(cell.suite, ())

    def watch(
        self, manifest: Manifest, plan: Plan, store: AnswerCache, suites: Sequence[Suite]
    ) -> Callable[[int], Iterable[str]]:
        """Return the function that the runner calls after each look, to get the suites to end."""

        def after(stage: int) -> list[str]:
            going = [s for s in suites if s.name in self.schedules and s.name not in self.ended]
            for suite in going:
                last = len(self.schedules[suite.name].sizes) - 1
                if stage < last and self._stops(manifest, plan, store, suite, stage):
                    self.ended[suite.name] = stage
            return list(self.ended)

        return after

    def _stops(
        self, manifest: Manifest, plan: Plan, store: AnswerCache, suite: Suite, stage: int
    ) -> bool:
        from tunegate.harness.decision.verdict.interim_analysis import should_stop

        looks, arms = self.schedules[suite.name], (*ARMS, BASE_AGAIN)
        start = looks.sizes[stage - 1] if stage else 0
        new = frozenset(looks.order[start : looks.sizes[stage]])
        cells = collect_answers(
            plan,
            store,
            set(),
            skipped=lambda c: c.suite != suite.name or c.case not in new or c.arm not in arms,
        )
        answered = [c for c in cells if c.status != "skipped"]
        rows = self.scores.setdefault(suite.name, [])
        rows += score_suite(suite, answered, arms)
        record = next(s for s in manifest.suites if s.name == suite.name)
        return should_stop(manifest, record, suite.cases, rows, stage)


def _drop_cases(suite: Suite, left_out: frozenset[str]) -> Suite:
    """Return a suite without some of its cases."""
    if not left_out:
        return suite
    return replace(suite, cases=tuple(c for c in suite.cases if c.id not in left_out))
