"""Running an answer with the tests of its case, in a sandbox.

A test that is Python code runs in a sandbox of its own and calls the answer in another one: see
`inside/`. Any other test gives a program input, and compares what it writes with what it should.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunegate.harness.sandbox.contract import Limits, Sandbox, SandboxFailed
from tunegate.harness.sandbox.execution_outcome import End, Outcome
from tunegate.harness.sandbox.inside.tests import ANSWER_ENDED
from tunegate.harness.sandbox.process import Exceeded, SandboxedProcess

_INSIDE = Path(__file__).with_name("inside")
_START = """
import builtins, importlib, sys
sys.path[0] = sys.argv[1]
version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
sys.path += [f"{sys.prefix}/lib/{version}/site-packages", "/usr/lib/python3/dist-packages"]
builtins.exit = builtins.quit = sys.exit
importlib.import_module(f"inside.{sys.argv[2]}").main(sys.argv[1])
"""
"""What the module `site` does besides is left out: it may take longer than a test."""
MESSAGE_BYTES = 2**26
"""What the processes of an answer and its tests may tell each other. What they print is dropped."""
Test = str | Mapping[str, Any]
_CPU_SIGNALS = (128 + 24, 128 + 9)
"""Exit codes of a program that used up its processor time: SIGXCPU, then SIGKILL."""
_ERROR_LINE = re.compile(r"^(?:Uncaught )?[\w.]*(?:Error|Exception)\b.*", re.MULTILINE)
_LIMIT_REASONS = {
    "time": "ran out of time ({0.cpu_s:g} s of processor time, {0.wall_s:g} s in all)",
    "memory": "ran out of memory ({0.memory_mb} MB)",
    "output": "wrote more than {0.output_bytes} bytes",
    "processes": "started more than {0.processes} processes",
}


def run_python_tests(
    sandbox: Sandbox,
    answer: str,
    tests: Sequence[str],
    limits: Limits,
    *,
    names: Sequence[str] | None = None,
    objects: bool = False,
) -> Outcome:
    """Run tests that are Python code against the answer's code, until one fails.

    Args:
        sandbox: Where both run.
        answer: The answer's code.
        tests: The tests.
        limits: What each of the two processes may use.
        names: What the tests may take from the answer; None is everything that it defines.
        objects: Whether objects of the answer's classes reach the tests.
    """
    job = {"tests": tests, "names": names, "objects": objects}
    job_files = {"tests.json": json.dumps(job)}
    limits = replace(limits, output_bytes=MESSAGE_BYTES)
    with (
        shared_folder({"answer.py": answer}) as held,
        shared_folder(job_files) as apart,
        start_inside(sandbox, "answer", held, limits) as answerer,
        start_inside(sandbox, "tests", apart, limits) as tester,
    ):
        return _converse(answerer, tester, tests)


def _converse(
    answerer: SandboxedProcess, tester: SandboxedProcess, tests: Sequence[str]
) -> Outcome:
    """Carry the messages of both processes to each other until the tests have a result."""
    count = len(tests)
    try:
        line = answerer.read_line()
        if not line.endswith(b"\n"):
            return _ended_early(answerer, count)
        while True:
            tester.send(line)
            line = tester.read_line()
            if line.startswith(b"="):
                return _read_result(json.loads(line[1:]), count)
            if not line.endswith(b"\n"):
                return _tests_ended(tester, answerer, count)
            answerer.send(line)
            line = answerer.read_line()
            if not line.endswith(b"\n"):
                return _ended_early(answerer, count)
    except Exceeded as error:
        return _over_limit(str(error), answerer.limits, count)


def _read_result(result: Mapping[str, Any], count: int) -> Outcome:
    if "broken" in result:
        return Outcome.unknown(result["broken"])
    passed = int(result["passed"])
    tests = tuple(index < passed for index in range(count))
    if passed == count:
        return Outcome(end=End.PASSED, tests=tests)
    end = End.MEMORY if result["error"] == "MemoryError" else End.FAILED
    return Outcome(end=end, tests=tests, reason=result["reason"], test=result.get("test"))


def _ended_early(answerer: SandboxedProcess, count: int) -> Outcome:
    """Return the outcome where the answer's process ended by itself, before the tests did."""
    code = answerer.exit_code()
    refuse_broken(answerer, code)
    if code in _CPU_SIGNALS:
        return _over_limit("time", answerer.limits, count)
    return _failed(count, f"the program ended by itself with exit code {code}")


