"""Hostile servers, judges and addresses: `python -m benchmarks.attacks servers`.

A server answers too late, too much, something else or with what would be read as a verdict; an
address holds a password. No gate may end with SHIP on such answers, hang, or print the password.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.attacks.attempt import (
    SECRET,
    AttackAttempt,
    Outcome,
    command_attempt,
    judge_command,
)
from benchmarks.attacks.project import AttackedProject
from benchmarks.attacks.small_server import SmallServer, answer_shelf

Send = Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]
REFUSED = (1, 2, 10, 12, 13)
"""Exit codes of a gate that is not passed."""


def attempts() -> Iterator[AttackAttempt]:
    """Yield the attacks."""
    yield from _addresses()
    for name, send in _replies().items():
        yield AttackAttempt(f"server: {name}", lambda send=send: _gate(send))  # type: ignore[misc]
    for name, (arm, reply) in _failing_arms().items():
        yield AttackAttempt(
            f"server: {arm} {name}",
            lambda arm=arm, reply=reply: _gate_failing(arm, reply),  # type: ignore[misc]
        )
    for name, text in _judgements().items():
        yield AttackAttempt(f"judge: {name}", lambda text=text: _judge(text))  # type: ignore[misc]


def _addresses() -> Iterator[AttackAttempt]:
    for user in (f"me:{SECRET}", SECRET, f"me:/{SECRET}", f"a@b:{SECRET}#?"):
        for form in (
            "server:https://{}@h.invalid/v1#m",
            "server:ftp://{}@h/#m",
            "replay:http://{}@h",
        ):
            spec = form.format(user)
            words = ("gate", "suites", "--base", spec, "--tuned", spec, "--run-dir=run")
            yield command_attempt(f"address: {spec.replace(SECRET, '…')}", words)
    for command in ("report", "resume", "promote", "gate"):
        yield command_attempt(f"address: {command}", (command, f"http://me:{SECRET}@h/run"))


def _gate(send: Send) -> Outcome:
    """Gate two models of the server; its questions are answered by `send`."""

    def take_over(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> bool:
        with contextlib.suppress(OSError):
            send(handler, body)
        handler.close_connection = True
        return True

    with TemporaryDirectory() as folder, SmallServer(send=take_over) as server:
        project = AttackedProject(Path(folder))
        project.begin()
        words = ("gate", "suites", *server.arms(), "--deadline=2", "--run-dir=run")
        return judge_command(project, words, REFUSED)


def _failing_arms() -> Mapping[str, tuple[str, dict[str, Any]]]:
    """Return how an arm fails with HTTP 200: its name, and what differs in the reply."""
    refusal = {"content": None, "refusal": "I can't help with that."}
    return {
        "answers content: null": ("base", {"message": {"content": None}}),
        "answers with a refusal field": ("base", {"message": refusal}),
        "answers 'rate limit exceeded'": ("base", {"message": {"content": "rate limit exceeded"}}),
        "is answered by another model": ("tuned", {"model": "spare"}),
    }


def _gate_failing(arm: str, reply: Mapping[str, Any]) -> Outcome:
    """Gate two good models; `arm` answers the project's questions with this reply."""

    def fail(handler: Any, body: dict[str, Any]) -> bool:
        question = str(body["messages"][-1]["content"] if "messages" in body else "")
        if body["model"] != arm or "Which shelf" not in question:
            return False
        message = {"role": "assistant", "content": answer_shelf(arm, question)}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        fields = {name: value for name, value in reply.items() if name != "model"}
        handler.reply({"model": reply.get("model", arm), "choices": [{**choice, **fields}]})
        return True

    with TemporaryDirectory() as folder, SmallServer(send=fail) as server:
        project = AttackedProject(Path(folder))
        project.begin()
        words = ("gate", "suites", *server.arms(), "--deadline=30", "--run-dir=run")
        return judge_command(project, words, REFUSED)


def raw_reply(body: bytes, status: int = 200, **headers: str) -> Send:
    """Return what sends these bytes, with a length unless a header says another one."""

    def send(handler: BaseHTTPRequestHandler, question: dict[str, Any]) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return send


def choice(message: Any, **more: Any) -> bytes:
    """Return a reply with one choice."""
    return json.dumps(
        {"choices": [{"index": 0, "message": message, "text": message}], **more}
    ).encode()


def _replies() -> Mapping[str, Send]:
    statuses = {
        f"429, Retry-After {pause or 'missing'}": raw_reply(
            b'{"error": "busy"}', 429, **({"Retry_After": pause} if pause else {})
        )
        for pause in ("", "0", "-5", "1e9", "nan", "Fri, 31 Dec 9999 23:59:59 GMT", "9" * 5000)
    }
    return {
        **statuses,
        "500 with 20 MB of error": raw_reply(b"x" * 20_000_000, 500),
        "a body without an end": _endless,
        **_messages(),
    }


def _messages() -> Mapping[str, Send]:
    """Return replies whose form is right and whose message is not."""
    return {
        "a call instead of an answer": raw_reply(choice({"content": None, "tool_calls": [_CALL]})),
        "the same text to everything": raw_reply(choice({"content": "shelf 1"})),
    }


_CALL = {"id": "\x1b", "function": {"name": "os.system", "arguments": "[" * 50_000}}


def _endless(handler: BaseHTTPRequestHandler, question: dict[str, Any]) -> None:
    handler.send_response(200)
    handler.end_headers()
    until = time.monotonic() + 60
    while time.monotonic() < until:
        handler.wfile.write(b" " * 65_536)


JUDGED = """name = "orders"
cases = "cases.jsonl"

[[metrics]]
use = "rubric"
criteria = "It names the shelf."

[[gates]]
metric = "rubric"
tolerance = 0.1
"""


def _judge(text: str) -> Outcome:
    """Gate recorded answers whose judge always writes this text; a score stays on its scale."""

    def reply(model: str, prompt: str) -> str:
        number = re.search(r"Nonce: (\w+)", prompt)
        return text.replace("NONCE", number[1] if number else "")

    with TemporaryDirectory() as folder, SmallServer(text=reply) as server:
        project = AttackedProject(Path(folder))
        project.begin()
        project.write("suites/orders/suite.toml", JUDGED)
        judge = server.arms()[0].partition("=")[2]
        words = (
            "gate", "suites", "--base=replay:base.jsonl", "--tuned=replay:tuned.jsonl",
            f"--judge={judge}", "--deadline=5", "--run-dir=run",
        )  # fmt: skip
        survived, outcome = judge_command(project, words, REFUSED)
        scores = project.run / "scores.jsonl"
        rows = scores.read_text(encoding="utf-8").splitlines() if scores.is_file() else []
        values = [json.loads(row).get("value") for row in rows]
        on_scale = all(value is None or 0 <= value <= 1 for value in values)
        kept = sum(value is not None for value in values)
        was_asked = bool(server.asked) and bool(values)
        return survived and on_scale and was_asked, f"{kept} of {len(values)} scored; {outcome}"


def _signed(rest: str) -> str:
    """Return a reply that knows the question's number, which every usable reply repeats."""
    return '{"nonce": "NONCE", "reason": "r", ' + rest


def _judgements() -> Mapping[str, str]:
    return {
        "nothing": "",
        "a score above the scale": _signed('"score": 6}'),
        "a score of infinity": _signed('"score": 1e999}'),
        "a reason that is 100,000 deep": _signed('"score": ' + "[" * 100_000),
        "a score in thoughts alone": "<think>" + _signed('"score": 5}') + "</think>",
    }
