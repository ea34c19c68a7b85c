"""Prompt rows of reinforcement learning: each prompt is a case for the rewards.

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
from tunegate.trainers.datasets import TrainingRows, raise_all

if TYPE_CHECKING:
    from datasets import Dataset  # type: ignore[import-untyped]  # ships no types


_FIELDS = ("id", "expected", "context", "tags", "cluster", "database", "prefix", "tests", "objects")
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
    """Return rows as cases, in their order."""
    prompts, problems = [], []
    for place, row in zip(rows.places, rows.rows, strict=True):
        try:
            case = make_case(_case_fields(row), place)
        except ValueError as error:
            problems.append(f"{place}: {error}")
        else:
            prompts.append(PromptRow(case, row["prompt"], row))
    raise_all(problems)
    return tuple(prompts)


def prompt_dataset(
    rows: Sequence[PromptRow], tokenizer: Any, *, first: int = 0, chat: bool = False
) -> Dataset:
    """Return TRL's dataset: the prompts, and in the column `row` the number of each from `first`.

    Args:
        rows: The rows.
        tokenizer: Renders the tools of rows that have some.
        first: Number of the first row.
        chat: Whether a text prompt becomes a message, as in the suite's cases.

    Raises:
        UsageError: rows have tools that the chat template cannot show.
    """
    from datasets import Dataset

    shown = _render_tools(rows, tokenizer) if any(r.case.tools for r in rows) else None
    prompts: Sequence[Any] = shown or [
        list(row.case.input_messages()) if chat else row.prompt for row in rows
    ]
    return Dataset.from_list([{"prompt": p, "row": first + i} for i, p in enumerate(prompts)])


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
                f"{where}: this tokenizer adds tokens around a rendered chat, so rows with `tools` "
                "would differ from what the gate asks; describe the tools in a system turn"
            )
        texts.append(prompt.text)
    return texts
