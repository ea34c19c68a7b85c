"""Prompt rows of reinforcement learning: each prompt is a case for the rewards; length checks.

A row is a `prompt` with what the rewards need, under the names that a suite's cases have:

```
{"prompt": [{"role": "user", "content": "…"}], "expected": "42"}
{"prompt": "plain text", "schema": {"type": "object"}}
{"prompt": [{"role": "user", "content": "…"}], "expected_calls": [{"name": …, "arguments": …}]}
```
Other columns reach functions of TRL's kind. `tools` are shown to the model by its chat template, as
the gate shows them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tunegate.harness.contracts.source import make_case
from tunegate.harness.models._chat_template import render_prompt
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.generation import GenerationSettings
from tunegate.trainers.callbacks import Say
from tunegate.trainers.datasets import TrainingRows, raise_all

if TYPE_CHECKING:
    from datasets import Dataset  # type: ignore[import-untyped]  # ships no types

    from tunegate.trainers.job import TrainingJob

_FIELDS = ("id", "expected", "context", "tags", "cluster")
_STRUCTURES = ("schema", "tools", "expected_calls", "rules", "choices", "row")
"""Fields that may be JSON text: a Parquet column has one shape for all rows."""


@dataclass(frozen=True, slots=True)
class PromptRow:
    """One prompt."""

    case: Case
    """The case that metrics see, and the line it came from."""
    prompt: Any
    """Text, or a list of messages: TRL's column."""
    values: Mapping[str, Any] = field(repr=False)
    """All columns of the row."""


def load_prompts(rows: TrainingRows) -> tuple[PromptRow, ...]:
    """Return rows as cases, in their order.

    Raises:
        UsageError: a row cannot be one; one line a problem.
    """
    found, problems = [], []
    for place, row in zip(rows.places, rows.rows, strict=True):
        try:
            case = make_case(_case_fields(row), place)
        except ValueError as error:
            problems.append(f"{place}: {error}")
        else:
            found.append(PromptRow(case, row["prompt"], row))
    raise_all(problems)
    return tuple(found)


def prompt_dataset(
    rows: Sequence[PromptRow], tokenizer: Any, *, first: int = 0, talks: bool = False
) -> Dataset:
    """Return TRL's dataset: the prompts, and in the column `row` the number of each from `first`.

    Args:
        rows: The rows.
        tokenizer: Renders the tools of rows that have some.
        first: Number of the first row.
        talks: Whether a prompt that is text becomes a message, as in the suite's cases.

    Raises:
        UsageError: rows have tools that the chat template cannot show.
    """
    from datasets import Dataset

    shown = _render_tools(rows, tokenizer) if any(r.case.tools for r in rows) else None
    prompts: Sequence[Any] = shown or [
        list(row.case.input_messages()) if talks else row.prompt for row in rows
    ]
    return Dataset.from_list([{"prompt": p, "row": first + i} for i, p in enumerate(prompts)])


def prompt_room(job: TrainingJob, answer: int | None) -> int | None:
    """Return how many tokens a prompt may have before an answer of `answer` tokens; None: any.

    Raises:
        UsageError: the answer alone fills the context.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(
        job.base.name,
        revision=job.config.model.model_revision,
        trust_remote_code=getattr(job.config.training, "trust_remote_code", False),
    )
    context = getattr(config.get_text_config(), "max_position_embeddings", None)
    if context is None or answer is None:
        return context
    if answer >= context:
        raise UsageError(f"answers of {answer} tokens fill the model's context of {context}")
    return int(context) - answer


def fitting_prompts(
    rows: Sequence[PromptRow], tokenizer: Any, *, room: int | None, say: Say
) -> tuple[PromptRow, ...]:
    """Return the rows whose prompts have at most `room` tokens, and report how many have more.

    Raises:
        UsageError: none of them fits.
    """
    if room is None:
        return tuple(rows)
    kept = tuple(row for row in rows if len(token_ids(row.prompt, tokenizer)) <= room)
    if not kept:
        raise UsageError(
            f"all {len(rows)} prompts are longer than the {room} tokens that the model's context "
            "leaves for them; shorten them, or generate less"
        )
    if dropped := len(rows) - len(kept):
        say(f"warning: {dropped} rows dropped, their prompts are longer than {room} tokens")
    return kept


def _case_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns that a case has; `answer` means a choice only with `choices`."""
    fields = {key: row[key] for key in _FIELDS if row.get(key) is not None}
    for key in _STRUCTURES:
        if row.get(key) is not None:
            fields[key] = _structure(key, row[key])
    if "choices" in fields and row.get("answer") is not None:
        fields["answer"] = row["answer"]
    return {**fields, ("prompt" if isinstance(row["prompt"], str) else "messages"): row["prompt"]}


def _structure(key: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError(f"{key} is text that is not JSON ({error})") from error


def _render_tools(rows: Sequence[PromptRow], tokenizer: Any) -> list[str]:
    """Return the prompts as text that shows each row's tools, which TRL itself does not."""
    texts = []
    for row in rows:
        where = row.case.where
        if isinstance(row.prompt, str):
            raise UsageError(f"{where}: `tools` need a chat template; write the prompt as messages")
        try:
            prompt = render_prompt(tokenizer, row.case, GenerationSettings(), spec=where)
        except ValueError as error:
            raise UsageError(f"{where}: {error}") from error
        if tuple(tokenizer(prompt.text)["input_ids"]) != prompt.token_ids:
            raise UsageError(
                f"{where}: this tokenizer puts tokens of its own around a rendered chat, so rows "
                "with `tools` would not be what the gate asks; describe the tools in a system turn"
            )
        texts.append(prompt.text)
    return texts


def token_ids(prompt: Any, tokenizer: Any) -> list[int]:
    """Return the tokens of a prompt: a chat by its template, text as it is."""
    if isinstance(prompt, str):
        return list(tokenizer(prompt)["input_ids"])
    ids = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)
    return list(ids["input_ids"])


NO_ROWS = "expected a non-empty list of Tensors"
"""Error of TRL when it computes a reference after it has dropped all rows."""
_ANSWERS = ("chosen_ids", "rejected_ids", "completion_ids")


def none_left(args: Any) -> UsageError:
    """Return the error of a training of which no row fits; `args` is TRL's configuration."""
    return UsageError(
        f"max_length={args.max_length}: no row fits; raise it, within the model's context, "
        "or shorten the rows"
    )


def fit_into_context(job: TrainingJob) -> None:
    """Keep `max_length` within the model's context, where the user has not set another.

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


def say_dropped(trainer: Any, job: TrainingJob, *, why: str) -> None:
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


def say_prompts_that_fill(trainer: Any, job: TrainingJob) -> None:
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
