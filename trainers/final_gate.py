"""The gate on a finished fine-tune: `--eval-suite SUITE --gate`.

It runs in a process of its own, which inherits neither the training's memory nor its library
settings; its exit code is the verdict.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tunegate.harness.records.errors import UsageError

if TYPE_CHECKING:
    from transformers import TrainerCallback
    from transformers.trainer_callback import ExportableState

    class _EventCallback(TrainerCallback, ExportableState):
        pass
else:
    _EventCallback = object


_IMPORTED_FROM = Path(__file__).absolute().parents[2]
"""The folder that holds the package `tunegate`."""

_OF_MANY_PROCESSES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "ACCELERATE_USE_CPU")
"""Variables that `accelerate launch` sets; the gate is one process."""


def check_suites(suites: Sequence[str], *, wanted: bool) -> None:
    """Refuse suites that the gate could not read, before anything is trained."""
    from tunegate.harness.suite import load_suite

    if wanted and not suites:
        raise UsageError("--gate: name the suites with --eval-suite SUITE (repeatable)")
    for suite in suites:
        for file in suite_files(suite, "--eval-suite"):
            load_suite(file)


def suite_files(suite: str, option: str) -> list[Path]:
    """Return the suite files that an option names."""
    from tunegate.harness.suite.find import find_suites

    try:
        return [Path(file) for file in find_suites(suite.partition("::")[0])]
    except UsageError as error:
        raise UsageError(f"{option} {error}") from error


def gate_arguments(suites: Sequence[str], base: str, tuned: Path | str) -> list[str]:
    """Return the words after `tunegate` that gate a fine-tune."""
    return ["gate", *(suites or ["SUITES"]), "--base", base, "--tuned", str(tuned)]


def gate_command(suites: Sequence[str], base: str, tuned: Path | str) -> str:
    """Return the next command for the user: the gate."""
    return shlex.join(["tunegate", *gate_arguments(suites, base, tuned)])


def run_gate(suites: Sequence[str], base: str, tuned: Path) -> int:
    """Gate a fine-tune and return the exit code, which is the verdict's."""
    environment = {k: v for k, v in os.environ.items() if k not in _OF_MANY_PROCESSES}
    paths = os.pathsep.join(filter(None, (str(_IMPORTED_FROM), os.environ.get("PYTHONPATH"))))
    words = [sys.executable, "-m", "tunegate.harness.cli", *gate_arguments(suites, base, tuned)]
    return subprocess.run(words, env={**environment, "PYTHONPATH": paths}, check=False).returncode
