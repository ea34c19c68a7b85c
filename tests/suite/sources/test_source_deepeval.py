"""deepeval: what its EvaluationDataset saves, as JSON, JSON lines and CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.records.cases import Case

GOLDEN = {
    "input": "Who wrote it?",
    "actual_output": "Ann.",
    "expected_output": "Ben wrote it.",
    "context": ["It is by Ben.", "Ben lives."],
    "source_file": "a.pdf",
}


def test_the_three_files_give_the_same_case(
    tmp_path: Path, cases: Callable[[str], list[Case]]
) -> None:
    """A context's parts are paragraphs; CSV joins them with a bar, as DeepEval's save_as does."""
    (tmp_path / "g.json").write_text(json.dumps([GOLDEN]))
    (tmp_path / "g.jsonl").write_text(json.dumps(GOLDEN) + "\n")
    with (tmp_path / "g.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(GOLDEN)
        writer.writerow([*list(GOLDEN.values())[:3], "It is by Ben.|Ben lives.", "a.pdf"])

    for name in ("g.json", "g.jsonl", "g.csv"):
        (case,) = cases(f'from = "deepeval"\nfile = "{name}"\n')
        assert case == Case(
            id=case.id,
            prompt="Who wrote it?",
            expected="Ben wrote it.",
            context="It is by Ben.\n\nBen lives.",
        )


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({"context": None, "retrieval_context": ["r"]}, "context", "r"),
        ({"context": [], "retrieval_context": ["r"]}, "context", "r"),
        ({"retrieval_context": ["r"]}, "context", "It is by Ben.\n\nBen lives."),
        ({"context": None}, "context", None),
        ({"expected_output": None}, "expected", None),
        ({"expected_tools": [{"name": "find", "input_parameters": {"nr": 7}}]},
         "expected_calls", ({"name": "find", "arguments": {"nr": [7]}},)),
        ({"expected_tools": []}, "expected_calls", None),
    ],
)  # fmt: skip
def test_fields(
    tmp_path: Path,
    cases: Callable[[str], list[Case]],
    change: dict[str, Any],
    field: str,
    value: object,
) -> None:
    """`context` wins over `retrieval_context`; null counts as missing."""
    (tmp_path / "g.json").write_text(json.dumps([{**GOLDEN, **change}]))

    (case,) = cases('from = "deepeval"\nfile = "g.json"\n')
    assert getattr(case, field) == value


def test_the_context_can_stand_in_the_prompt(
    tmp_path: Path, cases: Callable[[str], list[Case]]
) -> None:
    """As the module says; further keys become ids and clusters."""
    (tmp_path / "g.json").write_text(json.dumps([GOLDEN]))
    (case,) = cases(
        'from = "deepeval"\nfile = "g.json"\n'
        r'columns = { prompt = "{context}\n\n{input}", cluster = "source_file" }'
    )

    assert case.prompt == "It is by Ben.\n\nBen lives.\n\nWho wrote it?"
    assert (case.cluster, case.expected) == ("a.pdf", "Ben wrote it.")


@pytest.mark.parametrize(
    ("golden", "problem"),
    [
        ({"scenario": "s", "turns": []}, "a multi-turn golden has no answer to compare with"),
        ({"query": "q"}, "no 'input' among query"),
        ({"input": ""}, "the prompt is empty (column 'prompt')"),
        ({"input": "q", "context": [3]}, "context [3] must be a list of texts"),
        ({"input": "q", "context": {"a": 1}}, "context {'a': 1} must be a list of texts"),
        ({"input": "q", "expected_tools": ["find"]}, "tool call 'find' has no name"),
        ({"input": "q", "expected_tools": {"a": 1}}, "expected_tools {'a': 1} must be a list"),
        (3, "a row must be an object"),
    ],
)
def test_what_is_no_golden_is_told(
    tmp_path: Path, problems: Callable[[str], list[str]], golden: Any, problem: str
) -> None:
    (tmp_path / "g.json").write_text(json.dumps([GOLDEN, golden]))

    (found,) = problems('from = "deepeval"\nfile = "g.json"\n')
    assert found.startswith(f"g.json: row 2: {problem}")
