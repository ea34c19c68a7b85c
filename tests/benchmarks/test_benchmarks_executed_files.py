"""The number of files that a gate executes stays within its bound."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.executed_files import MOST, executed_files, room_of


def test_a_gate_on_recorded_answers_executes_few_files(tmp_path: Path) -> None:
    """Other commands, engines, judges and trainers are not among them."""
    files = executed_files(tmp_path)

    assert len(files) <= MOST
    assert {"harness/gates", "harness/pipeline", "reports/sections"} <= set(map(room_of, files))
    names = {file.as_posix() for file in files}
    assert "harness/cli/gate.py" in names
    unneeded = ("harness/cli/train.py", "harness/engine/inference/local_engine.py", "trainers/")
    assert [name for name in names if name.startswith(unneeded)] == []


def test_without_telemetry_no_span_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With OTEL_SDK_DISABLED no traces are written, and what makes spans is not imported."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")

    names = {
        file.name for file in executed_files(tmp_path) if room_of(file).endswith("otel_export")
    }

    assert not names & {"spans.py", "completion_spans.py", "judge_spans.py", "run_metrics.py"}
