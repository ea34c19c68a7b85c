"""`GateCallback`: runs suites at every save of a Transformers or TRL training.

```python
from tunegate import GateCallback

trainer.add_callback(GateCallback("suites/support_json", stop_on="regression"))
```
At every save the suites are asked of the model in hand and of base, which is the same model with
its adapter switched off. The training continues as if nothing had happened (`evaluation_mode`).
"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunegate.harness.contracts.quantity import QuantityFormat
from tunegate.harness.records.defaults import CONFIDENCE
from tunegate.harness.records.errors import MissingExtra, RunInterrupted, UsageError
from tunegate.harness.suite import Suite
from tunegate.trainers import checkpoint_ranking
from tunegate.trainers.callbacks import print_to_stderr
from tunegate.trainers.checkpoint_evaluation import (
    MonitoredTraining,
    load_gate_suites,
    refuse_overlap,
)
from tunegate.trainers.checkpoint_ranking import Checkpoint, CheckpointRanking
from tunegate.trainers.final_gate import suite_files

if TYPE_CHECKING:
    from transformers import TrainerCallback
    from transformers.trainer_callback import ExportableState

    class _EventCallback(TrainerCallback, ExportableState):
        pass
else:
    _EventCallback = object

STOPS = ("regression",)
"""Allowed values of `stop_on`."""


class GateCallback(_EventCallback):
    """Runs suites on the model at every save, logs paired deltas, keeps the best checkpoint.

    Each evaluation is one line on stderr, an entry in `state.log_history` with keys such as
    `gate/support_json/json_schema/delta`, an entry in `gate_checkpoints.json` next to the
    checkpoints, and an attempt in the ledger of each suite. One that fails does not end the
    training; Ctrl-C ends it as it does elsewhere.

    Args:
        suites: Folder of a suite, or several.
        select: Name of the suite that chooses the checkpoint to keep; the first one if not given.
            `state.best_model_checkpoint` is set to it, so `save_total_limit` leaves it alone and
            `load_best_model_at_end` loads it.
        ship: The suite that will decide shipping. It is never run; it must share no case with the
            one that selects.
        stop_on: `"regression"` ends the training when one is proven; the k-th evaluation is
            judged at 1/k of the error.
        base: Model folder to compare with where no adapter can be switched off: a full fine-tune.
            By default the one that the model was loaded from.
        max_cases: Only the first cases of each suite, to save time.

    Raises:
        UsageError: a suite cannot be used, or an argument is not understood.
    """

    def __new__(cls, *arguments: Any, **options: Any) -> GateCallback:
        """Make an instance that Transformers accepts as a callback, importing it only now."""
        try:
            from transformers.trainer_callback import ExportableState, TrainerCallback
        except ImportError as error:
            raise MissingExtra("a callback", "train") from error
        if not issubclass(cls, TrainerCallback):
            attributes = {"__doc__": cls.__doc__, "__module__": cls.__module__}
            cls = type(cls.__name__, (cls, TrainerCallback, ExportableState), attributes)
        return super().__new__(cls)

    def __init__(
        self,
        suites: str | Path | Sequence[str | Path],
        *,
        select: str | None = None,
        ship: str | Path | None = None,
        stop_on: str | None = None,
        base: str | Path | None = None,
        max_cases: int | None = None,
    ) -> None:
        paths = [suites] if isinstance(suites, str | Path) else list(suites)
        self._base = None if base is None else str(base)
        self._stops = stop_on is not None
        self._arguments: dict[str, Any] = {
            "suites": [str(path) for path in paths],
            "select": select,
            "ship": ship and str(ship),
            "stop_on": stop_on,
            "base": self._base,
            "max_cases": max_cases,
        }
        if stop_on is not None and stop_on not in STOPS:
            raise UsageError(f"stop_on={stop_on!r}: allowed are None and {STOPS[0]!r}")
        self.suites: tuple[Suite, ...] = load_gate_suites(paths, max_cases)
        names = [suite.name for suite in self.suites]
        chosen = select or names[0]
        if chosen not in names:
            raise UsageError(f"select={select!r}: no suite of that name; there are {names}")
        if ship is not None:
            refuse_overlap(self.suites[names.index(chosen)], Path(ship))
        self.record = CheckpointRanking(selected_by=chosen)
        self._watched: MonitoredTraining | None = None
        self._trainer: Any = None
        self._state: Any = None

    def attach(self, trainer: Any) -> GateCallback:
        """Add the callback to a trainer so that wandb, TensorBoard … see the deltas as well."""
        trainer.add_callback(self)
        self._trainer = trainer
        return self

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Open both arms before the first step [transformers]."""
        self._state = state
        state.stateful_callbacks.setdefault(type(self).__name__, self.state())
        if not state.is_world_process_zero:
            return
        self._watched = MonitoredTraining.of(
            args, more["model"], more["processing_class"], self.suites, self._base
        )
        before = (
            checkpoint_ranking.read_ranking(Path(args.output_dir)) if state.global_step else None
        )
        if before is not None and before.selected_by == self.record.selected_by:
            self.record = before.until(state.global_step, Path(args.output_dir))
            self._set_best(state, self.record.best_step, self._best_folder())
        else:
            self.record = CheckpointRanking(selected_by=self.record.selected_by)
        print_to_stderr(f"gate: {self._watched.sentence}; {self.record.selected_by} selects")
        if str(getattr(args.save_strategy, "value", args.save_strategy)) == "no":
            print_to_stderr("gate: save_strategy is 'no', so no checkpoint will be evaluated")

    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> Any:
        """Evaluate the model that was saved [transformers]."""
        self._state = state
        stop = self._evaluate(args, state, control) if state.is_world_process_zero else None
        stop, step, folder = _broadcast_result(
            args, (stop, self.record.best_step, self.record.best)
        )
        if not state.is_world_process_zero:
            self.record = self.record.model_copy(update={"best": folder})
        self._set_best(state, step, None if folder is None else Path(args.output_dir) / folder)
        control.should_training_stop = control.should_training_stop or bool(stop)
        return control

    def state(self) -> dict[str, Any]:
        """Return the arguments that rebuild the callback [transformers].

        Transformers calls this after it has chosen the best checkpoint by the loss and before it
        removes old ones: the last moment to restore the gate's choice.
        """
        if self._state is not None and self.record.best is not None:
            self._set_best(self._state, self.record.best_step, self._best_folder())
        return {"args": self._arguments, "attributes": {}}

    def _best_folder(self) -> Path | None:
        watched, best = self._watched, self.record.best
        return None if watched is None or best is None else watched.folder / best

    def _set_best(self, state: Any, step: int | None, folder: Path | None) -> None:
        if folder is not None:
            state.best_global_step, state.best_model_checkpoint = step, str(folder)

    def _evaluate(self, args: Any, state: Any, control: Any) -> bool:
        """Evaluate, report and record; return whether the training should stop."""
        assert self._watched is not None
        started = time.monotonic()
        number = 1 + len(self.record.looks)
        try:
            checkpoint = self._watched.evaluate(state.global_step, number)
        except RunInterrupted as error:
            # The earlier handler is back: Ctrl-C does what it would have done between two steps.
            signal.raise_signal(error.exit_code - 128)
            return False
        self.record = self.record.with_checkpoint(checkpoint)
        self._write(Path(args.output_dir))
        self._log(args, state, control, checkpoint)
        best = " · kept as the best" if self.record.best == checkpoint.folder else ""
        print_to_stderr(f"{checkpoint_line(checkpoint)}{best} · {time.monotonic() - started:.0f} s")
        forgotten = [text for suite in checkpoint.suites for text in suite.forgotten]
        if not (forgotten and self._stops):
            return False
        print_to_stderr(f"gate: stopping the training: {forgotten[0]}")
        return True

    def _write(self, folder: Path) -> None:
        try:
            checkpoint_ranking.write_ranking(self.record, folder)
        except OSError as error:
            print_to_stderr(
                f"gate: {folder / checkpoint_ranking.FILE}: not written ({error.strerror})"
            )

    def _log(self, args: Any, state: Any, control: Any, checkpoint: Checkpoint) -> None:
        """Add the numbers to the trainer's history, and send them to its reporters."""
        logs = history_numbers(checkpoint)
        if not logs:
            return
        state.log_history.append({**logs, "epoch": state.epoch, "step": state.global_step})
        if self._trainer is not None:
            # Not `trainer.log`, which would reset TRL's running averages.
            self._trainer.callback_handler.on_log(args, state, control, logs)


