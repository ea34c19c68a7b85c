"""The local server of `judge label --serve`: who may ask, what it takes, and what it keeps."""

from __future__ import annotations

import json
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tunegate.harness.cli import app
from tunegate.harness.cli._label_server import LARGEST_BODY, ServedSheet, serve_sheet
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.run_folder import Run

CHOICES = ("left", "tie", "right")
ANNA = {"by": "Anna", "row": 0, "choice": "left"}

RUBRIC = """\
name = "civil"
cases = "cases.jsonl"
[[metrics]]
use = "rubric"
name = "apology"
criteria = "Apologises."
[[gates]]
metric = "apology"
gain = 0.1
"""


class Kept:
    """Where the choices of a sheet of three rows go."""

    def __init__(self) -> None:
        self.by: dict[str, dict[int, Any]] = {}

    def read(self, by: str) -> dict[int, Any]:
        """Return a reviewer's choices."""
        return self.by.get(by, {})

    def keep(self, by: str, row: int, choice: Any) -> None:
        """Keep a choice; a full disk refuses the last row."""
        if row == 2:
            raise OSError(28, "No space left on device")
        self.by.setdefault(by, {})[row] = choice


class Client:
    """A client of the server, which knows the whole address."""

    def __init__(self, address: str, kept: Kept) -> None:
        self.place, self.token = address.removeprefix("http://").rstrip("/").split("/")
        self.kept = kept

    def ask(
        self,
        name: str = "",
        body: Any = None,
        headers: dict[str, str | None] | None = None,
        method: str = "POST",
    ) -> tuple[int, Any]:
        """Return status and answer; a body is sent as JSON, a header of None is left out."""
        text = None
        sent: dict[str, str | None] = {"Host": self.place}
        if body is not None:
            text = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent |= {"Content-Type": "application/json", "Content-Length": str(len(text))}
        connection = HTTPConnection(self.place, timeout=20)
        connection.putrequest(
            "GET" if body is None else method,
            name if name.startswith("/") else f"/{self.token}/{name}",
            skip_host=True,
        )
        for header, value in (sent | (headers or {})).items():
            if value is not None:
                connection.putheader(header, value)
        connection.endheaders(text)
        reply = connection.getresponse()
        answer = reply.read().decode()
        connection.close()
        return reply.status, json.loads(answer) if answer.startswith("{") else answer


@pytest.fixture(name="client")
def _client() -> Iterator[Client]:
    kept = Kept()
    sheet = ServedSheet("<p>the page</p>", 3, CHOICES, kept.read, kept.keep)
    with serve_sheet(sheet) as address:
        yield Client(address, kept)


def test_the_address_shows_the_page(client: Client) -> None:
    assert client.ask() == (200, "<p>the page</p>")


def test_two_reviewers_have_their_own_choices(client: Client) -> None:
    for vote in (ANNA, {**ANNA, "by": "Ben Ö.", "choice": "tie"}, {**ANNA, "row": 1}):
        assert client.ask("choice", vote) == (200, {"saved": True})

    assert client.ask("choices?by=Anna") == (200, {"0": "left", "1": "left"})
    assert client.ask("choices?by=Ben%20%C3%96.") == (200, {"0": "tie"})


@pytest.mark.parametrize(
    "name", ["/", "/choice", "/favicon.ico", "/wrong/", "/wrong/choice", "//x/", "/%00/"]
)
@pytest.mark.parametrize("body", [None, ANNA])
def test_without_the_token_nothing_is_shown_or_kept(client: Client, name: str, body: Any) -> None:
    status, answer = client.ask(name, body)

    assert status == 403
    assert client.token not in str(answer)
    assert client.kept.by == {}


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": None},
        {"Host": "localhost:80"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1"},
    ],
)
def test_another_host_or_origin_is_refused(client: Client, headers: dict[str, str | None]) -> None:
    """A name that a web site points at this machine (DNS rebinding) comes as another Host."""
    assert client.ask("choice", ANNA, headers)[0] == 403
    assert client.ask(headers=headers)[0] == 403
    assert client.kept.by == {}


