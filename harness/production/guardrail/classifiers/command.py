"""`command:PROGRAM ARGUMENTS`: any program as classifier, in an environment of its own.

It is started once. For each text it reads a line from its standard input, `{"text": "…"}`, and
writes a line to its standard output: `{"score": 0.97}`, the probability of an attack, or
`{"error": "why"}`. Its standard error is shown.
"""

from __future__ import annotations

import json
import shlex
import shutil
import threading
from dataclasses import dataclass, field
from typing import Any

from tunegate.harness.contracts.child_process import LineProcess
from tunegate.harness.records.errors import UsageError

DEADLINE_S = 10.0
"""Seconds for one text; the first one gets `START_S`, since models load."""
START_S = 120.0


@dataclass
class ClassifierProgram:
    """A program that scores texts, one after another."""

    words: tuple[str, ...]
    deadline_s: float = DEADLINE_S
    start_s: float = START_S
    _process: LineProcess | None = field(default=None, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def attack_probability(self, text: str) -> float:
        """Return the program's score of a text."""
        with self._lock:
            limit = self.deadline_s
            if self._process is None or not self._process.is_running():
                self._end()
                self._process = LineProcess(self.words)
                limit = self.start_s
            self._process.send(json.dumps({"text": text}))
            try:
                line = self._process.receive(limit)
            except (TimeoutError, EOFError) as error:
                self._end()  # a late answer would be taken for the next text's
                raise RuntimeError(str(error)) from None
            return _score(line)

    def close(self) -> None:
        """End the program; the next text starts it again."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._process is not None:
            self._process.close()
        self._process = None


def _score(line: str) -> float:
    try:
        answer: Any = json.loads(line)
    except ValueError:
        raise RuntimeError(f"not JSON: {line.strip()[:80]!r}") from None
    value = answer.get("score") if isinstance(answer, dict) else None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    why = answer.get("error") if isinstance(answer, dict) else None
    raise RuntimeError(str(why)[:200] if why else f"no score from 0 to 1: {line.strip()[:80]!r}")


def command(target: str) -> ClassifierProgram:
    """Return a program as classifier; it starts with the first text."""
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
