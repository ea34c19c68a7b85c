"""examples/vendor, as its README says: a job at the stand-in for a vendor, then the gate."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.models.remote.litellm_calls import litellm_library
from tunegate.trainers.vendor import run
from tunegate.trainers.vendor.job import FILE

EXAMPLE = Path(__file__).parents[2] / "examples" / "vendor"


@pytest.fixture(name="server")
def _server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start the server as a user does, on a free port."""
    # before pytester takes down `sys.meta_path`; see tests/plugin/test_plugin_litellm.py
    litellm_library()
    command = [sys.executable, str(EXAMPLE / "server.py"), "--port", "0", "--seconds", "0.3"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        url = process.stderr.readline().partition(",")[0]
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        monkeypatch.setenv("OPENAI_API_KEY", "anything")
        yield
        process.kill()


def test_the_example_ships(server: None, project: Any, tmp_path: Path) -> None:
    """Its job ends in a spec that the gate takes as it is, on tickets that were not trained on."""
    shutil.copytree(EXAMPLE / "suite", project.path / "suites" / "suite")
    out, said = tmp_path / "out", list[str]()

    config = ["--config", str(EXAMPLE / "support.yaml"), "--output_dir", str(out)]
    assert run([*config, "--yes", "--poll_seconds", "0.1"], say=said.append) == 0, said
    spec = json.loads((out / FILE).read_bytes())["spec"]
    assert (
        f"--base litellm:openai/gpt-4o-mini-2024-07-18 --tuned {spec} --training-data " in said[-1]
    )
    assert said[-1].endswith("train.jsonl")
    result = project.gate(
        "--gate-base=litellm:openai/gpt-4o-mini-2024-07-18", f"--gate-tuned={spec}"
    )

    assert result.ret == 0
    assert project.verdict()["verdict"] == "SHIP"
    (gate, *_) = project.verdict()["suites"][0]["gates"]
    assert (gate["base"], gate["tuned"], gate["n"]) == (0, 0.975, 40)


def test_no_case_was_trained_on() -> None:
    rows = (EXAMPLE / "train.jsonl").read_text(encoding="utf-8").splitlines()
    trained = {json.loads(row)["messages"][1]["content"] for row in rows}
    cases = (EXAMPLE / "suite" / "cases.jsonl").read_text(encoding="utf-8").splitlines()

    assert trained & {json.loads(case)["prompt"] for case in cases} == set()
    assert (len(trained), len(cases)) == (48, 40)
