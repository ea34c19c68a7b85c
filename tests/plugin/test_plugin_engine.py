"""`--gate-engine ray` as users type it: quiet, interruptible, and gone when the run ends."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

CASES = 100


def _ours() -> set[str]:
    """Return the folders of Rays that were started for a run."""
    return {path.name for path in Path("/tmp").glob("tunegate-ray-*")}


@pytest.mark.slow
@pytest.mark.long
def test_ctrl_c_and_resume_end_in_the_verdict_of_one_process(project: Any) -> None:
    """What came back is kept; the resumed run asks for the rest and says what one process says."""
    pytest.importorskip("ray.data")
    before = _ours()
    project.suite(n=CASES)
    base = project.model("base", 20, delay_s=0.02)
    tuned = project.model("tuned", 98, delay_s=0.02)
    arguments = ["suites", "--base", base, "--tuned", tuned, "--engine", "ray", "--workers", "2"]
    process = project.start("gate", *arguments, "--run-dir", project.run)
    deadline = time.monotonic() + 120
    while not project.stored() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)

    assert process.returncode == 130, output
    assert "continue with: tunegate resume run" in output
    assert "Traceback" not in output
    kept = project.stored()
    assert 0 < len(kept) < 2 * CASES

    result = project.tunegate_apart("resume", project.run, *arguments)

    assert result.ret == 0
    assert kept.items() <= project.stored().items()
    assert set(project.stored().values()) == {1}
    told = result.stdout.str() + result.stderr.str() + output
    noise = re.compile(r"raylet|ray::|ray\.|core_worker|Dataset|RAY_|Warning")
    assert [line for line in told.splitlines() if noise.search(line)] == []
    assert _ours() <= before
    resumed = (project.run / "verdict.json").read_bytes()
    (project.path / ".tunegate" / "store.sqlite").unlink()
    assert project.tunegate_apart("gate", *arguments, "--run-dir", project.run).ret == 0
    assert (project.run / "verdict.json").read_bytes() == resumed


def test_workers_without_ray_are_refused(project: Any) -> None:
    project.suite(n=CASES)
    result = project.gate(*project.models(), "--gate-workers=2")

    assert result.ret == 4
    told = result.stdout.str() + result.stderr.str()
    assert "--gate-workers are Ray's processes: add --gate-engine ray" in told


@pytest.mark.parametrize("workers", ["0", "-1", "two"])
def test_a_number_of_workers_is_at_least_one(project: Any, workers: str) -> None:
    project.suite(n=CASES)
    result = project.gate(*project.models(), "--gate-engine=ray", f"--gate-workers={workers}")

    assert result.ret == 4
    assert f"--gate-workers='{workers}' must be a whole number" in result.stderr.str()
