"""Outcomes of programs among the stored answers, through a kill and Ctrl-C."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.run.code_execution import stored_outcomes
from tunegate.harness.sandbox import jobs
from tunegate.harness.sandbox.execution_outcome import End, Outcome

N = 24
TOML = """
name = "code"
cases = "cases.jsonl"
[generation]
max_new_tokens = 40
[[metrics]]
use = "code_tests"
[[gates]]
metric = "code_tests"
tolerance = 0.5
"""


def test_outcomes_are_read_again_from_the_store(tmp_path: Path) -> None:
    made = Outcome(end=End.FAILED, tests=(True, False), reason="got 1, not 2", test="assert x")
    for _ in range(2):
        store = AnswerCache(tmp_path / "store.sqlite")
        with (tmp_path / "said").open("a") as said, stored_outcomes(store, said):
            known = jobs._session.read(["a", "b"])
            jobs._session.write("a", made)
        store.close()

    assert known == {"a": made}


def prepared(project: Any) -> tuple[list[str], Path]:
    """Write suite and arms; return options, and the file where every program writes its name."""
    log = project.path / "ran"
    log.touch()
    rows = [
        {"id": f"c{i:03}", "prompt": f"Write double. {i}", "tests": ["assert double(4) == 8"]}
        for i in range(N)
    ]
    project.raw_suite(TOML, rows, "code")
    for arm in ("base", "tuned"):
        code = "import time\nopen({log!r}, 'a').write('{name}\\n')\ntime.sleep(0.5)\n"
        texts = {
            row["id"]: code.format(log=str(log), name=f"{arm}{row['id']}")
            + "def double(x): return 2 * x"
            for row in rows
        }
        (project.path / f"{arm}.json").write_text(json.dumps({"completions": texts}))
    options = [f"--{arm}=scripted:{project.path / arm}.json" for arm in ("base", "tuned")]
    return [*options, "--sandbox=none"], log


def until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    limit = time.monotonic() + 90
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_stopped_runs_no_program_again(project: Any, number: int) -> None:
    options, log = prepared(project)
    process = project.start("gate", "suites", *options, "--run-dir", "run")
    until(lambda: len(log.read_text().split()) >= 8, process)
    start = time.monotonic()
    process.send_signal(number)
    process.communicate(timeout=60)
    assert time.monotonic() - start < 10
    begun = len(log.read_text().split())

    result = project.tunegate("resume", "run", "suites", *options)

    assert result.ret == 0, "\n".join((*result.outlines, *result.errlines))
    counts = Counter(log.read_text().split())
    assert begun < 2 * N
    assert len(counts) == 2 * N
    again = sum(counts.values()) - len(counts)
    assert again <= 4  # those that ran when it was stopped
