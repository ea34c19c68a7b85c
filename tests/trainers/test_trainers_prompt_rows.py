"""Prompts to answer: rows are cases, shown to the model as the gate shows them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.tiny_models import make_tokenizer
from tunegate.harness.records.errors import UsageError
from tunegate.trainers import prompt_rows, row_lengths
from tunegate.trainers.datasets import TrainingRows

TOOL = {"type": "function", "function": {"name": "dial", "parameters": {"type": "object"}}}
SHOWS_TOOLS = (
    "{% for tool in tools or [] %}{{ tool['function']['name'] }}\n{% endfor %}"
    "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
)


def loaded(*rows: dict[str, Any]) -> tuple[prompt_rows.PromptRow, ...]:
    """Load rows as if they came from lines 1, 2, …"""
    places = tuple(f"rows.jsonl:{i}" for i, _ in enumerate(rows, start=1))
    return prompt_rows.load_prompts(TrainingRows(rows, (), places))


def test_rows_become_cases() -> None:
    """Text is a prompt, turns are messages, structures may be JSON, the rest is kept beside."""
    turns = [{"role": "user", "content": "Dial 3"}]
    text, chat = loaded(
        {"prompt": "1 + 1", "expected": "2", "level": 3, "answer": "two"},
        {"prompt": turns, "expected_calls": '[{"name": "dial", "arguments": {"n": [3]}}]'},
    )

    assert ("1 + 1", "2") == (text.case.prompt, text.case.expected)
    assert text.case.answer is None  # no choices: a column for functions of TRL's kind
    assert 3 == text.values["level"]
    assert (turns[0],) == chat.case.messages
    assert ({"name": "dial", "arguments": {"n": [3]}},) == chat.case.expected_calls
    assert ["rows.jsonl:1", "rows.jsonl:2"] == [row.case.where for row in (text, chat)]


def test_choices_keep_their_answer() -> None:
    """Beside `choices` an `answer` is the right one of them."""
    (row,) = loaded({"prompt": "Even?", "choices": ["1", "2"], "answer": "B"})

    assert 1 == row.case.answer


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "p", "schema": "{"}, "rows.jsonl:1: schema is text that is not JSON"),
        ({"prompt": "p", "expected": 3}, "rows.jsonl:1: expected"),
        ({"prompt": "p", "choices": ["a", "b"], "answer": "Z"}, "names no choice"),
    ],
)
def test_rows_that_are_no_cases(row: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        loaded(row)
    assert said in str(caught.value)


def test_dataset_numbers_the_rows() -> None:
    rows = loaded({"prompt": "a", "expected": "1"}, {"prompt": "b", "expected": "2"})

    made = prompt_rows.prompt_dataset(rows, None, first=5)

    assert [{"prompt": "a", "row": 5}, {"prompt": "b", "row": 6}] == list(made)


def test_tools_are_shown_by_the_template() -> None:
    """TRL hides a row's tools; the prompt is rendered with them, as the gate does."""
    turns = [{"role": "user", "content": "the capital"}]
    tokenizer = make_tokenizer(template=SHOWS_TOOLS)

    made = prompt_rows.prompt_dataset(loaded({"prompt": turns, "tools": [TOOL]}), tokenizer)

    assert ["dial\nthe capital\n"] == made["prompt"][:]


@pytest.mark.parametrize(
    ("tokenizer", "prompt", "said"),
    [
        (make_tokenizer, [{"role": "user", "content": "x"}], "does not show the tool 'dial'"),
        (make_tokenizer, "x", "`tools` need a chat template"),
        (
            lambda: make_tokenizer(bos=True, template=SHOWS_TOOLS),
            [{"role": "user", "content": "x"}],
            "adds tokens around a rendered chat",
        ),
    ],
)
def test_tools_that_cannot_be_shown(tokenizer: Any, prompt: Any, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        prompt_rows.prompt_dataset(loaded({"prompt": prompt, "tools": [TOOL]}), tokenizer())
    assert said in str(caught.value)
    assert str(caught.value).startswith("rows.jsonl:1: ")


def test_prompts_that_do_not_fit() -> None:
    """Longer prompts are dropped with a warning; none left is an error."""
    tokenizer = make_tokenizer(template=None)
    rows = loaded({"prompt": "ab"}, {"prompt": "abcdefgh"})
    lines: list[str] = []

    kept = row_lengths.fitting_prompts(rows, tokenizer, room=4, say=lines.append)

    assert ["ab"] == [row.prompt for row in kept]
    assert ["warning: 1 row dropped: prompts longer than 4 tokens"] == lines
    assert rows == row_lengths.fitting_prompts(rows, tokenizer, room=None, say=lines.append)
    with pytest.raises(UsageError, match="all 2 prompts are longer than the 1 tokens"):
        row_lengths.fitting_prompts(rows, tokenizer, room=1, say=lines.append)
