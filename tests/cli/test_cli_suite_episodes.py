"""`tunegate suite check` on episodes: what nothing is paid, and environments that fail."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from tests.played_suites import DESK, TOML, write_desk
from tunegate.harness.cli import app

UNTIMED = TOML.replace("gain = 0.10", "floor = 0.10")
"""A gate that one task can prove."""


def check(folder: Path) -> tuple[int, str]:
    """Return exit code and output."""
    result = CliRunner().invoke(app, ["suite", "check", str(folder)])
    return result.exit_code, f"{result.output}{result.exception or ''}"


def test_a_reward_for_not_acting_is_told(tmp_path: Path) -> None:
    """An environment that pays unless something is paid back: 3 of 4 tasks for nothing."""
    code = DESK.replace(
        "float(self.paid == self.order)", 'float(self.paid == (None if self.wants else "A1"))'
    )
    tasks = [
        {"id": f"t{n}", "prompt": "?", "row": {"order": "A1", "wants": "talk" if n else ""}}
        for n in range(4)
    ]
    _, output = check(write_desk(tmp_path, toml=UNTIMED, code=code, tasks=tasks))

    warning = (
        "warning: a model that writes nothing earns a reward on 3 of 4 tasks (mean reward 0.75)"
    )
    assert warning in output


def test_an_environment_that_fails_is_found_before_a_model_is_opened(tmp_path: Path) -> None:
    code = DESK.replace("return float(", "raise OSError('no database') or float(")
    status, output = check(write_desk(tmp_path, toml=UNTIMED, code=code))

    assert status != 0
    assert "tasks.jsonl:1: " in output
    assert "get_reward failed: OSError: no database" in output
