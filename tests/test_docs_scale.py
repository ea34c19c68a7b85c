"""docs/scale.md: the script for Ray Data LLM, with its own configuration and a scripted engine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "scale.md"
SUITE = """\
name = "support"
cases = "cases.jsonl"

[[metrics]]
use = "exact_match"

[[gates]]
metric = "exact_match"
gain = 0.1
"""
CASES = [{"id": f"c{i}", "prompt": f"Parcel {i}?", "expected": f"./adapter {i}"} for i in range(60)]


class ScriptedRows(list[Any]):
    """Rows in the place of a dataset."""

    def iter_rows(self) -> Iterable[Any]:
        """Yield the rows from the last to the first: a cluster keeps no order."""
        return reversed(self)


@pytest.mark.slow  # Ray is imported
def test_the_script_for_ray_data_llm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    llm = pytest.importorskip("ray.data.llm")
    made: list[Any] = []

    def scripted(
        config: Any, *, preprocess: Callable[[Any], Any], postprocess: Callable[[Any], Any]
    ) -> Callable[[ScriptedRows], ScriptedRows]:
        made.append(config)

        def engine(row: Any) -> Any:
            assert row["messages"][-1]["role"] == "user"
            assert row["sampling_params"]["temperature"] == 0
            number = row["messages"][-1]["content"].split()[1].strip("?")
            text = f"{row['model']} {number}"
            return {**row, "generated_text": text, "num_input_tokens": 4, "num_generated_tokens": 2}

        return lambda rows: ScriptedRows(postprocess(engine(preprocess(row))) for row in rows)

    monkeypatch.setattr(llm, "build_processor", scripted)
    monkeypatch.setattr(ray.data, "from_items", ScriptedRows)
    suite = tmp_path / "suite"
    suite.mkdir()
    (suite / "suite.toml").write_text(SUITE)
    (suite / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in CASES))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["answer.py", "./base", "./adapter", "suite/cases.jsonl"])

    exec(compile(script(), "answer.py", "exec"), {"__name__": "__main__"})

    assert isinstance(made[0], llm.vLLMEngineProcessorConfig)
    assert (made[0].model_source, made[0].concurrency) == ("./base", 8)
    arms = ("--base", "replay:base.jsonl", "--tuned", "replay:tuned.jsonl", "--run-dir", "run")
    command = [sys.executable, "-m", "tunegate.harness.cli", "gate", "suite", *arms]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = json.loads((tmp_path / "run" / "verdict.json").read_text())
    assert verdict["verdict"] == "SHIP"


def script() -> str:
    """Return the block of the page that is Python."""
    return PAGE.read_text().split("```python\n")[1].split("```")[0]
