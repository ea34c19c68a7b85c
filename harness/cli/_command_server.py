"""Server that imports the libraries once and forks a process for each command: Linux alone.

`python -m tunegate.harness.cli._command_server READ WRITE` reads a call a line, and writes `ready`,
the process id of each call and its exit code. It ends when nobody is left who could write.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from contextlib import suppress
from importlib import import_module

from tunegate.harness.cli._command_processes import call_function

_LIBRARIES = (
    "pytest",
    "scipy.stats",
    "torch",
    "transformers.models.llama.modeling_llama",
    "peft",
    "trl.trainer.sft_trainer",
)
"""What trainings and gates of a local model import. What is not installed is left for the command
that needs it, which says so."""


def serve(requests: int, replies: int) -> None:
    """Import the libraries and answer calls until the other end of the pipe is closed.

    Args:
        requests: Pipe with `[function, arguments]` in JSON, a call a line.
        replies: Pipe for the answers.
    """
    # An interrupt is meant for the command, which gets it as well.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _import_libraries()
    with os.fdopen(requests, encoding="utf-8") as asked, os.fdopen(replies, "w") as told:
        print("ready", file=told, flush=True)
        for line in asked:
            if not (child := _fork()):
                asked.close()
                told.close()
                signal.signal(signal.SIGINT, signal.default_int_handler)
                # It ends as any Python does: what is registered for the end is called.
                call_function(*json.loads(line))
                sys.exit()
            print(child, file=told, flush=True)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            print(code, file=told, flush=True)


def _import_libraries() -> None:
    from tunegate.trainers.arguments import prepare_environment

    prepare_environment()
    for name in _LIBRARIES:
        with suppress(Exception, SystemExit):
            import_module(name)


def _fork() -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        # Python 3.12 warns of the threads of NumPy's BLAS, which is prepared for forks.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
