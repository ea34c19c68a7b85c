"""Ctrl-C during a training: the step under way is finished, a checkpoint is kept, then it stops.

A second Ctrl-C stops at once, and so does the first before the training has begun.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness.errors import Interrupted
from trainers import checkpoints, progress

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Asked:
    """Which signal asked the training to stop, if one did."""

    def __init__(self) -> None:
        self.signal: int | None = None


@contextmanager
def at_the_next_step(trainer: Any, say: progress.Say) -> Iterator[None]:
    """Let a signal end the training after the step under way, with a checkpoint.

    Raises:
        Interrupted: a signal did; with the way to go on.
    """
    asked = _Asked()
    trainer.add_callback(_callback(asked))
    main = threading.current_thread() is threading.main_thread()
    with _handling(asked, say, alone=main and trainer.args.world_size == 1):
        yield
    if asked.signal is not None and trainer.state.global_step < trainer.state.max_steps:
        raise Interrupted(f"training stopped; {resume(trainer.args)}", asked.signal)


def resume(args: Any) -> str:
    """Return how a training goes on, from its last checkpoint if there is one.

    Args:
        args: TRL's configuration.
    """
    last = checkpoints.last_of(args)
    if last is None:
        return "there is no checkpoint yet, so it starts anew (--save_steps sets how often)"
    return f"--resume_from_checkpoint {last} goes on from there"


@contextmanager
def _handling(asked: _Asked, say: progress.Say, *, alone: bool) -> Iterator[None]:
    """Handle the signals, and put back what handled them before.

    Args:
        asked: Takes the signal.
        say: Is told that it is heard.
        alone: Whether this is the main thread, which alone may, of the only process: several would
            stop after different steps and wait for one another for ever.
    """
    if not alone:
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


def _callback(asked: _Asked) -> Any:
    from transformers import TrainerCallback

    class Stop(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if asked.signal is not None:
                control.should_training_stop = True
                # After the last step the training is whole, and is saved as such.
                control.should_save = state.global_step < state.max_steps

    return Stop()
