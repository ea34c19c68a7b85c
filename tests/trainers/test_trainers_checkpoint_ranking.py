"""Which checkpoint is kept: by the verdict first, then by how far the goal is above base."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunegate.harness.records.verdict import Verdict
from tunegate.trainers import checkpoint_ranking
from tunegate.trainers.checkpoint_ranking import (
    Checkpoint,
    CheckpointMetric,
    CheckpointRanking,
    CheckpointSuite,
)


def look(
    step: int, delta: float | None, verdict: Verdict = Verdict.UNDECIDED, *, up: bool = True
) -> Checkpoint:
    """A look of the suite `s` with one metric."""
    metric = CheckpointMetric(
        name="m", higher_is_better=up, base=0.0, tuned=delta, delta=delta, low=None, high=None, n=9
    )
    suite = CheckpointSuite(
        name="s", hash="", verdict=verdict, attempt=1, goal="m", metrics=(metric,)
    )
    return Checkpoint(step=step, folder=f"checkpoint-{step}", suites=(suite,))


@pytest.mark.parametrize(
    ("looks", "best"),
    [
        ([look(1, 0.1), look(2, 0.3), look(3, 0.2)], 2),
        ([look(1, 0.3), look(2, 0.3)], 1),
        ([look(1, 0.3), look(2, 0.1, Verdict.SHIP)], 2),
        ([look(1, 0.3, Verdict.BLOCK), look(2, 0.1)], 2),
        ([look(1, -0.5, Verdict.BLOCK), look(2, -0.1, Verdict.BLOCK)], 2),
        ([look(1, 0.9, Verdict.ERROR), look(2, 0.1)], 2),
        ([look(1, 0.3, Verdict.HOLD), look(2, 0.4)], 2),
        ([look(1, 5.0, up=False), look(2, -5.0, up=False)], 2),
        ([look(1, 0.1), Checkpoint(step=2, folder="checkpoint-2", problem="broken")], 1),
        ([look(1, None), look(2, 0.1)], 2),
    ],
)
def test_the_best_is_kept(looks: list[Checkpoint], best: int) -> None:
    record = CheckpointRanking(selected_by="s")
    for each in looks:
        record = record.with_checkpoint(each)

    assert (best, f"checkpoint-{best}") == (record.best_step, record.best)


def test_nothing_is_kept_of_what_cannot_be_judged() -> None:
    record = CheckpointRanking(selected_by="s").with_checkpoint(look(1, 0.5, Verdict.ERROR))

    assert (None, None) == (record.best, record.best_step)
    assert "no checkpoint could be judged" == record.why


def test_it_is_read_back(tmp_path: Path) -> None:
    """A written record is read back; any other file is not one."""
    record = CheckpointRanking(selected_by="s").with_checkpoint(look(1, 0.5))
    checkpoint_ranking.write_ranking(record, tmp_path)

    assert record == checkpoint_ranking.read_ranking(tmp_path)
    (tmp_path / checkpoint_ranking.FILE).write_text("{}")
    assert checkpoint_ranking.read_ranking(tmp_path) is None
    assert checkpoint_ranking.read_ranking(tmp_path / "nowhere") is None


def test_a_resumed_training_keeps_what_is_still_there(tmp_path: Path) -> None:
    record = CheckpointRanking(selected_by="s")
    for each in (look(1, 0.9), look(2, 0.1), look(3, 0.2), look(4, 0.8)):
        record = record.with_checkpoint(each)
    for step in (2, 3, 4):
        (tmp_path / f"checkpoint-{step}").mkdir()

    resumed = record.until(3, tmp_path)

    assert [2, 3] == [each.step for each in resumed.looks]
    assert "checkpoint-3" == resumed.best