def history_numbers(checkpoint: Checkpoint) -> dict[str, float]:
    """Return a checkpoint's numbers under the keys of the trainer's history."""
    return {
        f"gate/{suite.name}/{metric.name}/{key}": float(value)
        for suite in checkpoint.suites
        for metric in suite.metrics
        for key in ("base", "tuned", "delta", "low", "high", "n")
        if (value := getattr(metric, key)) is not None
    }


def checkpoint_line(checkpoint: Checkpoint) -> str:
    """Return a checkpoint's results in one line."""
    if checkpoint.problem is not None:
        return f"gate at step {checkpoint.step}: not judged: {checkpoint.problem}"
    parts = []
    for suite in checkpoint.suites:
        broken = f" ({', '.join(suite.broken)})" if suite.broken else ""
        metric, text = suite.ranked_by, f"{suite.name} {suite.verdict.value}{broken}"
        if metric is not None:
            how = QuantityFormat(metric.rate)
            text += f", {metric.name} {how.change(metric.base, metric.tuned, metric.delta)}"
            text += how.interval(metric.low, metric.high, CONFIDENCE, sign=True)
        parts.append(text)
    return f"gate at step {checkpoint.step}: {'; '.join(parts)}"


def _broadcast_result(args: Any, outcome: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    """Return what the first process found, in every process."""
    if getattr(args, "world_size", 1) < 2:
        return outcome
    import torch.distributed as processes

    box = [outcome]
    processes.broadcast_object_list(box, src=0)
    return box[0]


def make_callback(suites: Sequence[str], stop_on: str | None) -> GateCallback | None:
    """Return the callback of `--gate_callback`; None without it."""
    if not suites and stop_on:
        raise UsageError("--gate_stop_on: name the suites to run with --gate_callback SUITE")
    files = [file for suite in suites for file in suite_files(suite, "--gate_callback")]
    return GateCallback(files, stop_on=stop_on) if files else None
