"""Checkpoints in the output folder, and resuming from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunegate.harness.records.errors import UsageError


def resume_folder(args: Any) -> str | None:
    """Return the folder that `--resume_from_checkpoint` means; None if it is not given."""
    checkpoint = args.resume_from_checkpoint
    if checkpoint is None or str(checkpoint).lower() == "false":
        return None
    if str(checkpoint).lower() == "true":
        checkpoint = last_checkpoint(args)
        if checkpoint is None:
            raise UsageError(f"--resume_from_checkpoint: no checkpoint in {args.output_dir}")
    if not (Path(checkpoint) / "trainer_state.json").is_file():
        raise UsageError(f"--resume_from_checkpoint={checkpoint}: not a checkpoint of a training")
    return str(checkpoint)


def last_checkpoint(args: Any) -> str | None:
    """Return the newest checkpoint in the output folder of a training."""
    from transformers import trainer_utils

    utils: Any = trainer_utils
    folder = Path(args.output_dir)
    newest: str | None = utils.get_last_checkpoint(str(folder)) if folder.is_dir() else None
    return newest


def resume_advice(args: Any) -> str:
    """Return how to continue a training, from its last checkpoint if there is one."""
    last = last_checkpoint(args)
    if last is None:
        return "there is no checkpoint yet, so it starts over (--save_steps sets how often)"
    return f"--resume_from_checkpoint {last} continues from there"
