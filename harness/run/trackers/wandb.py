"""Weights & Biases: a run of WANDB_PROJECT; WANDB_MODE=offline sends nothing."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tunegate.harness.contracts.tracker import PROJECT, TrackedRun

INSTALL = "wandb"


def wandb(run: TrackedRun) -> str:
    """Log facts into the summary, numbers as one step, and the page as an artifact."""
    import wandb as library

    # Otherwise it also sends the command line, the machine, its load, installed packages and git.
    settings = library.Settings(
        console="off",
        disable_git=True,
        save_code=False,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )
    project = os.environ.get("WANDB_PROJECT", PROJECT)
    with library.init(project=project, name=run.name, job_type="gate", settings=settings) as begun:
        begun.log(dict(run.numbers))
        begun.summary.update(dict(run.facts))
        name = re.sub(r"[^\w.-]", "-", f"{PROJECT}-{run.name}", flags=re.ASCII)[:128]
        begun.log_artifact(str(run.page), name=name, type="report")
    return begun.url or f"{Path(begun.dir).parent}, for `wandb sync`"
