"""What an environment may hold between its calls: things of a thread, of a loop, of the process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.episodes.test_episodes_play import played
from tests.played_suites import call, write_desk
from tunegate.harness.contracts.model import Request

HOLDER = """
import asyncio, os, sqlite3, threading, time


class Desk:
    async def reset(self, order):
        self.loop, self.order = asyncio.get_running_loop(), order
        self.db = sqlite3.connect(":memory:")  # refuses every thread but this one
        self.db.execute("CREATE TABLE calls (name TEXT)")

    async def find(self, order: str) -> str:
        \"\"\"Look an order up.

        Args:
            order: Number of the order.
        \"\"\"
        assert asyncio.get_running_loop() is self.loop
        await asyncio.sleep(0.05)
        self.db.execute("INSERT INTO calls VALUES (?)", (order,))
        return "lost"

    def refund(self, order: str) -> str:
        \"\"\"Pay an order back.

        Args:
            order: Number of the order.
        \"\"\"
        LINE
        time.sleep(0.05)
        self.db.execute("INSERT INTO calls VALUES (?)", (order,))
        return "paid"

    def get_reward(self):
        (count,) = self.db.execute("SELECT COUNT(*) FROM calls").fetchone()
        return count / 2

    def _close(self):
        self.db.close()
        with open(FILE, "a") as file:
            file.write("x")
"""
TASKS = [{"id": f"t{n}", "prompt": "Pay A1 back.", "row": {"order": "A1"}} for n in range(24)]


def act(request: Request) -> str:
    """Find an order, pay it back, and end."""
    steps = [call("find", order="A1"), call("refund", order="A1"), "It is paid back."]
    return steps[request.turn or 0]


def test_the_calls_of_an_episode_share_a_thread_and_a_loop(tmp_path: Path) -> None:
    """A connection to SQLite and an event loop of `reset` work in tools, and can be closed."""
    code = HOLDER.replace("LINE", "pass").replace("FILE", repr(str(tmp_path / "closed")))
    cells, _ = played(write_desk(tmp_path / "desk", code=code, tasks=TASKS), act)

    assert [cell.error for cell in cells] == [None] * 24
    done = [cell.completion.episode for cell in cells if cell.completion]
    assert [one.reward for one in done if one] == [1.0] * 24


def test_an_environment_may_change_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "os.chdir('/')"
    code = HOLDER.replace("LINE", line).replace("FILE", repr(str(tmp_path / "closed")))
    write_desk(tmp_path / "desk", code=code, tasks=TASKS)
    monkeypatch.chdir(tmp_path)
    cells, _ = played(Path("desk"), act)

    assert [cell.error for cell in cells] == [None] * 24
    assert Path.cwd() == tmp_path


def test_threads_of_an_environment_print_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = "threading.Thread(target=print, args=('noise',)).start()"
    code = HOLDER.replace("LINE", line).replace("FILE", repr(os.devnull))
    cells, _ = played(write_desk(tmp_path / "desk", code=code, tasks=TASKS[:1]), act)

    assert cells[0].error is None
    assert "noise" not in capsys.readouterr().out
