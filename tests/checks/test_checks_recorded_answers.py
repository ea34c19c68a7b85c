"""Recorded answers that judge no model are refused before a case is spent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness import suite as suites
from tunegate.harness.checks.recorded_answers import refuse_examples, refuse_further_samples
from tunegate.harness.models.replay import replay
from tunegate.harness.records.errors import UsageError

TOML = """
name = "quiz"
cases = "cases.jsonl"
generation = { samples = 2, temperature = 0.5 }
[[metrics]]
use = "exact_match"
"""


def _arm(path: Path, *lines: dict[str, Any]) -> Any:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return replay(str(path))


@pytest.mark.parametrize(("ci", "refused"), [("true", True), ("1", True), ("false", False)])
def test_examples_of_init_are_refused_in_ci(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ci: str, refused: bool
) -> None:
    monkeypatch.setenv("CI", ci)
    own = _arm(tmp_path / "own.jsonl", {"id": "a", "completion": "x"})
    shown = _arm(tmp_path / "shown.jsonl", {"id": "a", "completion": "x", "example": True})

    refuse_examples({"base": own, "tuned": own})
    if not refused:
        refuse_examples({"base": own, "tuned": shown})
        return
    with pytest.raises(UsageError, match=r"^tuned=replay:.*name your models in suites/pytest\.ini"):
        refuse_examples({"base": own, "tuned": shown})


def test_a_further_sample_of_a_case_is_refused(tmp_path: Path, suite_folder: Any) -> None:
    """The suite asks for two; a third one could be the best of many."""
    rows = [{"id": "a", "prompt": "1 + 1?", "expected": "2"}]
    suite = suites.load_suite(suite_folder(TOML, rows) / "suite.toml")
    samples = [{"id": "a", "completion": "2", "sample": n} for n in range(3)]
    two = _arm(tmp_path / "two.jsonl", *samples[:2], {**samples[2], "id": "of another suite"})
    three = _arm(tmp_path / "three.jsonl", *samples)

    refuse_further_samples([suite], {"base": two, "tuned": two})
    with pytest.raises(UsageError, match=r"three\.jsonl: sample 2 of 'a', .* asks for 2 samples"):
        refuse_further_samples([suite], {"base": two, "tuned": three})
