"""Checkpoints of a training: which one a resumed training goes on from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.errors import UsageError


def wanted(args: Any) -> str | None:
    """Return the folder that `--resume_from_checkpoint` means; None if it is not given.

    Args:
        args: TRL's configuration; the option is a folder, or true for the last one there is.

    Raises:
        UsageError: there is no such checkpoint.
    """
    asked = args.resume_from_checkpoint
    if asked is None or str(asked).lower() == "false":
        return None
    if str(asked).lower() == "true":
        asked = last_of(args)
        if asked is None:
            raise UsageError(f"--resume_from_checkpoint: no checkpoint in {args.output_dir}")
    if not (Path(asked) / "trainer_state.json").is_file():
        raise UsageError(f"--resume_from_checkpoint={asked}: not a checkpoint of a training")
    return str(asked)


def last_of(args: Any) -> str | None:
    """Return the newest checkpoint in the output folder of a training."""
    from transformers import trainer_utils

    utils: Any = trainer_utils
    folder = Path(args.output_dir)
    found: str | None = utils.get_last_checkpoint(str(folder)) if folder.is_dir() else None
    return found
