"""Trainer callbacks: progress lines, evaluation, gradient check, and stopping at a signal.

Ctrl-C during a training: the step in progress is finished, a checkpoint is kept, then it stops. A
second Ctrl-C stops at once, and so does the first before the training has begun.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tunegate.harness.records.errors import RunInterrupted, TunegateError
from tunegate.trainers import checkpoint_ranking

if TYPE_CHECKING:
    from transformers import TrainerCallback

Say = Callable[[str], None]
"""Takes one line for the user."""


def is_first_process() -> bool:
    """Return whether this is the process that speaks and writes, of those `accelerate` started."""
    return os.environ.get("RANK", "0") == "0"


def print_to_stderr(line: str) -> None:
    """Show one line at once, without mixing into what a command prints as its result.

    Of several processes that train together the first one speaks.
    """
    if not is_first_process():
        return
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def progress_line(step: int, last: int, loss: float, seconds: float, more: str = "") -> str:
    """Return the line for `step` of `last`, at `seconds` a step, with `more` after the loss.

    Example:
        >>> progress_line(40, 160, 0.4123, 3.14)
        'step 40/160  loss 0.4123  3.1 s/step  6 min 17 s left'
    """
    left = _left(step, last, seconds)
    more = f"  {more}" if more else ""
    return f"step {step}/{last}  loss {loss:.4g}{more}  {seconds:.1f} s/step  {left}"


def _left(step: int, last: int, seconds: float) -> str:
    minutes, rest = divmod(round((last - step) * seconds), 60)
    return f"{minutes} min {rest} s left" if minutes else f"{rest} s left"


def progress_callback(
    say: Say, *, loss: str = "loss", more: Callable[[Mapping[str, Any]], str] | None = None
) -> TrainerCallback:
    """Return a callback that prints one line whenever the trainer logs a loss.

    Args:
        say: Takes the line.
        loss: What the trainer calls its loss in the log.
        more: Returns the rest of the line, after the loss, from all that was logged.
    """
    from transformers import TrainerCallback

    class ProgressCallback(TrainerCallback):
        def __init__(self) -> None:
            self.at = 0.0
            self.step = 0

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.at, self.step = time.monotonic(), state.global_step

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            done = state.global_step - self.step
            if not logs or loss not in logs or done <= 0 or not state.is_world_process_zero:
                return
            now = time.monotonic()
            pace, words = (now - self.at) / done, more(logs) if more else ""
            say(progress_line(state.global_step, state.max_steps, logs[loss], pace, words))
            self.at, self.step = now, state.global_step

    return ProgressCallback()


_SHOWN = (
    *("loss", "accuracy", "rewards/accuracies", "rewards/margins", "mean_token_accuracy"),
    *("reward", "reward_std"),
)
"""Metrics that an evaluation's line shows, if TRL logs them."""


def evaluation_line(step: int, metrics: Mapping[str, float]) -> str:
    """Return the line for an evaluation at `step`.

    Example:
        >>> evaluation_line(40, {"eval_loss": 0.25, "eval_accuracy": 0.9, "eval_runtime": 3.0})
        'evaluated at step 40  loss 0.25  accuracy 0.9'
    """
    found = [(name, metrics.get(f"eval_{name}")) for name in _SHOWN]
    parts = [f"{name} {value:.4g}" for name, value in found if value is not None]
    return "  ".join([f"evaluated at step {step}", *parts])


def evaluation_callback(say: Say) -> Any:
    """Return a callback that prints one line after each evaluation."""
    from transformers import TrainerCallback

    class EvaluationCallback(TrainerCallback):
        def on_evaluate(
            self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any
        ) -> None:
            if metrics and state.is_world_process_zero:
                say(evaluation_line(state.global_step, metrics))

    return EvaluationCallback()


def gradient_callback() -> Any:
    """Return a callback that ends a training of which the first step has no gradient.

    Raises:
        TunegateError: at the first step, from `trainer.train`.
    """
    from transformers import TrainerCallback

    class GradientCallback(TrainerCallback):
        def __init__(self) -> None:
            self.seen = False

        def on_pre_optimizer_step(
            self, args: Any, state: Any, control: Any, model: Any = None, **_: Any
        ) -> None:
            if self.seen or model is None:
                return
            self.seen = True
            trained = [weight for weight in model.parameters() if weight.requires_grad]
            if not trained:
                raise TunegateError("nothing is trained: no weight of the model takes a gradient")
            if all(weight.grad is None for weight in trained):
                raise TunegateError(
                    f"the first step reached none of {len(trained)} trained tensors: no gradient "
                    "arrives; a quantised base may compute with kernels that have none"
                )

    return GradientCallback()


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _StopSignal:
    """Which signal asked the training to stop, if one did."""

    def __init__(self) -> None:
        self.signal: int | None = None


@contextmanager
def at_the_next_step(trainer: Any, say: Say) -> Iterator[None]:
    """Let a signal end the training after the step in progress, with a checkpoint.

    Raises:
        RunInterrupted: a signal did; with the way to go on.
    """
    asked = _StopSignal()
    trainer.add_callback(_callback(asked))
    main = threading.current_thread() is threading.main_thread()
    with _handle_signals(asked, say, alone=main and trainer.args.world_size == 1):
        yield
    if asked.signal is not None and trainer.state.global_step < trainer.state.max_steps:
        raise RunInterrupted(f"training stopped; {resume_advice(trainer.args)}", asked.signal)


def resume_advice(args: Any) -> str:
    """Return how a training goes on, from its last checkpoint if there is one.

    Args:
        args: TRL's configuration.
    """
    last = checkpoint_ranking.last_of(args)
    if last is None:
        return "there is no checkpoint yet, so it starts anew (--save_steps sets how often)"
    return f"--resume_from_checkpoint {last} continues from there"


@contextmanager
def _handle_signals(asked: _StopSignal, say: Say, *, alone: bool) -> Iterator[None]:
    """Handle the signals, and restore their handlers at the end."""
    if not alone:  # several processes would stop after different steps and wait forever
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def handle(number: int, _: Any) -> None:
        asked.signal = number
        for other, handler in before.items():  # a second one stops at once
            signal.signal(other, handler)
        say("stopping after this step, with a checkpoint; once more stops at once")

    for number in _SIGNALS:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _callback(asked: _StopSignal) -> Any:
    from transformers import TrainerCallback

    class StopCallback(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if asked.signal is not None:
                control.should_training_stop = True
                # After the last step the training is whole, and is saved as such.
                control.should_save = state.global_step < state.max_steps

    return StopCallback()
