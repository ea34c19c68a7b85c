"""Import what trainings and gates of a local model import; for a process that is forked later.

What is not installed or fails to import is left for the command that needs it, which says so.
"""

from __future__ import annotations

import signal
from contextlib import suppress
from importlib import import_module

_LIBRARIES = (
    "pytest",
    "scipy.stats",
    "torch",
    "transformers.models.llama.modeling_llama",
    "peft",
    "trl.trainer.sft_trainer",
)


def _import_libraries() -> None:
    from tunegate.trainers.arguments import prepare_environment

    # An interrupt is meant for the command, and would end this process in a traceback.
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        prepare_environment()
        for name in _LIBRARIES:
            with suppress(Exception):
                import_module(name)
    finally:
        signal.signal(signal.SIGINT, usual)


_import_libraries()
