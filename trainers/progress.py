"""Progress of a training as plain lines: step, loss, seconds a step, time left."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import TrainerCallback

Say = Callable[[str], None]
"""Takes one line for the user."""


def is_first_process() -> bool:
    """Return whether this is the process that speaks and writes, of those `accelerate` started."""
    return os.environ.get("RANK", "0") == "0"


def to_stderr(line: str) -> None:
    """Show one line at once, without mixing into what a command prints as its result.

    Of several processes that train together the first one speaks.
    """
    if not is_first_process():
        return
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def line_of(step: int, last: int, loss: float, seconds: float, more: str = "") -> str:
    """Return the line for `step` of `last`, at `seconds` a step, with `more` after the loss.

    Example:
        >>> line_of(40, 160, 0.4123, 3.14)
        'step 40/160  loss 0.4123  3.1 s/step  6 min 17 s left'
    """
    left = _left(step, last, seconds)
    more = f"  {more}" if more else ""
    return f"step {step}/{last}  loss {loss:.4g}{more}  {seconds:.1f} s/step  {left}"


def _left(step: int, last: int, seconds: float) -> str:
    minutes, rest = divmod(round((last - step) * seconds), 60)
    return f"{minutes} min {rest} s left" if minutes else f"{rest} s left"


def callback(
    say: Say, *, loss: str = "loss", more: Callable[[Mapping[str, Any]], str] | None = None
) -> TrainerCallback:
    """Return a callback that says one line whenever the trainer logs a loss.

    Args:
        say: Takes the line.
        loss: What the trainer calls its loss in the log.
        more: Returns what the line says after the loss, from all that was logged.
    """
    from transformers import TrainerCallback

    class Progress(TrainerCallback):
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
            say(line_of(state.global_step, state.max_steps, logs[loss], pace, words))
            self.at, self.step = now, state.global_step

    return Progress()
