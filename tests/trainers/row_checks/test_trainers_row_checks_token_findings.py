"""The end of an answer is a fact of the labels, whichever collator made them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trainers.conftest import TEMPLATE
from tests.trainers.row_checks.planted_rows import (
    GOOD,
    SHOWN,
    called,
    chat,
    copy_base,
    found,
    look,
    needs_json,
)
from tunegate.harness.records.errors import UsageError
from tunegate.trainers.datasets import COMPLETIONS, TrainingRows
from tunegate.trainers.row_checks.token_findings import endless_answers, token_notes
from tunegate.trainers.row_checks.tokens import IGNORED, RowTokens, TokenizedRows, stop_tokens


def collated(tokens: TokenizedRows, collator: Any) -> TokenizedRows:
    """Return the rows with the labels of another trainer's collator."""
    rows = []
    for row in tokens.rows:
        labels = collator([{"input_ids": row.ids.tolist()}])["labels"][0].numpy()
        learned = labels != IGNORED
        rows.append(RowTokens(row.where, row.row, row.ids, learned, int(learned.sum())))
    return TokenizedRows(rows, tokens.limit, tokens.context, tokens.stops, tokens.bos)


def test_a_collator_that_masks_padding_by_its_token_masks_the_end(
    tiny_base: Path, tmp_path: Path
) -> None:
    """Padding equal to the end: trl#1623."""
    from transformers import DataCollatorForLanguageModeling

    report = look(tmp_path, tiny_base)
    assert report.tokens is not None
    tokenizer = report.tokenizer
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    other = collated(report.tokens, DataCollatorForLanguageModeling(tokenizer, mlm=False))

    assert [] == endless_answers(report.tokens, tokenizer)
    [finding] = endless_answers(other, tokenizer)
    assert 12 == len(finding.places)


def test_earlier_answers_are_noted(tiny_base: Path, tmp_path: Path) -> None:
    two = {"messages": chat("a", "b")["messages"] + chat("c", "d")["messages"]}
    report = look(tmp_path, tiny_base, [*GOOD, two])
    assert report.tokens is not None

    assert token_notes(report.tokens, report.tokenizer)[0].startswith("1 chat with earlier answers")


@needs_json
def test_calls_are_learned_with_their_own_arguments(tiny_base: Path, tmp_path: Path) -> None:
    base = copy_base(tiny_base, tmp_path / "base", chat_template=SHOWN)
    report = look(tmp_path, base, [*GOOD[:3], *map(called, range(4))], max_length=None)
    assert report.tokens is not None
    row = report.tokens.rows[5]

    assert {} == found(report)
    assert (
        '[{"type": "function", "function": {"name": "add", "arguments": {"x2": 2}}}]<|im_end|>\n'
        == report.tokenizer.decode(row.ids[row.learned])
    )


@needs_json
def test_a_template_that_hides_tools_is_found(tiny_base: Path, tmp_path: Path) -> None:
    report = look(tmp_path, tiny_base, [*GOOD, called(0)])

    assert {"the chat template shows no tools, such as 'add'": ["13"]} == found(report)


def test_a_prompt_that_is_trained_otherwise_is_found(tiny_base: Path, tmp_path: Path) -> None:
    """A template that opens thoughts when it asks, and leaves them out of finished chats."""
    template = TEMPLATE.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
    base = copy_base(tiny_base, tmp_path / "base", chat_template=template)

    rows = [chat(f"Question number {i}?", f"Answer number {i}") for i in range(3)]

    whats = found(look(tmp_path, base, rows))

    what = "trained without '<think>\\n', which ends the prompt when it is asked"
    assert {what: ["1", "2", "3"]} == whats


def test_tools_need_columns_of_json(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.delattr(datasets, "Json", raising=False)
    rows = TrainingRows((COMPLETIONS.row(called(0)),), ())

    with pytest.raises(UsageError, match=r"need `datasets` 4\.7 or newer"):
        rows.to_dataset()


def test_stop_tokens_are_those_of_generation_and_the_end() -> None:
    tokenizer: Any = type("Tokenizer", (), {"eos_token_id": 7})

    assert {7} == stop_tokens(None, tokenizer)
    assert {3, 7} == stop_tokens(3, tokenizer)
    assert {3, 4, 7} == stop_tokens([3, 4], tokenizer)
    assert np.int64(7) in stop_tokens(None, tokenizer)
