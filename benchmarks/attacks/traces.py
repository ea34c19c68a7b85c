"""Hostile traces and recorded answers: `python -m benchmarks.attacks traces`.

Files that never end, lie about times, or nest without end, given to `tunegate replay` and to a gate
of recorded answers. Each must end in time and in lines.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from benchmarks.attacks.attempt import AttackAttempt, command_attempt
from benchmarks.attacks.project import AttackedProject, N, answer

REPLAY = ("replay", "calls.jsonl", "--suite", "made")
GATE = ("gate", "suites", "--base=replay:base.jsonl", "--tuned=replay:tuned.jsonl")
HARMONY = "<|channel|>commentary to=functions.f<|message|>" + "[" * 50_000
TOLD = (0, 2, 13)
"""Exit codes of a command that left out what it could not read, or refused the file."""
Change = Callable[[AttackedProject], None]


def attempts() -> Iterator[AttackAttempt]:
    """Yield the attacks."""
    yield command_attempt("a device", ("replay", "/dev/zero", "--suite", "made"))
    yield command_attempt("a pipe", REPLAY, lambda p: os.mkfifo(p.folder / "calls.jsonl"))
    for name, raw in _files().items():
        yield command_attempt(name, REPLAY, _written("calls.jsonl", raw), codes=(0, 2, 13))
    for name, (file, raw) in _tool_files().items():
        words = ("results", file)
        yield command_attempt(f"results: {name}", words, _written(file, raw), codes=TOLD)
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
        "attributes that are 300 deep": _file(span(attributes=[deep])),
        "spans that are numbers": _file(1, None, True, "x"),
        "JSON that is 200,000 deep": b'{"resourceSpans": ' + b"[" * 200_000,
    }


def _tool_files() -> Mapping[str, tuple[str, bytes]]:
    """Return hostile results of other tools, with the names of their files."""

    def packed(*files: tuple[str, bytes]) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, raw in files:
                archive.writestr(name, raw)
        return buffer.getvalue()

    bomb = packed(("header.json", b" " * 800_000_000))
    return {
        "a log that unpacks to 800 MB": ("bomb.eval", bomb),
        "a log of 30,000 files": (
            "many.eval",
            packed(*((f"samples/{i}.json", b"{}") for i in range(30_000))),
        ),
        "a file that only looks like Parquet": ("t.parquet", b"PAR1" + b"\xff" * 999 + b"PAR1"),
        "lines that are 50,000 deep": ("t.jsonl", b'{"id": "a", "score": ' + b"[" * 50_000),
    }


def _answers() -> Mapping[str, Change]:
    def rows(change: Callable[[int], dict[str, Any]]) -> Change:
        return lambda project: project.answers("tuned", [change(i) for i in range(N)])

    return {
        "2 MB each": rows(lambda i: {**answer("tuned", i), "completion": "long " * 400_000}),
        "escape sequences": rows(
            lambda i: {**answer("tuned", i), "completion": "\x1b]0;x\x07\x1b[2J\n::error::x\r\n"}
        ),
        "nested 50,000 deep": lambda project: (
            project.write("tuned.jsonl", '{"id": "q00", "completion": ' + "[" * 50_000) and None
        ),
    }
