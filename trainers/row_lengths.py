"""Length checks: rows and prompts against `max_length` and the model's context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.wording import count_noun
from tunegate.trainers.callbacks import Say
from tunegate.trainers.prompt_rows import PromptRow

if TYPE_CHECKING:
    from tunegate.trainers.job import TrainingJob


def prompt_room(job: TrainingJob, answer: int | None) -> int | None:
    """Return how many tokens a prompt may have before an answer of `answer` tokens; None: any."""
    context = model_context(job)
    if context is None or answer is None:
        return context
    if answer >= context:
        raise UsageError(f"answers of {answer} tokens fill the model's context of {context}")
    return context - answer


def model_context(job: TrainingJob) -> int | None:
    """Return how many tokens the model reads; None if its configuration does not say."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(
        job.base.name,
        revision=job.config.model.model_revision,
        trust_remote_code=getattr(job.config.training, "trust_remote_code", False),
    )
    context: int | None = getattr(config.get_text_config(), "max_position_embeddings", None)
    return context


def fitting_prompts(
    rows: Sequence[PromptRow], tokenizer: Any, *, room: int | None, say: Say
) -> tuple[PromptRow, ...]:
    """Return the rows whose prompts have at most `room` tokens, and warn how many have more."""
    if room is None:
        return tuple(rows)
    kept = tuple(row for row in rows if len(token_ids(row.prompt, tokenizer)) <= room)
    if not kept:
        raise UsageError(
            f"all {len(rows)} prompts are longer than the {room} tokens that the model's context "
            "leaves for them; shorten them, or generate less"
        )
    if dropped := len(rows) - len(kept):
        say(f"warning: {count_noun(dropped, 'row')} dropped: prompts longer than {room} tokens")
    return kept


def token_ids(prompt: Any, tokenizer: Any, tools: Sequence[Any] | None = None) -> list[int]:
    """Return the tokens of a prompt: a chat by its template, text as it is."""
    if isinstance(prompt, str):
        return list(tokenizer(prompt)["input_ids"])
    ids = tokenizer.apply_chat_template(
        prompt, tools=tools or None, add_generation_prompt=True, return_dict=True
    )
    return list(ids["input_ids"])


NO_ROWS = "expected a non-empty list of Tensors"
"""TRL's error when it computes a reference after dropping all rows."""
_ANSWERS = ("chosen_ids", "rejected_ids", "completion_ids")


def no_rows_left(args: Any) -> UsageError:
    """Return the error of a training in which no row fits."""
    return UsageError(
        f"max_length={args.max_length}: no row fits; raise it, within the model's context, "
        "or shorten the rows"
    )


def fit_into_context(job: TrainingJob) -> None:
    """Lower `max_length` to the model's context, unless the user has set it.

    TRL's default knows nothing of the model, which was never trained on later positions.
    """
    args = job.config.training
    if not hasattr(args, "max_length"):
        return
    context = model_context(job)
    if context is None or (args.max_length is not None and args.max_length <= context):
        return
    if "max_length" in job.config.given:
        job.say(f"warning: max_length={args.max_length} is beyond the model's context of {context}")
    else:
        args.max_length = context


def warn_dropped_rows(trainer: Any, job: TrainingJob, *, why: str) -> None:
    """Warn how many rows TRL has dropped, and refuse to train on none.

    Args:
        trainer: TRL's trainer, with its rows in tokens.
        job: With the rows of the files.
        why: What is too long about them.
    """
    limit, kept = trainer.args.max_length, len(trainer.train_dataset)
    if limit is None:
        return
    if not kept:
        raise no_rows_left(trainer.args)
    if dropped := len(job.rows.rows) - kept:
        job.say(f"warning: {count_noun(dropped, 'row')} dropped: {why} max_length={limit}")


def warn_truncated_answers(trainer: Any, job: TrainingJob) -> None:
    """Warn how many rows of preferences or labels were dropped, and how many answers are cut."""
    warn_dropped_rows(trainer, job, why="the prompt alone fills")
    rows, limit = trainer.train_dataset, trainer.args.max_length
    answers = [name for name in _ANSWERS if name in rows.column_names]
    if limit is None or not answers:
        return
    columns = [rows[name] for name in ("prompt_ids", *answers)]
    cut = sum(len(p) + max(map(len, rest)) > limit for p, *rest in zip(*columns, strict=True))
    if cut:
        job.say(f"warning: {count_noun(cut, 'row')} cut off: longer than max_length={limit}")
