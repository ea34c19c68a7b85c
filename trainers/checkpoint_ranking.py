"""Checkpoint ranking: the checkpoints of a training by their gate results.

`gate_checkpoints.json` is next to the checkpoints. A checkpoint is better if its verdict on the
suite that selects is better, and among equals if the metric of that suite's goal is further above
base; the earlier one of two that are the same. The loss is not used.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.files import read_record, record_json, write_atomic
from tunegate.harness.records.record import Number, Record
from tunegate.harness.records.verdict import Verdict

FILE = "gate_checkpoints.json"
"""Name of the file in the output folder."""
_RANK = {Verdict.SHIP: 2, Verdict.HOLD: 1, Verdict.UNDECIDED: 1, Verdict.BLOCK: 0}
"""Verdicts from which a checkpoint may be chosen; what could not be judged is never kept."""


class CheckpointMetric(Record):
    """A metric at one checkpoint; differences are tuned − base."""

    name: str
    higher_is_better: bool
    base: Number
    tuned: Number
    delta: Number
    low: Number
    """Lower end of the delta's interval; None where there is too little data for one."""
    high: Number
    n: int
    """Complete pairs."""
    rate: bool = Field(default=False, exclude_if=lambda rate: not rate)
    """Whether scores are between 0 and 1, so that texts write them in per cent and points."""

    @property
    def improvement(self) -> float | None:
        """The delta, positive where tuned is better."""
        if self.delta is None:
            return None
        return self.delta if self.higher_is_better else -self.delta


class CheckpointSuite(Record):
    """A suite at one checkpoint."""

    name: str
    hash: str
    verdict: Verdict
    attempt: int
    """Number of candidates judged on the suite so far, in all trainings, this one included."""
    goal: str
    """The metric that ranks checkpoints: of the first gain, else of the first gate or metric; on a
    tag `metric[tag]`."""
    metrics: tuple[CheckpointMetric, ...]
    forgotten: tuple[str, ...] = ()
    """Regressions proven at 1/k of the error, in the k-th evaluation of this training."""
    broken: tuple[str, ...] = ()
    """Gates that failed, as `metric::kind`."""

    @property
    def ranked_by(self) -> CheckpointMetric | None:
        """The metric that ranks checkpoints; None if it has no scores."""
        found = (m for m in self.metrics if m.name == self.goal and m.delta is not None)
        return next(found, None)


class Checkpoint(Record):
    """One checkpoint, evaluated."""

    step: int
    folder: str
    """Its name, next to this file."""
    suites: tuple[CheckpointSuite, ...] = ()
    problem: str | None = None
    """Why it could not be judged."""

    def suite(self, name: str) -> CheckpointSuite | None:
        """Return a suite's result for it; None if it was not judged."""
        return next((s for s in self.suites if s.name == name), None)


class CheckpointRanking(Record):
    """The evaluated checkpoints of one training, and which is kept."""

    schema_version: int = 1
    selected_by: str
    """Name of the suite that chooses."""
    best: str | None = None
    """Folder of the checkpoint that is kept."""
    why: str = "no checkpoint was judged yet"
    looks: tuple[Checkpoint, ...] = Field(default=(), repr=False)

    def with_checkpoint(self, checkpoint: Checkpoint) -> CheckpointRanking:
        """Return the record with one more checkpoint, and the best of all."""
        looks = (*(c for c in self.looks if c.step != checkpoint.step), checkpoint)
        ranked = [(rank, c) for c in looks if (rank := self._rank(c)) is not None]
        if not ranked:
            return self.model_copy(update={"looks": looks, "why": "no checkpoint could be judged"})
        best = max(ranked, key=lambda pair: pair[0])[1]
        update = {"looks": looks, "best": best.folder, "why": self._why(best, len(ranked))}
        return self.model_copy(update=update)

    def until(self, step: int, folder: Path) -> CheckpointRanking:
        """Return the record of a training that is resumed at `step`.

        Later checkpoints will be trained again; those whose folder is gone are dropped.
        """
        kept = [c for c in self.looks if c.step <= step and (folder / c.folder).is_dir()]
        ranking = CheckpointRanking(selected_by=self.selected_by)
        for checkpoint in kept:
            ranking = ranking.with_checkpoint(checkpoint)
        return ranking

    @property
    def best_step(self) -> int | None:
        """Step of the checkpoint that is kept."""
        return next((c.step for c in self.looks if c.folder == self.best), None)

    def _rank(self, checkpoint: Checkpoint) -> tuple[int, float, int] | None:
        """Return the sort key of a checkpoint; None if it may not be chosen."""
        suite = checkpoint.suite(self.selected_by)
        ranked_by = suite.ranked_by if suite else None
        if suite is None or ranked_by is None or suite.verdict not in _RANK:
            return None
        improvement = ranked_by.improvement
        assert improvement is not None
        return _RANK[suite.verdict], improvement, -checkpoint.step

    def _why(self, best: Checkpoint, among: int) -> str:
        suite = best.suite(self.selected_by)
        assert suite is not None
        metric = suite.ranked_by
        assert metric is not None
        return (
            f"{suite.verdict.value} on {suite.name}, {metric.name} {metric.delta:+.3g} against "
            f"base: the best of {among} judged"
        )


def read_ranking(folder: Path) -> CheckpointRanking | None:
    """Return what is in the output folder; None if there is nothing that can be read."""
    try:
        return read_record(folder / FILE, CheckpointRanking)
    except (UsageError, OSError):
        return None


def write_ranking(record: CheckpointRanking, folder: Path) -> None:
    """Write the file into the output folder."""
    write_atomic(folder / FILE, record_json(record))
