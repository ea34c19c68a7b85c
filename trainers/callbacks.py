"""Trainer callbacks: progress lines, evaluation lines, gradient check."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tunegate.harness.records.errors import TunegateError

if TYPE_CHECKING:
    from transformers import TrainerCallback

Say = Callable[[str], None]
"""Takes one line for the user."""


def is_first_process() -> bool:
    """Return whether this process prints and writes: the first of those `accelerate` started."""
    return os.environ.get("RANK", "0") == "0"


def print_to_stderr(line: str) -> None:
    """Print one line to stderr at once, in the first of several processes only."""
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
    """Return a callback that prints one line whenever the trainer logs a loss."""
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
    values = [(name, metrics.get(f"eval_{name}")) for name in _SHOWN]
    parts = [f"{name} {value:.4g}" for name, value in values if value is not None]
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
    """Return a callback that ends a training whose first step has no gradient."""
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
