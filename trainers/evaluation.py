"""TRL's own evaluation on `--eval_files`, said in one line each time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainers import progress

_SHOWN = (
    *("loss", "accuracy", "rewards/accuracies", "rewards/margins", "mean_token_accuracy"),
    *("reward", "reward_std"),
)
"""What is said of an evaluation, where TRL's trainer measures it."""


def line_of(step: int, metrics: Mapping[str, float]) -> str:
    """Return the line for an evaluation at `step`.

    Example:
        >>> line_of(40, {"eval_loss": 0.25, "eval_accuracy": 0.9, "eval_runtime": 3.0})
        'evaluated at step 40  loss 0.25  accuracy 0.9'
    """
    found = [(name, metrics.get(f"eval_{name}")) for name in _SHOWN]
    parts = [f"{name} {value:.4g}" for name, value in found if value is not None]
    return "  ".join([f"evaluated at step {step}", *parts])


def callback(say: progress.Say) -> Any:
    """Return a callback that says one line after each evaluation."""
    from transformers import TrainerCallback

    class Evaluation(TrainerCallback):
        def on_evaluate(
            self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any
        ) -> None:
            if metrics and state.is_world_process_zero:
                say(line_of(state.global_step, metrics))

    return Evaluation()
