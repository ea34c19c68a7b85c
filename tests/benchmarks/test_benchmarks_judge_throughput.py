"""The judging benchmark: a small run is measured, and too slow a one fails."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from benchmarks import judge_throughput


def test_a_small_run_is_measured(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """40 judgements of 50 ms, 8 at once: five rounds, all scored."""
    arguments = ["x", "--judgements", "40", "--latency", "0.05", "--concurrency", "8"]
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.setattr(judge_throughput, "MOST", 20.0)

    assert judge_throughput.main() == 0
    assert "40 judgements, 0.05 s each, 8 at once\nideal 0.2 s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("found", "said"), [((99.0, 1000), "TOO SLOW"), ((12.5, 999), "MISSED: 1 have no score")]
)
def test_it_can_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: Any, found: tuple[float, int], said: str
) -> None:
    """Too slow a run, and one in which a judgement has no score, end with 1."""
    monkeypatch.setattr(sys, "argv", ["x"])
    monkeypatch.setattr(judge_throughput, "timed", lambda *args: found)

    assert judge_throughput.main() == 1
    assert said in capsys.readouterr().out
