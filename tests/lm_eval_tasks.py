"""Small tasks for lm-eval, of YAML and JSON lines, made when a test asks for them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

QUESTIONS = [
    {"question": f"Q{i}? ", "choices": ["red", "blue", "green", "grey"], "answer": i % 4}
    for i in range(6)
]
MMLU = {
    "output_type": "multiple_choice",
    "description": "The following are multiple choice questions (with answers) about ink.\n\n",
    "doc_to_text": "{{question.strip()}}\nA. {{choices[0]}}\nB. {{choices[1]}}\nC. {{choices[2]}}"
    "\nD. {{choices[3]}}\nAnswer:",
    "doc_to_choice": ["A", "B", "C", "D"],
    "doc_to_target": "answer",
    "fewshot_split": "dev",
    "fewshot_config": {"sampler": "first_n"},
}
"""lm-eval's template of mmlu."""


@pytest.fixture(scope="session")
def lm_eval_installed() -> None:
    """Skip without lm-eval; some of its dependencies warn when they are imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("lm_eval.tasks")


@pytest.fixture
def task(tmp_path: Path) -> Callable[..., Path]:
    """Write a task's YAML (JSON is YAML) and its documents beside it."""

    def write(name: str, rows: Sequence[dict[str, Any]] = QUESTIONS, **config: Any) -> Path:
        folder = tmp_path / "tasks"
        folder.mkdir(exist_ok=True)
        data = folder / f"{name}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        whole = {
            "task": name,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(data), "dev": str(data)}},
            "test_split": "test",
            **config,
        }
        (folder / f"{name}.yaml").write_text(json.dumps(whole), encoding="utf-8")
        return tmp_path

    return write
