"""What is said in Python arrives in suite.toml as it was said."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tunegate.harness.notebook.suite_folder import write_suite
from tunegate.harness.records.errors import UsageError

TEXT = 'quotes " and \\ and \x7f and \x00 and é and\nlines'


def test_toml_reads_back_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    metric = {"use": "rubric", "criteria": TEXT, "scale": {"1": "no", "a b": [1, 2.5, True]}}
    gates = [{"metric": "rubric", "tolerance": np.float64(0.25), "blocks": False}]
    generation = {"system": TEXT, "stop": ["\n", '"'], "max_new_tokens": 12, "temperature": 1e-7}

    folder = write_suite([], [metric], gates, {"name": "a.b-c_1", "generation": generation})

    assert folder == Path(".tunegate/notebook/a.b-c_1")
    assert tomllib.loads((folder / "suite.toml").read_text(encoding="utf-8")) == {
        "name": "a.b-c_1",
        "cases": "cases.jsonl",
        "generation": generation,
        "metrics": [metric],
        "gates": gates,
    }


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "x" * 81, 3, None])
def test_a_name_is_a_folder_below_ours(
    name: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="use at most 80 letters"):
        write_suite([], ["exact_match"], None, {"name": name})

    assert [*tmp_path.iterdir()] == []


def test_a_function_of_a_module_is_named_by_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    folder = write_suite([], [write_suite], None, {})

    written = tomllib.loads((folder / "suite.toml").read_text(encoding="utf-8"))
    assert written["metrics"] == [{"use": "tunegate.harness.notebook.suite_folder:write_suite"}]
    assert written["gates"] == [{"metric": "write_suite", "gain": 0.0}]
