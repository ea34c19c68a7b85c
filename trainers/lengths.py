"""Rows that do not fit: said before the first step, because TRL cuts and drops them in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.errors import UsageError

if TYPE_CHECKING:
    from trainers.training import Job


NO_ROWS = "expected a non-empty list of Tensors"
"""What TRL says when it computes a reference on rows of which it has dropped all."""
_ANSWERS = ("chosen_ids", "rejected_ids", "completion_ids")


def none_left(args: Any) -> UsageError:
    """Return the error of a training of which no row fits; `args` is TRL's configuration."""
    return UsageError(
        f"max_length={args.max_length}: no row fits; raise it, within the model's context, "
        "or shorten the rows"
    )


def fit_into_context(job: Job) -> None:
    """Keep `max_length` within the model's context, where the user has not said otherwise.

    TRL's default does not know the model; positions that it was never trained on would be learnt.
    """
    from transformers import AutoConfig

    args = job.config.training
    if not hasattr(args, "max_length"):
        return
    config = AutoConfig.from_pretrained(job.base.folder)
    context = getattr(config.get_text_config(), "max_position_embeddings", None)
    if context is None or (args.max_length is not None and args.max_length <= context):
        return
    if "max_length" in job.config.given:
        job.say(f"warning: max_length={args.max_length} is beyond the model's context of {context}")
    else:
        args.max_length = context


def say_dropped(trainer: Any, job: Job, *, why: str) -> None:
    """Say how many rows TRL has dropped, and refuse to train on none.

    Args:
        trainer: TRL's trainer, with its rows in tokens.
        job: What is trained, with the rows of the files.
        why: What is too long about them, in words.

    Raises:
        UsageError: no row is left.
    """
    limit, kept = trainer.args.max_length, len(trainer.train_dataset)
    if limit is None:
        return
    if not kept:
        raise none_left(trainer.args)
    if dropped := len(job.rows.rows) - kept:
        job.say(f"warning: {dropped} rows dropped, {why} max_length={limit}")


def say_prompts_that_fill(trainer: Any, job: Job) -> None:
    """Say which rows of preferences or labels were dropped, and which answers are cut."""
    say_dropped(trainer, job, why="their prompts alone fill")
    rows, limit = trainer.train_dataset, trainer.args.max_length
    answers = [name for name in _ANSWERS if name in rows.column_names]
    if limit is None or not answers:
        return
    columns = [rows[name] for name in ("prompt_ids", *answers)]
    cut = sum(len(p) + max(map(len, rest)) > limit for p, *rest in zip(*columns, strict=True))
    if cut:
        job.say(f"warning: {cut} rows are longer than max_length={limit} and are cut off")
