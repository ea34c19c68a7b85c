"""Recorded example answers to a copied suite, so that its first run needs no model.

Each line says that it is an example. Tuned answers most cases as their author would, base fewer:
they show the gate, not a model, so CI refuses them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunegate.harness.records.cases import Case
    from tunegate.harness.suite import Suite

FOLDER = "recorded"
TEACHER = "teacher.jsonl"
"""Recorded answers of a suite's teacher, in the suite's folder."""
IDEAL = "ideal.jsonl"
"""Ideal answers of suites whose cases do not state one."""

_UNKNOWN = "I do not know."
_TALK = (
    "{asked} … That depends.",
    "Could you say more about {asked} …?",
    "There are many ways to read {asked} …",
    "Thanks for writing: {asked} …",
    "No rule comes to mind for {asked} …",
)
"""What a model says that was not trained for the task."""


def write_replay_files(suite: Suite, folder: Path) -> tuple[Path, Path]:
    """Write base.jsonl and tuned.jsonl for `replay:`; return their paths."""
    from tunegate.harness.gates.contract.registry import gate_kind
    from tunegate.harness.records.files import write_atomic
    from tunegate.harness.records.jsonl import read_jsonl

    ideal = {row["id"]: row["completion"] for row in read_jsonl(suite.path.parent / IDEAL)}
    cases = list(suite.cases)
    right = [_line(suite, case, ideal) for case in cases]
    wanting = any(gate_kind(gate.kind).is_goal for gate in suite.gates)
    # Without a goal both are as good, and differ in few cases.
    every = 25 if wanting else 50
    worse = [_worse(line, case, talk) for line, case, talk in zip(right, cases, cycle(_TALK))]
    base = [worse[at] if wanting or at % every == 0 else line for at, line in enumerate(right)]
    tuned = [worse[at] if at % every == every // 2 else line for at, line in enumerate(right)]
    paths = folder / "base.jsonl", folder / "tuned.jsonl"
    for path, lines in zip(paths, (base, tuned), strict=True):
        write_atomic(path, (json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return paths


def _line(suite: Suite, case: Case, ideal: dict[str, str]) -> dict[str, Any]:
    """Return a line with everything that the suite's metrics need of a case."""
    from tunegate.harness.records.answers import CellKind

    needs = {metric.needs for metric in suite.metrics}
    line: dict[str, Any] = {"id": case.id, "example": True}
    if CellKind.GENERATE in needs:
        line |= {"completion": ideal.get(case.id) or _text(case), "finish_reason": "stop"}
    if CellKind.CHOICES in needs:
        line["choice_logprobs"] = [
            -0.1 if i == case.answer else -4.0 for i in range(len(case.choices or ()))
        ]
    if CellKind.ANSWER in needs:
        line["answer_logprob"] = -0.5
    if any(metric.name == "cost" for metric in suite.metrics):
        line["cost"] = 1e-5
    return line


def _worse(line: dict[str, Any], case: Case, talk: str) -> dict[str, Any]:
    """Return the line with a worse answer."""
    worse = dict(line)
    if "completion" in line:
        question = " ".join(str(case.input_messages()[-1].get("content")).split()[:4])
        worse["completion"] = talk.format(asked=question)
    if "choice_logprobs" in line:
        worse["choice_logprobs"] = [-2.0 if log > -1 else -1.0 for log in line["choice_logprobs"]]
    if "answer_logprob" in line:
        worse["answer_logprob"] = -0.6
    return worse


def _text(case: Case) -> str:
    if case.expected_calls is not None:
        return "\n".join(_calls(case)) or "No tool is needed for this."
    expected = case.expected_texts()
    return expected[0] if expected else _UNKNOWN


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
