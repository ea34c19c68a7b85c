"""Hostile traces and recorded answers: `python -m benchmarks.attacks.traces`.

Files that never end, lie about times, or nest without end, given to `tunegate replay` and to a gate
of recorded answers. Each must end in time and in lines.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from benchmarks.attacks.attempt import AttackAttempt, command_attempt, report
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
    for name, raw in _stores().items():
        yield command_attempt(f"store: {name}", REPLAY, _written("calls.jsonl", raw), codes=TOLD)
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


def _stores() -> Mapping[str, bytes]:
    """Return hostile exports of trace stores."""

    def jaeger(**more: Any) -> bytes:
        tag = {"key": "gen_ai.prompt.0.content", "type": "string", "value": "Where?"}
        loop = [{"refType": "CHILD_OF", "traceID": "a", "spanID": "b"}]
        one = {
            "traceID": "a", "spanID": "b", "operationName": "chat", "references": loop,
            "startTime": 1, "duration": 1, "tags": [tag], "processID": "p1", **more,
        }  # fmt: skip
        return json.dumps({"data": [{"traceID": "a", "spans": [one], "processes": {}}]}).encode()

    def langfuse(**more: Any) -> bytes:
        one = {
            "id": "a", "type": "GENERATION", "parentObservationId": "a", "model": "m",
            "input": [{"role": "user", "content": "Where?"}], "output": "Here.",
            "startTime": "2024-01-01T00:00:00Z", **more,
        }  # fmt: skip
        return json.dumps({"id": "t", "observations": [{**one, "traceId": "t"}]}).encode() + b"\n"

    run: dict[str, Any] = {"id": "a", "run_type": "llm", "inputs": {}, "child_runs": []}
    for _ in range(400):
        run = {**run, "child_runs": [run]}
    return {
        "Jaeger, a span that is its own parent": jaeger(),
        "Jaeger, a start of 10^30": jaeger(startTime=10**30),
        "Jaeger, tags that are texts": jaeger(tags="x", references="y"),
        "Jaeger, logs of 100,000 fields": jaeger(logs=[{"fields": [{}] * 100_000}]),
        "Zipkin, parents in a circle": json.dumps(
            [{"traceId": "a", "id": i, "parentId": p, "name": "chat", "tags": {"x": 7}}
             for i, p in (("b", "c"), ("c", "b"))]
        ).encode(),
        "Zipkin, a timestamp below zero": json.dumps(
            [{"traceId": "a", "id": "b", "timestamp": -(10**40), "duration": "x", "tags": []}]
        ).encode(),
        "Langfuse, its own parent": langfuse(),
        "Langfuse, a start that is no time": langfuse(startTime="+99999-99-99T99:99:99Z"),
        "Langfuse, input that is 20,000 deep": langfuse(input="[" * 20_000),
        "LangSmith, runs that are 400 deep": json.dumps(run).encode() + b"\n",
        "LangSmith, a run that is a list": json.dumps([[run["id"]]] * 9).encode(),
        "Tempo, batches that are numbers": b'{"batches": [1, null, {"scopeSpans": 7}]}',
    }  # fmt: skip


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
        "a log with names outside": (
            "out.eval",
            packed(("../../header.json", b"{}"), ("/etc/x", b"")),
        ),
        "a log that is no archive": ("none.eval", b"PK\x03\x04" + b"\0" * 999),
        "a log whose header is 50,000 deep": ("deep.eval", packed(("header.json", b"[" * 50_000))),
        "Parquet that is none": ("t.parquet", b"PAR1" + b"\xff" * 999 + b"PAR1"),
        "a table with NUL bytes": ("t.csv", b"id,score\n\0,\0\n"),
        "a table of 20,000 columns": (
            "t.csv",
            b",".join(b"c%d" % i for i in range(20_000)) + b"\n",
        ),
        "a table with one field of 30 MB": ("t.csv", b'id,score\n"' + b"x" * 30_000_000),
        "scores of 4,000 digits": ("t.jsonl", b'{"id": "a", "score": ' + b"9" * 4_000 + b"}\n"),
        "lines that are 50,000 deep": ("t.jsonl", b'{"id": "a", "score": ' + b"[" * 50_000),
        "ids with escape sequences": (
            "t.jsonl",
            b'{"id": "\\u001b[2J\\n::error::x", "score": 1}\n',
        ),
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
        "a call of harmony, 50,000 deep": rows(
            lambda i: {**answer("tuned", i), "completion": HARMONY}
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
