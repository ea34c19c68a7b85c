"""Ctrl-C and SIGTERM during a training: finish the step, keep a checkpoint, stop.

A second signal stops at once, as does one before the training has begun.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tunegate.harness.records.errors import RunInterrupted
from tunegate.trainers.callbacks import Say
from tunegate.trainers.checkpoints import resume_advice

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _StopSignal:
    """Which signal asked the training to stop, if one did."""

    def __init__(self) -> None:
        self.signal: int | None = None


@contextmanager
def stop_after_step(trainer: Any, say: Say) -> Iterator[None]:
    """Let a signal end the training after the step in progress, with a checkpoint."""
    stop = _StopSignal()
    trainer.add_callback(_callback(stop))
    main = threading.current_thread() is threading.main_thread()
    with _handle_signals(stop, say, alone=main and trainer.args.world_size == 1):
        yield
    if stop.signal is not None and trainer.state.global_step < trainer.state.max_steps:
        raise RunInterrupted(f"training stopped; {resume_advice(trainer.args)}", stop.signal)


@contextmanager
def _handle_signals(stop: _StopSignal, say: Say, *, alone: bool) -> Iterator[None]:
    """Handle the signals, and restore their handlers at the end."""
    if not alone:  # several processes would stop after different steps and wait forever
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def handle(number: int, _: Any) -> None:
        stop.signal = number
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


def _callback(stop: _StopSignal) -> Any:
    from transformers import TrainerCallback

    class StopCallback(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if stop.signal is not None:
                control.should_training_stop = True
                # After the last step the training is whole, and is saved as such.
                control.should_save = state.global_step < state.max_steps

    return StopCallback()
