"""The way of a newcomer's first day: its data, and the files that it writes."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.first_day import BODIES, FirstDay


def test_no_message_trains_and_judges(tmp_path: Path) -> None:
    """240 messages train, 120 others judge, and each part has all intents."""
    FirstDay(tmp_path, here=True).write_data()
    train, judge = (
        list(csv.DictReader((tmp_path / name).read_text("utf-8").splitlines()))
        for name in ("train.csv", "messages.csv")
    )

    assert (len(train), len(judge)) == (240, 120)
    assert {row["utterance"] for row in train} & {row["utterance"] for row in judge} == set()
    for part in (train, judge):
        assert min(Counter(row["intent"] for row in part)[intent] for intent in BODIES) >= 20


def test_another_exit_code_ends_the_way(tmp_path: Path) -> None:
    day = FirstDay(tmp_path, here=True)
    tool = day.environment / "bin" / "tool"
    tool.parent.mkdir(parents=True)
    tool.write_text("#!/bin/sh\necho HOLD: nothing; exit 11\n")
    tool.chmod(0o755)

    assert day.run("tool", code=11, said="HOLD: ") == "HOLD: nothing\n"
    with pytest.raises(SystemExit, match="exit code 11 instead of 0"):
        day.run("tool")
    with pytest.raises(SystemExit, match="no 'SHIP: '"):
        day.run("tool", code=11, said="SHIP: ")
