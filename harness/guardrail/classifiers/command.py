"""`command:PROGRAM ARGUMENTS`: any program as classifier, in an environment of its own.

It is started once. For each text it reads a line on its standard input, `{"text": "…"}`, and
answers with a line on its standard output: `{"score": 0.97}`, the probability of an attack, or
`{"error": "why"}`. Its standard error is shown. LLM Guard's scanner takes six lines of Python.
"""

from __future__ import annotations

import contextlib
import json
import queue
import shlex
import shutil
import subprocess
import threading
from dataclasses import dataclass, field
from typing import Any

from tunegate.harness.errors import UsageError

DEADLINE_S = 10.0
"""Seconds that one text may take; the first one has `START_S`, since models load."""
START_S = 120.0


@dataclass
class ClassifierProgram:
    """A program that scores texts, one after another."""

    words: tuple[str, ...]
    deadline_s: float = DEADLINE_S
    start_s: float = START_S
    _process: subprocess.Popen[str] | None = field(default=None, repr=False)
    _lines: queue.Queue[str | None] = field(default_factory=queue.Queue, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def attack_probability(self, text: str) -> float:
        """Return the program's score of a text.

        Raises:
            RuntimeError: it ended, was silent, or answered something else.
        """
        with self._lock:
            limit = self.deadline_s
            if self._process is None or self._process.poll() is not None:
                self._start()
                limit = self.start_s
            return _score(self._ask(text, limit))

    def _start(self) -> None:
        self._lines = queue.Queue()
        self._process = subprocess.Popen(
            self.words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        reader = threading.Thread(target=_read, args=(self._process, self._lines), daemon=True)
        reader.start()

    def close(self) -> None:
        """End the program; the next text starts it again."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with contextlib.suppress(OSError):  # what was not sent is lost with it
                if process.stdin is not None:
                    process.stdin.close()
            process.wait()

    def _ask(self, text: str, limit: float) -> str:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"text": text}) + "\n")
            self._process.stdin.flush()
            line = self._lines.get(timeout=limit)
        except (OSError, queue.Empty) as error:
            self._end()  # a late answer must not be taken for that of the next text
            silent = isinstance(error, queue.Empty)
            why = f"no answer in {limit:g} s" if silent else "the program ended"
            raise RuntimeError(why) from None
        if line is None:
            self._end()
            raise RuntimeError("the program ended")
        return line


def _read(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    """Pass on the lines of a program; None at its end."""
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            lines.put(line)
    lines.put(None)


def _score(line: str) -> float:
    try:
        found: Any = json.loads(line)
    except ValueError:
        raise RuntimeError(f"not JSON: {line.strip()[:80]!r}") from None
    value = found.get("score") if isinstance(found, dict) else None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    why = found.get("error") if isinstance(found, dict) else None
    raise RuntimeError(str(why)[:200] if why else f"no score from 0 to 1: {line.strip()[:80]!r}")


def command(target: str) -> ClassifierProgram:
    """Return a program as classifier; it is started with its first text.

    Raises:
        UsageError: there is no such program.
    """
    try:
        words = tuple(shlex.split(target))
    except ValueError as error:
        raise UsageError(f"guardrail: classifier='command:{target}': {error}") from error
    if not words or shutil.which(words[0]) is None:
        raise UsageError(
            f"guardrail: classifier='command:{target}': no program {(words or ('',))[0]!r} on this "
            "machine"
        )
    return ClassifierProgram(words)
