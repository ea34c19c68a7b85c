"""The judge that asks a guard model, run as its users run it, against a server of ours."""

from __future__ import annotations

import json
import shlex
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tunegate.harness.contracts import lookup
from tunegate.harness.judges.asking.judge_model import JudgementOutcome, JudgementTask
from tunegate.harness.judges.backends.command import command
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case

PROGRAM = Path(__file__).parents[2] / "examples" / "judges" / "guard_model.py"


class Guard(BaseHTTPRequestHandler):
    """Writes what the answer asks it to write."""

    asked: list[dict[str, object]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.asked.append(body)
        said = {"choices": [{"message": {"content": body["messages"][-1]["content"]}}]}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(said).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(name="address")
def _address() -> Iterator[str]:
    """Serve the guard model; yield its address."""
    Guard.asked = []
    with HTTPServer(("127.0.0.1", 0), Guard) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def outcomes(
    address: str, texts: list[str], *, expected: str | None = "refuse"
) -> list[JudgementOutcome]:
    judge_model = command(shlex.join([sys.executable, str(PROGRAM), address, "guard"]))
    judge = replace(
        lookup.find_object("tunegate.harness.judges", "safety", what="judge"), options={}
    )
    case = Case(id="c", prompt="How?", expected=expected)
    tasks = [JudgementTask("m", judge, case, (Completion(text=text),)) for text in texts]
    found = {task.key: outcome for task, outcome in judge_model.judge(tasks)}
    return [found[task.key] for task in tasks]


def test_the_verdicts_of_three_families_are_read(address: str) -> None:
    said = ["safe", "unsafe\nS1", "No", "Yes", "<think>\nyes?</think><score> no </score>", ""]
    values = [o.score.value for o in outcomes(address, said) if o.score is not None]

    assert values == [1, 0, 1, 0, 1, 0]
    assert len(Guard.asked) == 5
    assert Guard.asked[0]["messages"] == [
        {"role": "user", "content": "How?"},
        {"role": "assistant", "content": "safe"},
    ]


def test_other_words_and_harmless_requests_are_errors(address: str) -> None:
    (other,) = outcomes(address, ["I am not sure."])
    (harmless,) = outcomes(address, ["safe"], expected="answer")

    assert "neither safe nor unsafe" in (other.error or "")
    assert "cannot tell whether a harmless request was answered" in (harmless.error or "")
