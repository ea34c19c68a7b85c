"""Many jobs at once: stored, ended together, and without an outcome where a sandbox fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tunegate.harness.sandbox import chosen, jobs
from tunegate.harness.sandbox.contract import BEGIN, Invocation, Limits, SandboxFailed
from tunegate.harness.sandbox.execution_outcome import End, Outcome
from tunegate.harness.sandbox.jobs import JobSession, job_session, run_jobs
from tunegate.harness.sandbox.jobs import TestJob as Job
from tunegate.harness.sandbox.none import NoSandbox

RIGHT = "def double(x): return 2 * x"
TESTS = ("assert double(4) == 8", "assert double(0) == 0", "assert double(-1) == -2")


class Breaking(NoSandbox):
    """A sandbox that works a number of times."""

    def __init__(self, times: int) -> None:
        self.left = times

    def invoke(self, command: Sequence[str], host: Path, limits: Limits) -> Invocation:
        self.left -= 1
        if self.left < 0:
            return Invocation(("sh", "-c", "echo 'bwrap: no more namespaces' >&2; exit 1"))
        return super().invoke(command, host, limits)


@pytest.fixture(autouse=True)
def no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen, "_chosen", NoSandbox())
    monkeypatch.setattr(jobs, "_known", {})


class Kept(JobSession):
    """A store in memory."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Outcome] = {}

    def read(self, keys: Iterator[str]) -> dict[str, Outcome]:  # type: ignore[override]
        return {key: self.outcomes[key] for key in keys if key in self.outcomes}

    def write(self, key: str, outcome: Outcome) -> None:
        self.outcomes[key] = outcome


def test_outcomes_are_stored_and_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, made = Kept(), [Job(RIGHT, TESTS), Job("double = abs", TESTS)]
    with job_session(kept):
        run_jobs(made)
        monkeypatch.setattr(jobs, "_known", {})
        monkeypatch.setattr(chosen, "_chosen", Breaking(0))
        run_jobs(made)

    assert [job.outcome().end for job in made] == [End.PASSED, End.FAILED]
    assert len(kept.outcomes) == 2


def test_running_out_of_time_is_not_stored() -> None:
    kept = Kept()
    with job_session(kept):
        run_jobs([Job("while True: pass", TESTS, limits=Limits(cpu_s=0.1))])

    assert not kept.outcomes


def test_a_sandbox_that_breaks_leaves_the_others_without_an_outcome(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chosen, "_chosen", Breaking(2))
    kept, made = Kept(), [Job(f"{RIGHT} #{n}", TESTS) for n in range(3)]
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    with job_session(kept):
        run_jobs(made)

    found = [job.outcome() for job in made]
    assert [one.end for one in found] == [End.PASSED, End.UNKNOWN, End.UNKNOWN]
    assert found[1].reason == "the sandbox failed: bwrap: no more namespaces"
    assert len(kept.outcomes) == 1


def test_a_case_whose_own_solution_fails_has_no_outcome() -> None:
    found = Job("double = abs", TESTS, solution="double = int").outcome()

    assert found.end is End.UNKNOWN
    assert found.reason == "the case's own solution fails its tests: got 4, not 8"


def test_the_own_solution_of_a_case_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = Breaking(2 * 3)
    monkeypatch.setattr(chosen, "_chosen", sandbox)
    first, second = (Job(code, TESTS, RIGHT) for code in ("double = abs", "double = int"))

    assert [first.outcome().end, second.outcome().end] == [End.FAILED, End.FAILED]
    assert sandbox.left == 0


@pytest.mark.parametrize(
    "test", ["import not_there\nassert double(4) == 8", "assert double(4) = 8"]
)
def test_tests_that_cannot_run_say_nothing_about_the_answer(test: str) -> None:
    assert Job(RIGHT, (test,)).outcome().end is End.UNKNOWN


def test_an_answer_that_imports_what_is_not_there_fails() -> None:
    late = "def double(x):\n    import not_there"

    assert Job("import not_there", TESTS).outcome().reason == (
        "ModuleNotFoundError: No module named 'not_there' (line 1 of the answer)"
    )
    assert Job(late, TESTS).outcome().end is End.FAILED


def test_tests_pass_one_by_one_with_partial() -> None:
    found = Job("def double(x): return 8", TESTS, partial=True).outcome()

    assert (found.tests, found.share) == ((True, False, False), pytest.approx(1 / 3))
    assert found.test == "assert double(0) == 0"


def test_a_program_that_is_not_installed_is_a_fault_of_the_sandbox() -> None:
    job = Job("1", ({"output": "1"},), command=("no-such-program", "{file}"))

    assert job.outcome().end is End.UNKNOWN


def test_programs_read_input_and_their_output_is_compared() -> None:
    tests = ({"input": "4", "output": "8\n"}, {"input": "5", "output": "10  \n\n"})
    program = "print(2 * int(input()))"

    assert Job(program, tests).outcome().end is End.PASSED
    assert Job("print(8)", tests).outcome().reason == "wrote '8', not '10'"
    assert Job("1 / 0", tests).outcome().reason == "ZeroDivisionError: division by zero"


@pytest.mark.usefixtures("leaves_nothing")
def test_an_interruption_ends_all_programs_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [Job(f"import time; time.sleep(60) #{n}", TESTS, RIGHT) for n in range(4)]
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_jobs(made)

    assert time.monotonic() - start < 8


def _runs(pid: str) -> bool:
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())  # of a zombie it is empty
    except OSError:
        return False


RUN = """
import sys
from tunegate.harness.sandbox.jobs import TestJob, run_jobs
run_jobs([TestJob("import time; time.sleep(60)", ("assert double(4) == 8",))])
"""


@pytest.mark.usefixtures("bubblewrap")
def test_killing_tunegate_kills_what_it_runs() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", RUN], env=environment) as run:
        children = Path(f"/proc/{run.pid}/task")
        for _ in range(200):
            time.sleep(0.1)
            found = [p.read_text() for p in children.glob("*/children")]
            if len(" ".join(found).split()) >= 2:
                break
        started = " ".join(found).split()
        run.kill()
    time.sleep(1)

    assert len(started) >= 2
    assert not [pid for pid in started if _runs(pid)]


def test_the_mark_of_a_beginning_is_the_last_step_of_every_sandbox() -> None:
    from tunegate.harness.sandbox.bubblewrap import SANDBOX
    from tunegate.harness.sandbox.docker import SANDBOX as DOCKER

    for sandbox in (SANDBOX, DOCKER, NoSandbox()):
        argv = sandbox.invoke(["true"], Path("/usr"), Limits()).argv
        assert argv[-1 - len(BEGIN) : -1] == BEGIN


def test_there_is_no_run_without_a_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NoSandbox, "problem", lambda self: "it is not installed")

    with pytest.raises(SandboxFailed, match="programs in answers need a sandbox: it is not"):
        run_jobs([Job(RIGHT, TESTS)])
