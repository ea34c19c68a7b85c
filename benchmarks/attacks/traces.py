"""Hostile traces and recorded answers: `python -m benchmarks.attacks.traces`.

Files that never end, lie about times, or nest without end, given to `tunegate replay` and to a gate
of recorded answers. Each must end in time and in lines.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from benchmarks.attacks.attempt import AttackAttempt, command_attempt, report
from benchmarks.attacks.project import AttackedProject, N, answer

REPLAY = ("replay", "calls.jsonl", "--suite", "made")
GATE = ("gate", "suites", "--base=replay:base.jsonl", "--tuned=replay:tuned.jsonl")
Change = Callable[[AttackedProject], None]


def attempts() -> Iterator[AttackAttempt]:
    """Yield the attacks."""
    yield command_attempt("a device", ("replay", "/dev/zero", "--suite", "made"))
    yield command_attempt("a pipe", REPLAY, lambda p: os.mkfifo(p.folder / "calls.jsonl"))
    for name, raw in _files().items():
        yield command_attempt(name, REPLAY, _written("calls.jsonl", raw), codes=(0, 2, 13))
    for name, rows in _answers().items():
        yield command_attempt(f"answers: {name}", GATE, rows, codes=(1, 2, 10, 13))


def _written(name: str, raw: bytes) -> Change:
    def change(project: AttackedProject) -> None:
        (project.folder / name).write_bytes(raw)

    return change


def span(**more: Any) -> dict[str, Any]:
    """Return a call of a model as an OTLP span."""
    texts = {"gen_ai.prompt.0.content": "Where is it?", "gen_ai.completion.0.content": "Here."}
    attributes = [
        {"key": key, "value": {"stringValue": text}}
        for key, text in {
            **texts, "gen_ai.prompt.0.role": "user", "gen_ai.system": "x",
            "gen_ai.request.model": "m", "gen_ai.operation.name": "chat",
        }.items()
    ]  # fmt: skip
    return {
        "traceId": "0" * 31 + "1", "spanId": "0" * 15 + "1", "name": "chat",
        "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000001000000000",
        "attributes": attributes, **more,
    }  # fmt: skip


def _file(*spans: Any) -> bytes:
    scope = {"scopeSpans": [{"spans": list(spans)}]}
    return json.dumps({"resourceSpans": [scope]}).encode()


def _files() -> Mapping[str, bytes]:
    deep = {"key": "x", "value": json.loads('{"arrayValue": {"values": [' * 300 + "]}}" * 300)}
    return {
        "a start in the year 292,277": _file(span(startTimeUnixNano="9" * 19)),
        "a start of 400 digits": _file(span(startTimeUnixNano="9" * 400)),
        "a negative start": _file(span(startTimeUnixNano="-5")),
        "an end before the start": _file(span(endTimeUnixNano="1")),
        "times that are lists": _file(span(startTimeUnixNano=[1], endTimeUnixNano={})),
        "attributes that are 300 deep": _file(span(attributes=[deep])),
        "attributes that are no list": _file(span(attributes="x")),
        "spans that are numbers": _file(1, None, True, "x"),
        "ids of 2 MB": _file(span(traceId="f" * 2_000_000)),
        "one span 5,000 times": _file(*[span()] * 5_000),
        "JSON that is 200,000 deep": b'{"resourceSpans": ' + b"[" * 200_000,
        "a text without an end": b'{"resourceSpans": "' + b"x" * 5_000_000,
        "halves of surrogate pairs": _file(span(name="\ud800\udfff\udc00")),
        "bytes that are no UTF-8": b'{"resourceSpans": "\xff\xfe"}',
        "packed as gzip": gzip.compress(_file(span())),
        "NUL bytes": b"\0" * 100_000,
        "an empty file": b"",
    }


def _answers() -> Mapping[str, Change]:
    def rows(change: Callable[[int], dict[str, Any]]) -> Change:
        return lambda project: project.answers("tuned", [change(i) for i in range(N)])

    return {
        "2 MB each": rows(lambda i: {**answer("tuned", i), "completion": "long " * 400_000}),
        "numbers": rows(lambda i: {**answer("tuned", i), "completion": i}),
        "lists": rows(lambda i: {**answer("tuned", i), "completion": [["x"]]}),
        "no text": rows(lambda i: {**answer("tuned", i), "completion": None}),
        "ids of 100 kB": rows(lambda i: {**answer("tuned", i), "id": "q" * 100_000 + str(i)}),
        "escape sequences": rows(
            lambda i: {**answer("tuned", i), "completion": "\x1b]0;x\x07\x1b[2J\n::error::x\r\n"}
        ),
        "halves of surrogate pairs": rows(
            lambda i: {**answer("tuned", i), "completion": "\udfff\ud800"}
        ),
        "nested 50,000 deep": lambda project: (
            project.write("tuned.jsonl", '{"id": "q00", "completion": ' + "[" * 50_000) and None
        ),
        "a device": lambda project: _device(project),
    }


def _device(project: AttackedProject) -> None:
    (project.folder / "tuned.jsonl").unlink()
    (project.folder / "tuned.jsonl").symlink_to("/dev/zero")


if __name__ == "__main__":
    raise SystemExit(report(attempts())[1])