def _tests_ended(tester: SandboxedProcess, answerer: SandboxedProcess, count: int) -> Outcome:
    """Return the outcome where the tests ended without a result."""
    code = tester.exit_code()
    if code == ANSWER_ENDED:
        return _ended_early(answerer, count)
    refuse_broken(tester, code)
    if code in _CPU_SIGNALS:
        return _over_limit("time", tester.limits, count)
    raise SandboxFailed(f"the tests ended with exit code {code}")


def refuse_broken(process: SandboxedProcess, code: int) -> None:
    """Raise SandboxFailed if the sandbox ended before the program began."""
    if not process.started:
        said = process.error.decode(errors="replace").strip().splitlines()
        raise SandboxFailed(said[-1] if said else f"it ended with exit code {code}")


def run_program(
    sandbox: Sandbox,
    program: str,
    test: Mapping[str, Any],
    command: Sequence[str],
    file_name: str,
    limits: Limits,
) -> Outcome:
    """Run a program with a test's `input`, and compare its output with the test's `output`.

    Lines are compared without spaces at their ends, and the text without empty lines at its end, as
    APPS and LiveCodeBench do.
    """
    text = f"{program}\n{test['code']}\n" if test.get("code") else program
    with (
        shared_folder({file_name: text}) as folder,
        shared_folder({"input": test.get("input", "")}) as apart,
    ):
        place = f"{sandbox.folder(folder)}/{file_name}"
        argv = [word.replace("{file}", place) for word in command]
        invocation = sandbox.invoke(argv, folder, limits)
        with SandboxedProcess(invocation, limits, stdin=apart / "input") as process:
            try:
                written = process.read_all().decode(errors="replace")
                code = process.exit_code()
            except Exceeded as error:
                return _over_limit(str(error), limits, 1)
            refuse_broken(process, code)
            if code in _CPU_SIGNALS:
                return _over_limit("time", limits, 1)
            stderr = process.error.decode(errors="replace").strip()
    shown = _shorten(str(test.get("code") or test.get("input", "")).strip().partition("\n")[0])
    if code:
        reason = _error_line(stderr) or f"exit code {code}"
        end = End.MEMORY if "MemoryError" in reason or "out of memory" in stderr else End.FAILED
        return Outcome(end=end, tests=(False,), reason=reason, test=shown)
    wanted = str(test["output"])
    if _lines(written) == _lines(wanted):
        return Outcome(end=End.PASSED, tests=(True,))
    reason = f"wrote {_shorten(written.strip())!r}, not {_shorten(wanted.strip())!r}"
    return Outcome(end=End.FAILED, tests=(False,), reason=reason, test=shown)


def _error_line(said: str) -> str | None:
    """Return the line that names the error among what a program wrote to standard error."""
    named = _ERROR_LINE.search(said)
    lines = said.splitlines()
    return _shorten(named[0] if named else lines[-1]) if lines else None


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]


def _shorten(text: str) -> str:
    return text if len(text) <= 200 else text[:200] + "…"


def _failed(count: int, reason: str) -> Outcome:
    return Outcome(end=End.FAILED, tests=(False,) * count, reason=reason)


def _over_limit(limit: str, limits: Limits, count: int) -> Outcome:
    reason = _LIMIT_REASONS[limit].format(limits)
    return Outcome(end=End(limit), tests=(False,) * count, reason=reason)


def start_inside(sandbox: Sandbox, role: str, folder: Path, limits: Limits) -> SandboxedProcess:
    """Start a module of `inside/` with the files of a folder."""
    shutil.copytree(_INSIDE, folder / _INSIDE.name, ignore=shutil.ignore_patterns("__pycache__"))
    place = sandbox.folder(folder)
    command = (sandbox.python(), "-S", "-s", "-B", "-c", _START, place, role)
    return SandboxedProcess(sandbox.invoke(command, folder, limits), limits)


@contextmanager
def shared_folder(files: Mapping[str, str]) -> Iterator[Path]:
    """Yield a folder with files that a sandbox's user can read."""
    with tempfile.TemporaryDirectory(prefix="tunegate-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for file, text in files.items():
            (folder / file).write_text(text, encoding="utf-8", errors="replace", newline="")
            (folder / file).chmod(0o644)
        yield folder
