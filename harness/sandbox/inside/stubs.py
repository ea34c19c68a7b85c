"""The process that runs the tests of many cases on stubs: answers that no test may pass."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any

from .peer import Peer
from .tests import FILE, run_test

_CPU_S = 2
"""Seconds of processor time for the tests of a case; ten times as long on the clock."""


def main(folder: str) -> None:
    """Send the host, for each case in the folder, which tests pass on each stub."""
    with open(f"{folder}/cases.json", encoding="utf-8") as file:  # noqa: PTH123 - as in answer.py
        cases = json.load(file)
    peer = Peer()
    sys.argv = [FILE]
    if any("unittest" in test for tests, _ in cases for test in tests):
        import unittest  # noqa: F401 - once instead of in each child
    for tests, names in cases:
        passed = [_passed(tests, frozenset(names), stub) for stub in _STUBS]
        peer.send_result(passed)
    os._exit(0)


def _raise(*args: Any, **kwargs: Any) -> Any:
    raise NotImplementedError


def _return_none(*args: Any, **kwargs: Any) -> Any:
    return None


def _return_list(*args: Any, **kwargs: Any) -> Any:
    return []


_STUBS = (_raise, _return_none, _return_list)
"""In the order of `STUBS` in `stub_answers.py`."""


def _passed(tests: list[str], names: frozenset[str], stub: Callable[..., Any]) -> list[bool]:
    """Run tests in a child process, where all that they take from the answer is the stub."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S))
        signal.alarm(10 * _CPU_S)
        for test in tests:
            failure = run_test(test, names, lambda name: stub)
            os.write(writing, b"\0" if failure else b"\1")
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        written = pipe.read(len(tests))
    os.waitpid(child, 0)
    return [byte == 1 for byte in written.ljust(len(tests), b"\0")]
