"""Progress: few words, at the right time, in the right form."""

from __future__ import annotations

import io
from itertools import pairwise

import pytest

from tunegate.harness.engine.progress import ProgressReporter, format_duration


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


class Clock:
    """A clock that advances when asked."""

    def __init__(self) -> None:
        """Start at a time of no meaning."""
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (-3, "0:00"),
        (7, "0:07"),
        (59.6, "1:00"),
        (750, "12:30"),
        (3599.4, "59:59"),
        (3600, "1:00:00"),
        (3723, "1:02:03"),
        (90061, "25:01:01"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    """Times are written as people write them."""
    assert format_duration(seconds) == text


def test_a_log_gets_a_line_every_ten_seconds() -> None:
    """Share, label, speed and time left: 30 of 120 done in 10 s leave 30 s."""
    clock, stream = Clock(), io.StringIO()
    progress = ProgressReporter(120.0, stream=stream, clock=clock)
    for _ in range(30):
        clock.now += 1 / 3
        progress.add(1.0, tokens=20, label="demo · base")
    clock.now += 1e-9
    progress.close()
    lines = stream.getvalue().splitlines()
    assert lines == ["tunegate:  25% · demo · base · 60 tokens/s · 0:30 left"]


def test_messages_are_throttled() -> None:
    """A thousand answers in 100 seconds make ten lines, at least ten seconds apart."""
    clock, stream = Clock(), io.StringIO()
    progress = ProgressReporter(1000.0, stream=stream, clock=clock)
    shown_at: list[float] = []
    for _ in range(1000):
        clock.now += 0.1
        before = stream.tell()
        progress.add(1.0, tokens=0, label="x")
        if stream.tell() > before:
            shown_at.append(clock.now)
    assert 9 <= len(shown_at) <= 10
    assert all(b - a >= 10 - 1e-6 for a, b in pairwise(shown_at))
    assert "tokens/s" not in stream.getvalue()


def test_a_terminal_gets_one_line_rewritten() -> None:
    clock, stream = Clock(), Terminal()
    progress = ProgressReporter(10.0, stream=stream, clock=clock)
    for _ in range(4):
        clock.now += 0.25
        progress.add(1.0, tokens=1, label="x")
    progress.close()
    progress.close()
    text = stream.getvalue()
    assert "\n" not in text
    assert text.count("\r\x1b[2K") == 3
    assert text.endswith("\r\x1b[2K")
    assert "40%" in text


def test_an_interval_of_ones_own() -> None:
    clock, stream = Clock(), Terminal()
    progress = ProgressReporter(10.0, stream=stream, clock=clock, interval_s=60.0)
    clock.now += 59
    progress.add(1.0, tokens=1, label="x")
    assert stream.getvalue() == ""


def test_work_done_again_is_not_more_than_all() -> None:
    """Answers computed twice never show more than 100 %, nor a negative time."""
    clock, stream = Clock(), io.StringIO()
    progress = ProgressReporter(2.0, stream=stream, clock=clock)
    clock.now += 20
    progress.add(3.0, tokens=0, label="x")
    assert stream.getvalue() == "tunegate: 100% · x · 0:00 left\n"


def test_a_first_answer_tells_no_time() -> None:
    """Before a fiftieth of the work is done nothing is said of the time left: 2 of 100 in 10 s."""
    clock, stream = Clock(), io.StringIO()
    progress = ProgressReporter(100.0, stream=stream, clock=clock)
    progress.show("x")
    progress.add(1.0, tokens=0, label="x")
    progress.show("x")
    clock.now += 10
    progress.add(1.0, tokens=0, label="x")
    lines = ["tunegate:   0% · x", "tunegate:   1% · x", "tunegate:   2% · x · 8:10 left"]
    assert stream.getvalue().splitlines() == lines
