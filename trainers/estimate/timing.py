"""Training time from a few real steps on this machine, with the user's rows; nothing is saved.

The first step warms up and is not timed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tunegate.harness.records.errors import UsageError
from tunegate.trainers import callbacks, sft, train
from tunegate.trainers.arguments import parse_arguments
from tunegate.trainers.hardware import peak_memory

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class StepProfile:
    """Some timed steps of a training."""

    seconds: tuple[float, ...]
    steps: int
    """Steps of the whole training."""
    start_s: float
    """Loading, rows and the first step."""
    peak: int
    """The most resident memory of this process, in bytes."""

    @property
    def total_s(self) -> tuple[float, float, float]:
        """Seconds of the whole training, and the ends of Student's 95 % interval."""
        from scipy.stats import t  # type: ignore[import-untyped]  # ships no types

        mean, n = statistics.fmean(self.seconds), len(self.seconds)
        half = float(t.ppf((1 + CONFIDENCE) / 2, n - 1)) * statistics.stdev(self.seconds) / n**0.5
        rest = self.steps - 1
        ends = (mean, max(min(self.seconds) / 2, mean - half), mean + half)
        whole = [self.start_s + rest * each for each in ends]
        return whole[0], whole[1], whole[2]


class _ProfileComplete(Exception):
    """Enough steps are timed."""


def profile_steps(argv: Sequence[str], *, steps: int, say: callbacks.Say) -> StepProfile:
    """Time some steps of the training that `tunegate train sft` would do with these flags."""
    clock: list[float] = []
    begun = time.monotonic()
    planned = 0

    def timed(trainer: Any, checkpoint: str | None) -> None:
        nonlocal planned
        trainer.add_callback(_clock(clock, steps))
        trainer.args.save_strategy = trainer.args.eval_strategy = "no"
        trainer.train()
        planned = trainer.state.max_steps
        raise _ProfileComplete

    with tempfile.TemporaryDirectory() as folder:
        flags = [*argv, "--output_dir", folder]
        config = parse_arguments(train.method_parser(sft.METHOD, "tunegate estimate"), flags)
        with contextlib.suppress(_ProfileComplete):
            train.train_method(dataclasses.replace(sft.METHOD, train=timed), config, say=say)
    seconds = tuple(after - before for before, after in itertools.pairwise(clock))
    if len(seconds) < 2:
        raise UsageError(f"the training has {len(clock)} steps; timing needs at least three")
    return StepProfile(seconds, planned, clock[0] - begun, peak_memory())


def _clock(at: list[float], steps: int) -> Any:
    """Return a callback that records the end of each step and stops after `steps` timed ones."""
    from transformers import TrainerCallback

    class StepClock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            at.append(time.monotonic())
            if len(at) > steps:
                control.should_training_stop = True

    return StepClock()
