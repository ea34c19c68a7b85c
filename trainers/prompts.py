"""Prompts to answer in training, each of them a case for what verifies the answers.

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

from harness.errors import UsageError
from harness.generation import Generation
from harness.models._rendering import render
from harness.source import SourcedCase, make_case
from trainers.data import TrainingRows, raise_all
from trainers.progress import Say

if TYPE_CHECKING:
    from datasets import Dataset  # type: ignore[import-untyped]  # ships no types

    from trainers.training import Job

_FIELDS = ("id", "expected", "context", "tags", "cluster")
_STRUCTURES = ("schema", "tools", "expected_calls", "rules", "choices")
"""Fields that may be JSON text: a Parquet column has one shape for all rows."""


@dataclass(frozen=True, slots=True)
class PromptRow:
    """One prompt."""

    sourced: SourcedCase
    """The case that metrics see, and the line it came from."""
    prompt: Any
    """Text, or a list of messages: TRL's column."""
    values: Mapping[str, Any] = field(repr=False)
    """All columns of the row."""


def load(rows: TrainingRows) -> tuple[PromptRow, ...]:
    """Return rows as cases, in their order.

    Raises:
        UsageError: a row cannot be one; one line a problem.
    """
    found, problems = [], []
    for place, row in zip(rows.places, rows.rows, strict=True):
        try:
            case = make_case(_case_fields(row))
        except ValueError as error:
            problems.append(f"{place}: {error}")
        else:
            found.append(PromptRow(SourcedCase(case, place), row["prompt"], row))
    raise_all(problems)
    return tuple(found)


def dataset(rows: Sequence[PromptRow], tokenizer: Any, *, first: int = 0) -> Dataset:
    """Return TRL's dataset: the prompts, and in the column `row` the number of each from `first`.

    Raises:
        UsageError: rows have tools that the chat template cannot show.
    """
    from datasets import Dataset

    shown = _with_tools(rows, tokenizer) if any(r.sourced.case.tools for r in rows) else None
    prompts = shown or [row.prompt for row in rows]
    return Dataset.from_list([{"prompt": p, "row": first + i} for i, p in enumerate(prompts)])


def room(job: Job, answer: int | None) -> int | None:
    """Return how many tokens a prompt may have beside an answer of `answer` tokens; None: any.

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


def fitting(
    rows: Sequence[PromptRow], tokenizer: Any, *, room: int | None, say: Say
) -> tuple[PromptRow, ...]:
    """Return the rows whose prompts have at most `room` tokens, and say how many have more.

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
    """Return the columns that a case has; `answer` means a choice only beside `choices`."""
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
        raise ValueError(f"{key} is text that is no JSON ({error})") from error


def _with_tools(rows: Sequence[PromptRow], tokenizer: Any) -> list[str]:
    """Return the prompts as text that shows each row's tools, which TRL itself does not."""
    texts = []
    for row in rows:
        where = row.sourced.where
        if isinstance(row.prompt, str):
            raise UsageError(f"{where}: `tools` need a chat template; write the prompt as messages")
        try:
            prompt = render(tokenizer, row.sourced.case, Generation(), spec=where)
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
