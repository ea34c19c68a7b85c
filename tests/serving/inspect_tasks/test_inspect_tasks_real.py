"""Inspect itself plays a suite: what its log has of turns, tokens and errors is what is scored."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.real_inspect import TASK, inspect_python
from tests.serving.inspect_tasks.test_inspect_tasks_player import TOML, arms, play, write_suite
from tunegate.harness.contracts.inspect_task import INSPECT_PYTHON
from tunegate.harness.serving.inspect_tasks.new_suite import start_inspect_suite

__all__ = ["inspect_python"]


def _samples(python: Path, folder: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """Return (id, epoch) → sample, as Inspect itself reads its log."""
    (log,) = folder.glob("*.eval")
    words = [str(python), "-m", "inspect_ai", "log", "dump", str(log)]
    dumped = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300)
    return {(one["id"], one["epoch"]): one for one in json.loads(dumped.stdout)["samples"]}


@pytest.mark.slow
@pytest.mark.long  # installs Inspect into an environment of its own
def test_inspect_plays_a_suite(
    inspect_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both arms play the same samples; a crash is unscored in both, and nothing is asked twice."""
    toml = TOML.replace("./python-with-inspect", str(inspect_python)).replace('"brevity"', '"told"')
    folder = write_suite(tmp_path / "desk", toml=toml)
    (folder / "desk_task.py").write_text(TASK)
    asked, store = arms(), tmp_path / "store.sqlite"
    cells, scores = play(folder, asked, store, tmp_path / "logs")

    values = {(row.metric, row.case, row.arm): row.value for row in scores}
    for name in asked:
        samples = _samples(inspect_python, tmp_path / "logs" / f"desk-{name}-1")
        for order in ("A1", "B2"):
            for sample in (0, 1):
                done, own = (
                    cells[f"desk/{order}", name, sample].completion,
                    samples[order, sample + 1],
                )
                assert done is not None
                assert done.episode is not None
                messages = own["messages"]
                turns = [m for m in messages if m["role"] == "assistant"]
                assert len(done.episode.turns) == len(turns)
                assert [call.error for call in done.episode.calls] == [
                    bool(m.get("error")) for m in messages if m["role"] == "tool"
                ]
                (usage,) = own["model_usage"].values()
                assert done.output_tokens == usage["output_tokens"]
                assert done.text == own["output"]["completion"]
        first, second = (cells["desk/A1", name, sample].completion for sample in (0, 1))
        assert first is not None
        assert second is not None
        assert first.text != second.text  # epochs begin alike, and have seeds of their own
        assert "the sandbox crashed" in str(cells["desk/X3", name, 0].error)
        assert values["episode_pass", "desk/X3", name] is None
        assert values["episode_pass", "desk/A1", name] == 1.0

    again = arms()
    play(folder, again, store)
    assert not any(arm.asked for arm in again.values())

    monkeypatch.setenv(INSPECT_PYTHON, str(inspect_python))
    monkeypatch.chdir(folder)
    lines = start_inspect_suite("inspect:desk_task.py@desk", Path("new"), name="new")
    assert "3 cases, scores told" in lines[0]
    rows = [json.loads(line) for line in Path("new/cases.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["desk/A1", "desk/B2", "desk/X3"]
