"""Prompt trials: which rows become examples, and prompts that base has no room for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.suite import Suite, load_suite
from tunegate.harness.suite.arm_prompt import ArmPrompt, SolvedExample
from tunegate.trainers.base_measurement import open_base
from tunegate.trainers.datasets import TrainingRows
from tunegate.trainers.prompt_trials import draw_examples, measure_trial, trial_prompts

SUITE = """\
name = "demo"
cases = "cases.jsonl"

[generation]
max_new_tokens = 4

[[metrics]]
use = "exact_match"

[[gates]]
metric = "exact_match"
floor = 0.5
"""


@pytest.fixture
def suite(suite_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Suite:
    """Three questions."""
    cases = [{"id": f"c{i}", "prompt": f"question {i}", "expected": "yes"} for i in range(3)]
    folder = suite_folder(SUITE, cases)
    monkeypatch.chdir(folder)
    return load_suite(folder / "suite.toml")


def mixed(rows: list[Mapping[str, Any]], name: str = "rows.jsonl") -> TrainingRows:
    """Rows as they were read."""
    return TrainingRows(tuple(rows), (), tuple(f"{name}:{i}" for i in range(1, len(rows) + 1)))


def turn(role: str, content: str) -> dict[str, str]:
    """One message."""
    return {"role": role, "content": content}


def test_demonstrations_come_before_preferences_of_which_the_chosen_answer_counts(
    suite: Suite,
) -> None:
    """The system prompt of a row is left to the suite."""
    chat = [turn("system", "Be brief."), turn("user", "a")]
    completions = mixed([{"prompt": chat, "completion": [turn("assistant", "b")]}])
    pairs = mixed([{"prompt": "c", "chosen": "d", "rejected": "e"}], "pairs.jsonl")

    examples, why = draw_examples(suite, {"preferences": pairs, "completions": completions})

    assert [[t["content"] for t in example.turns] for example in examples] == [
        ["a", "b"],
        ["c", "d"],
    ]
    assert not why


def test_a_row_with_a_case_or_without_a_question_is_no_example(suite: Suite) -> None:
    prompts = ("Question 1!", "", "something else")
    rows = mixed([{"prompt": prompt, "completion": "no"} for prompt in prompts])

    examples, _ = draw_examples(suite, {"completions": rows})

    assert ["rows.jsonl:3"] == [example.where for example in examples]


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        (0, []),
        (1, ["1 example"]),
        (7, ["1 example", "2 examples", "4 examples"]),
        (9, ["1 example", "2 examples", "4 examples", "8 examples"]),
    ],
)
def test_as_many_examples_are_tried_as_there_are(suite: Suite, rows: int, names: list[str]) -> None:
    drawn, _ = draw_examples(
        suite, {"completions": mixed([{"prompt": "a", "completion": "b"}] * rows)}
    )

    assert names == list(trial_prompts(suite, drawn))


def test_a_prompt_beyond_the_context_is_left_out_with_its_tokens(
    suite: Suite, tiny_base: Path
) -> None:
    """Of 355 tokens, 308 are the question of the example, 14 its answer, 18 the case's question,
    11 open the answer, and 4 are the answer: the tokenizer's tokens are bytes.
    """
    example = SolvedExample("rows.jsonl:1", (turn("user", "a" * 300), turn("assistant", "b")))
    arm = open_base(suite, str(tiny_base))

    trial = measure_trial(suite, arm, "1 example", ArmPrompt(examples=(example,)))

    assert trial.measured is None
    needed = "demo, case 'c0' takes up to 355 tokens of base, whose context has 256"
    assert trial.left_out == needed


def test_a_real_model_is_measured_with_an_example(suite: Suite, tiny_base: Path) -> None:
    """The example adds 23 tokens: 19 bytes, and the start and end of two turns."""
    example = SolvedExample("rows.jsonl:1", (turn("user", "a"), turn("assistant", "b")))
    arm = open_base(suite, str(tiny_base))
    costs = [
        measure_trial(suite, arm, "", ArmPrompt(examples=examples)).measured
        for examples in ((), (example,))
    ]

    alone, shown = (of.cost.input_tokens for of in costs if of is not None)

    assert alone is not None
    assert shown == alone + len("user\na\nassistant\nb\n") + 4
