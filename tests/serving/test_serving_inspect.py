"""An agent task of Inspect over the endpoint: its own log has what the models were asked."""

from __future__ import annotations

import json
import os
import re
import subprocess
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.played_suites import PolicyArm, call, look_up
from tests.real_inspect import TASK, inspect_python
from tunegate.harness.contracts.inspect_task import INSPECT_PYTHON
from tunegate.harness.contracts.model import Request
from tunegate.harness.contracts.result_set import ResultSet, read_results
from tunegate.harness.serving.batch_server import BatchServer
from tunegate.harness.serving.endpoint import EndpointSettings, open_endpoint
from tunegate.harness.serving.inspect_tasks.new_suite import start_inspect_suite

__all__ = ["inspect_python"]


def stumble(request: Request) -> str:
    """Call with an argument that the tool lacks, and then as `look_up` does."""
    messages = request.case.input_messages()
    if len(messages) == 1:
        return call("find", day="1")
    return look_up(request) if len(messages) > 3 else call("find", order=_order(request))


def _order(request: Request) -> str:
    return str(request.case.input_messages()[0]["content"])[-3:-1]


def _play(python: Path, folder: Path, address: str, name: str) -> ResultSet:
    command = [str(python), "-m", "inspect_ai", "eval", "desk_task.py", "--display", "none"]
    command += ["--model", f"openai-api/tunegate/{name}", "--log-dir", f"logs/{name}"]
    command += ["--epochs", "2", "--temperature", "0.7", "--no-fail-on-error"]
    told = {"TUNEGATE_BASE_URL": address, "TUNEGATE_API_KEY": "t"}
    ran = subprocess.run(
        command, cwd=folder, env={**os.environ, **told}, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return read_results(str(folder / "logs" / name))


def _messages(python: Path, logs: Path) -> dict[str, list[dict[str, Any]]]:
    """Return id → the messages of its epochs, as Inspect itself reads its log."""
    (log,) = logs.glob("*.eval")
    command = [str(python), "-m", "inspect_ai", "log", "dump", str(log)]
    dumped = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    found: dict[str, list[dict[str, Any]]] = {}
    for sample in json.loads(dumped.stdout)["samples"]:
        found.setdefault(sample["id"], []).extend(sample["messages"])
    return found


@pytest.mark.slow
@pytest.mark.long  # installs Inspect into an environment of its own
def test_inspects_log_has_what_the_models_were_asked(inspect_python: Path, tmp_path: Path) -> None:
    """Turns, tokens and tool errors; a crash is unscored on both arms, and epochs differ."""
    (tmp_path / "desk_task.py").write_text(textwrap.dedent(TASK))
    arms = {"base": PolicyArm("base", look_up), "tuned": PolicyArm("tuned", stumble)}
    with open_endpoint(BatchServer(arms), EndpointSettings("t")) as address:
        found = {name: _play(inspect_python, tmp_path, address, name) for name in arms}

    mistakes = {"base": 0, "tuned": 2}
    for name, results in found.items():
        assert results.tool == "Inspect"
        assert set(results.case_set) == {"desk/A1", "desk/B2", "desk/X3"}
        messages = _messages(inspect_python, tmp_path / "logs" / name)
        asked = Counter(_order(request) for request in arms[name].asked)
        for order in ("A1", "B2"):
            rows = [results.answers[f"desk/{order}", sample] for sample in (0, 1)]
            assert [row.scores for row in rows] == [{"told": 1.0}] * 2
            assert rows[0].completion != rows[1].completion
            assert [m["role"] for m in messages[order]].count("assistant") == asked[order]
            assert sum(bool(m.get("error")) for m in messages[order]) == mistakes[name]
        for sample in (0, 1):
            crashed = results.answers["desk/X3", sample]
            assert "the sandbox crashed" in str(crashed.error)
            assert crashed.scores == {}
    whole = sum(row.output_tokens or 0 for row in found["base"].answers.values())
    assert whole == sum(len(look_up(request).split()) for request in arms["base"].asked)


@pytest.mark.slow
@pytest.mark.long  # installs Inspect into an environment of its own
def test_the_guides_task_runs_in_an_empty_folder(
    inspect_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guide = Path(__file__).parents[2] / "docs" / "guides" / "inspect.md"
    (task,) = re.findall(r"```python\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "desk_task.py").write_text(task)
    monkeypatch.setenv(INSPECT_PYTHON, str(inspect_python))
    monkeypatch.chdir(tmp_path)

    lines = start_inspect_suite("inspect:desk_task.py@desk", Path("suites/desk"), name="desk")
    with open_endpoint(
        BatchServer({"base": PolicyArm("base", look_up)}), EndpointSettings("t")
    ) as at:
        found = _play(inspect_python, tmp_path, at, "base")

    assert "4 cases, scores told" in lines[0]
    assert "told above 0 on 0 of 4 cases" in lines[1]
    assert {row.scores["told"] for row in found.answers.values()} == {1.0}
