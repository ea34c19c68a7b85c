"""The gate of what a training made, `--eval-suite SUITE --gate`, and of its checkpoints.

The first is `tunegate gate`, in a process of its own, so that nothing of the training is left in
memory or in the libraries' settings, and its exit code is the verdict.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UsageError

if TYPE_CHECKING:
    from trainers.callback import GateCallback

_HOME = Path(__file__).parents[1]
_OF_MANY_PROCESSES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "ACCELERATE_USE_CPU")
"""What `accelerate launch` sets; the gate is one process."""


@dataclass
class GateArguments:
    """What tunegate adds to TRL's options so that a training is gated."""

    eval_suite: list[str] = field(
        default_factory=list,
        metadata={"help": "A suite to gate the finished fine-tune on; may be given several times."},
    )
    gate: bool = field(
        default=False,
        metadata={
            "help": "Gate the fine-tune on --eval-suite at once; the exit code is the verdict."
        },
    )
    gate_callback: list[str] = field(
        default_factory=list,
        metadata={"help": "Suites that look at every checkpoint; the first chooses what is kept."},
    )
    gate_stop_on: str | None = field(
        default=None,
        metadata={"help": "What ends the training if proven.", "choices": ["regression"]},
    )


def check(suites: Sequence[str], *, wanted: bool) -> None:
    """Refuse, before anything is trained, suites that the gate could not read.

    Raises:
        UsageError: a suite is not there or broken, or `--gate` has none.
    """
    from harness.suite import load

    if wanted and not suites:
        raise UsageError("--gate: say on which suites with --eval-suite SUITE (repeatable)")
    for suite in suites:
        for file in _files(suite, "--eval-suite"):
            load(file)


def callback(suites: Sequence[str], stop_on: str | None) -> GateCallback | None:
    """Return what looks at every checkpoint; None where no suite is to.

    Raises:
        UsageError: a suite is not there or broken, or cannot be asked during a training.
    """
    from trainers.callback import GateCallback

    if not suites and stop_on:
        raise UsageError("--gate_stop_on: say which suites look with --gate_callback SUITE")
    files = [file for suite in suites for file in _files(suite, "--gate_callback")]
    return GateCallback(files, stop_on=stop_on) if files else None


def _files(suite: str, option: str) -> list[Path]:
    """Return the suite files of a file, a folder, a folder of suites or a bundled name."""
    place = suite.partition("::")[0]
    path = Path(place) if Path(place).exists() else _HOME / "suites" / place
    files = [path] if path.is_file() else sorted(path.rglob("suite.toml"))
    if not files:
        raise UsageError(f"{option} {place}: no such suite; name a folder with a suite.toml")
    return files


def arguments(suites: Sequence[str], base: str, tuned: Path) -> list[str]:
    """Return the words after `tunegate` that gate a fine-tune."""
    return ["gate", *(suites or ["SUITES"]), "--base", base, "--tuned", str(tuned)]


def command(suites: Sequence[str], base: str, tuned: Path, *, task: str = "CAUSAL_LM") -> str:
    """Return the command line to be shown: the gate, or PPO after a reward model."""
    if task != "CAUSAL_LM":
        policy = ["--model_name_or_path", base, "--reward_model_path", str(tuned)]
        return shlex.join(["tunegate", "train", "ppo", *policy, "--train_files", "PROMPTS"])
    return shlex.join(["tunegate", *arguments(suites, base, tuned)])


def run(suites: Sequence[str], base: str, tuned: Path) -> int:
    """Gate a fine-tune and return the exit code, which is the verdict's."""
    environment = {k: v for k, v in os.environ.items() if k not in _OF_MANY_PROCESSES}
    paths = os.pathsep.join(filter(None, (str(_HOME), os.environ.get("PYTHONPATH"))))
    words = [sys.executable, "-m", "harness.cli", *arguments(suites, base, tuned)]
    return subprocess.run(words, env={**environment, "PYTHONPATH": paths}, check=False).returncode
