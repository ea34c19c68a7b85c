"""openai_evals: `input` and `ideal`, as the registry of OpenAI's Evals has them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.records.cases import Case

TABLE = 'from = "openai_evals"\nfile = "c.jsonl"\n'
SYSTEM = {"role": "system", "content": "Answer with a year."}
SHOT = {"role": "system", "content": "When? 1", "name": "example_user"}
ASK = {"role": "user", "content": "When?"}


@pytest.mark.parametrize(
    ("row", "fields"),
    [
        ({"input": [ASK], "ideal": "1969"}, {"prompt": "When?", "expected": "1969"}),
        ({"input": "When?", "ideal": ["1969", "'69"]},
         {"prompt": "When?", "expected": ("1969", "'69")}),
        ({"input": [SYSTEM, SHOT, ASK], "ideal": "1969"},
         {"messages": (SYSTEM, SHOT, ASK), "expected": "1969"}),
        ({"input": [ASK]}, {"prompt": "When?"}),
    ],
)  # fmt: skip
def test_forms(
    tmp_path: Path,
    cases: Callable[[str], list[Case]],
    row: dict[str, Any],
    fields: dict[str, Any],
) -> None:
    """The chat is the prompt; of several ideal answers one is enough."""
    (tmp_path / "c.jsonl").write_text(json.dumps(row) + "\n")

    (case,) = cases(TABLE)
    assert case == Case(id=case.id, **fields)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            '{"item": {"q": "a"}}',
            "no 'input' among item; from = \"jsonl\" with columns reads other",
        ),
        ('{"input": [], "ideal": "x"}', "[] must be a list of turns with role and content"),
        ('{"input": "", "ideal": "x"}', "the prompt is empty (column 'prompt')"),
        ('{"input": "a", "ideal": [["x"]]}', "expected: list is not a text; name a column that"),
        ('{"input": "a"', "broken JSON at column 14"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    tmp_path: Path, problems: Callable[[str], list[str]], line: str, problem: str
) -> None:
    (tmp_path / "c.jsonl").write_text(f"\n{line}\n")

    (found,) = problems(TABLE)
    assert found.startswith(f"c.jsonl:2: {problem}")
