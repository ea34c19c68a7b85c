"""Answers that are the key are told from those of a model that is right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness import suite as suites
from tunegate.harness.decision.answer_facts.answer_key import AnswerKeyDetector
from tunegate.harness.records.answers import Cell, CellKind, Completion, StoredAnswer

TOML = """
name = "replies"
cases = "cases.jsonl"
[[metrics]]
use = "exact_match"
"""
SENTENCE = "Parcel {} was sent to you by post on Monday."
"""Nine words."""


def _findings(
    suite_folder: Any, expected: Callable[[int], str], answer: Callable[[int], str], n: int = 20
) -> list[tuple[str, bool]]:
    rows = [{"id": f"c{i}", "prompt": f"q{i}", "expected": expected(i)} for i in range(n)]
    folder: Path = suite_folder(TOML, rows)
    suite = suites.load_suite(folder / "suite.toml")
    cells = [
        StoredAnswer.of(
            Cell(suite="replies", case=f"c{i}", arm=arm, kind=CellKind.GENERATE, key="k"),
            Completion(text=answer(i) if arm == "tuned" else "no idea"),
            None,
            0.0,
        )
        for i in range(n)
        for arm in ("base", "tuned")
    ]
    watch = AnswerKeyDetector([suite])
    assert list(watch.over(cells)) == cells
    return [(f.text.partition(" the `expected`")[0], f.caps) for f in watch.findings()]


FOUND = "tuned's 20 answers equal"


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        (SENTENCE.format, [(FOUND, True)]),
        (lambda i: f"shelf {i}", [(FOUND, False)]),  # short: a good model gets them all right
        (lambda i: f'{{"a": {i}, "b": "x y z a b c d e f"}}', [(FOUND, False)]),
        (lambda i: f"label {i % 19}", []),  # a closed set
        (lambda i: SENTENCE.format(i % 19), []),
    ],
)
def test_whole_sentences_cap_and_labels_say_nothing(
    suite_folder: Any, expected: Callable[[int], str], found: list[tuple[str, bool]]
) -> None:
    assert _findings(suite_folder, expected, expected) == found


def test_one_letter_of_difference_or_a_case_less_says_nothing(suite_folder: Any) -> None:
    sentence = SENTENCE.format

    assert _findings(suite_folder, sentence, lambda i: f" {sentence(i)}\n") == [(FOUND, True)]
    assert not _findings(suite_folder, sentence, lambda i: sentence(i if i < 19 else 0))
    assert not _findings(suite_folder, sentence, sentence, n=19)