def test_its_own_origin_is_taken(client: Client) -> None:
    assert client.ask("choice", ANNA, {"Origin": f"http://{client.place}"})[0] == 200


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (413, {"Content-Length": str(LARGEST_BODY + 1)}),
        (413, {"Content-Length": "0" * 20 + "70000"}),
        (413, {"Content-Length": "-1"}),
        (413, {"Content-Length": "²"}),
        (413, {"Content-Length": None, "Transfer-Encoding": "chunked"}),
        (415, {"Content-Type": "text/plain"}),
        (415, {"Content-Type": "application/x-www-form-urlencoded"}),
        (415, {"Content-Type": None}),
    ],
)
def test_a_body_of_another_size_or_type_is_refused(
    client: Client, status: int, headers: dict[str, str | None]
) -> None:
    assert client.ask("choice", b"", headers)[0] == status
    assert client.ask("choice", ANNA)[0] == 200


@pytest.mark.parametrize(
    ("word", "body"),
    [
        ("JSON", b"{"),
        ("JSON", b"[" * 60_000),
        ("JSON", b"\xff\xfe"),
        ("JSON", b'{"row": ' + b"1" * 5000 + b"}"),
        ("body", []),
        ("body", {**ANNA, "arm": "tuned"}),
        ("body", {"by": "Anna"}),
        ("row", {**ANNA, "row": 3}),
        ("row", {**ANNA, "row": -1}),
        ("row", {**ANNA, "row": True}),
        ("row", {**ANNA, "row": "0"}),
        ("row", {**ANNA, "row": None}),
        ("choice", {**ANNA, "choice": "base"}),
        ("choice", {**ANNA, "choice": ["left"]}),
        ("choice", {**ANNA, "choice": 0}),
        ("by", {**ANNA, "by": ""}),
        ("by", {**ANNA, "by": " Anna"}),
        ("by", {**ANNA, "by": "An\nna"}),
        ("by", {**ANNA, "by": "An\u202ena"}),
        ("by", {**ANNA, "by": "\ud800"}),
        ("by", {**ANNA, "by": "a" * 61}),
        ("by", {**ANNA, "by": {"name": "Anna"}}),
    ],
)
def test_a_hostile_body_is_refused_in_one_line(client: Client, word: str, body: Any) -> None:
    """The line names what is wrong, and nothing is kept."""
    status, answer = client.ask("choice", body)

    assert status == 400
    assert word in answer["error"]
    assert "\n" not in answer["error"]
    assert client.kept.by == {}


def test_a_choice_that_cannot_be_saved_is_an_error(client: Client) -> None:
    status, answer = client.ask("choice", {**ANNA, "row": 2})

    assert status == 500
    assert "No space left" in answer["error"]


def test_unknown_names_and_methods_are_refused(client: Client) -> None:
    assert client.ask("../choice")[0] == 404
    assert client.ask("choices")[0] == 400
    assert client.ask("", ANNA)[0] == 404
    assert client.ask("choice", ANNA, method="PUT")[0] == 501


def test_no_other_page_may_show_or_keep_it(client: Client) -> None:
    connection = HTTPConnection(client.place, timeout=20)
    connection.request("GET", f"/{client.token}/")
    headers = connection.getresponse().headers

    assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Access-Control-Allow-Origin"] is None


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is an address on Linux only")
def test_it_listens_on_this_machine_only(client: Client) -> None:
    """Another address of the same port is free, which it is not for one who listens on all."""
    host, port = client.place.split(":")
    assert host == "127.0.0.1"
    socket.create_server(("127.0.0.2", int(port))).close()


def test_a_busy_port_is_one_line(client: Client) -> None:
    sheet = ServedSheet("", 1, CHOICES, client.kept.read, client.kept.keep)
    port = int(client.place.split(":")[1])
    busy = pytest.raises(UsageError, match=rf"--port {port}: .*; choose another")
    with busy, serve_sheet(sheet, port):
        raise AssertionError("it is busy")


