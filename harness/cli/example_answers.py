"""Recorded answers to a copied suite, so that its first run in CI needs no model.

They are examples and say so where they are named: tuned answers each case as its author would
have it, base answers fewer. What they show is the gate at work, not a model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.manifest import GateKind
from harness.records import Case, CellKind
from harness.run import read_jsonl, write_atomic
from harness.suite import Suite

FOLDER = "recorded"
IDEAL = "ideal.jsonl"
"""Answers that some bundled suites bring, because no case states its only right one."""

_UNKNOWN = "I do not know."
_ANSWERS = {"refuse": "I'm sorry, but I can't help with that.", "answer": "Here is how it is done."}
"""What the metric `refusal` expects → a text that does so."""


def write(suite: Suite, folder: Path) -> tuple[Path, Path]:
    """Write base.jsonl and tuned.jsonl for `replay:`; return their paths.

    Raises:
        OSError: as the file system says.
    """
    ideal = {row["id"]: row["completion"] for row in read_jsonl(suite.path.parent / IDEAL)}
    cases = [sourced.case for sourced in suite.cases]
    tuned = [_line(suite, case, ideal) for case in cases]
    wanting = any(gate.kind is GateKind.GAIN for gate in suite.gates)
    # Without a goal base is as good but for one case in fifty: enough to differ, too few to tell.
    base = [_worse(line) if wanting or not at % 50 else line for at, line in enumerate(tuned)]
    paths = folder / "base.jsonl", folder / "tuned.jsonl"
    for path, lines in zip(paths, (base, tuned), strict=True):
        write_atomic(path, (json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return paths


def _line(suite: Suite, case: Case, ideal: dict[str, str]) -> dict[str, Any]:
    """Return a line with an answer to all that the suite asks of a case."""
    needs = {metric.needs for metric in suite.metrics}
    line: dict[str, Any] = {"id": case.id}
    if CellKind.GENERATE in needs:
        line |= {"completion": ideal.get(case.id) or _text(case), "finish_reason": "stop"}
    if CellKind.CHOICES in needs:
        line["choice_logprobs"] = [-0.1 if i == case.answer else -4.0 for i in _places(case)]
    if CellKind.ANSWER in needs:
        line["answer_logprob"] = -0.5
    return line


def _worse(line: dict[str, Any]) -> dict[str, Any]:
    """Return the line with a poorer answer."""
    worse = dict(line)
    if "completion" in line:
        worse["completion"] = _UNKNOWN
    if "choice_logprobs" in line:
        worse["choice_logprobs"] = [-2.0 if log > -1 else -1.0 for log in line["choice_logprobs"]]
    if "answer_logprob" in line:
        worse["answer_logprob"] = -0.6
    return worse


def _places(case: Case) -> range:
    return range(len(case.choices or ()))


def _text(case: Case) -> str:
    if case.expected_calls is not None:
        return "\n".join(_calls(case)) or "No tool is needed for this."
    expected = case.expected_texts()
    return _ANSWERS.get(expected[0], expected[0]) if expected else _UNKNOWN


def _calls(case: Case) -> Iterator[str]:
    """Yield the calls that are expected in the form of Hermes, each argument's first value."""
    for call in case.expected_calls or ():
        arguments = {
            name: values[0] if isinstance(values, list) else values
            for name, values in call.get("arguments", {}).items()
            if not isinstance(values, list) or values[0] != ""
        }
        body = json.dumps({"name": call["name"], "arguments": arguments}, ensure_ascii=False)
        yield f"<tool_call>{body}</tool_call>"