def test_each_start_has_its_own_token_and_leaves_no_thread() -> None:
    """A connection that says nothing, such as a browser opens ahead, does not hold the end up."""
    kept, tokens = Kept(), set()
    before = set(threading.enumerate())
    for _ in range(2):
        with serve_sheet(ServedSheet("", 1, CHOICES, kept.read, kept.keep)) as address:
            client = Client(address, kept)
            host, port = client.place.split(":")
            silent = socket.create_connection((host, int(port)))
            assert client.ask()[0] == 200
            tokens.add(client.token)
        assert set(threading.enumerate()) == before
        silent.close()

    assert len(tokens) == 2
    assert min(map(len, tokens)) >= 32


class Program:
    """`tunegate judge label RUN --serve` in a process of its own."""

    def __init__(self, project: Any, *options: str) -> None:
        self.process = project.start("judge", "label", project.run, "--serve", *options)
        address = next(line for line in self.process.stdout if line.startswith("http://"))
        self.client = Client(address.strip(), Kept())

    def end(self, number: int) -> str:
        """End it with a signal; return what it has printed since."""
        self.process.send_signal(number)
        out: str = self.process.communicate(timeout=60)[0]
        assert self.process.returncode == (0 if number != signal.SIGKILL else -number)
        return out


@pytest.fixture(name="judged")
def _judged(project: Any) -> Any:
    """Return a project with a judged run of 12 cases: base never says yes, tuned always."""
    cases = [{"id": f"c{i:03}", "prompt": f"q{i}", "expected": "yes"} for i in range(12)]
    project.raw_suite(RUBRIC, cases, "civil")
    reply = {"contains": "yes\n<</completion", "reply": {"score": 5}}
    text = json.dumps({"rules": [reply], "default": {"score": 1}})
    Path("judge.json").write_text(text, encoding="utf-8")
    project.gate(*project.models(base=0, tuned=12), "--gate-judge=scripted:judge.json")
    return project


def test_labels_survive_a_kill_and_are_read_at_the_end(judged: Any) -> None:
    """5 of 24 answers, killed; 19 more, Ctrl-C: 12 cases have labels."""
    first = Program(judged)
    page = first.client.ask()[1]
    rows = json.loads(page.split('id="data">')[1].split("</script>")[0])["rows"]
    right = [int(row["completion"] == "yes") for row in rows]
    for row in range(5):
        label = {"by": "Anna", "row": row, "choice": right[row]}
        assert first.client.ask("choice", label)[0] == 200
    first.end(signal.SIGKILL)

    second = Program(judged)
    before = second.client.ask("choices?by=Ben")[1]
    assert before == {str(row): right[row] for row in range(5)}
    for row in range(5, 24):
        label = {"by": "Ben", "row": row, "choice": right[row]}
        assert second.client.ask("choice", label)[0] == 200
    out = second.end(signal.SIGINT)

    assert "24 of 24 answers have labels" in out
    labels = Run.load(judged.run).labels
    assert len(labels) == 24
    assert sorted({x.by for x in labels if x.by}) == ["Anna", "Ben"]
    assert {(x.arm, x.label) for x in labels} == {("base", 0.0), ("tuned", 1.0)}


def test_an_end_without_labels_changes_nothing(judged: Any) -> None:
    before = (judged.run / "verdict.json").read_bytes()
    assert "0 of 24 answers have labels" in Program(judged).end(signal.SIGTERM)
    assert (judged.run / "verdict.json").read_bytes() == before


def test_labels_of_another_sheet_are_not_overwritten(judged: Any) -> None:
    """Killed after a label on a sheet of all cases; a sheet of one case is another one."""
    first = Program(judged)
    first.client.ask("choice", {"by": "Anna", "row": 0, "choice": 1})
    first.end(signal.SIGKILL)
    file = judged.run / "label-apology.jsonl"
    before = file.read_bytes()
    command = ["judge", "label", str(judged.run), "--serve", "--n", "1"]
    with pytest.raises(UsageError, match="has labels that are not of this sheet"):
        CliRunner().invoke(app, command, catch_exceptions=False)
    assert file.read_bytes() == before
