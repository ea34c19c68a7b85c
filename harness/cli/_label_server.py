"""The local server of `tunegate judge label --serve`: one page that saves each choice at once.

It listens on the loopback interface only, and the address has a random token in it. Another Host
header is refused, so that no web site reaches it under a name of its own (DNS rebinding), and so is
another Origin.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from tunegate.harness.engine.interrupts import stop_on_signal
from tunegate.harness.judges.calibrating.labelling import LabelSheetRow, sheet_lines
from tunegate.harness.records.errors import UsageError, refuse_unwritable
from tunegate.harness.records.files import write_atomic
from tunegate.harness.records.jsonl import read_records

HOST = "127.0.0.1"
LARGEST_BODY = 65_536
"""Bytes of a request."""
LONGEST_NAME = 60
"""Characters of a reviewer's name, as on the page."""
IDLE_S = 10
"""Seconds that a connection may be silent."""
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",  # which the page itself cannot forbid
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

Choice = str | float


@dataclass(frozen=True)
class ServedSheet:
    """A sheet, and where its choices are kept."""

    page: str
    """HTML."""
    n_rows: int
    choices: Sequence[Choice]
    read: Callable[[str], Mapping[int, Choice]]
    """Returns what a reviewer has chosen: row → choice."""
    keep: Callable[[str, int, Choice], None]
    """Saves a reviewer's choice on a row; called by one thread at a time."""


class _Refused(Exception):
    """A request that is refused: HTTP status and one line."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class _SheetListener(ThreadingHTTPServer):
    daemon_threads = False  # `server_close` waits for them
    sheet: ServedSheet
    token: str

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(address, _SheetHandler)
        self.turn = threading.Lock()
        self.connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def stop(self) -> None:
        """End; a request that is being answered is finished, a silent connection is cut."""
        self.shutdown()
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: the client has gone."""


@contextmanager
def serve_sheet(sheet: ServedSheet, port: int = 0) -> Iterator[str]:
    """Serve a sheet while this is open; yield its address. Port 0 takes a free one."""
    try:
        listener = _SheetListener((HOST, port))
    except OSError as error:
        raise UsageError(f"--port {port}: {error.strerror}; choose another") from error
    listener.sheet, listener.token = sheet, secrets.token_urlsafe(24)
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.1})
    thread.start()
    try:
        yield f"http://{HOST}:{listener.server_port}/{listener.token}/"
    finally:
        listener.stop()
        thread.join()


def serve_until_stopped(sheet: ServedSheet, port: int) -> None:
    """Serve a sheet, print its address, and wait for Ctrl-C or SIGTERM."""
    with stop_on_signal() as stop, serve_sheet(sheet, port) as address:
        print(
            f"{address}\nOpen it in a browser. Each choice is saved at once; Ctrl-C ends it.",
            flush=True,
        )
        while not stop.requested:
            time.sleep(0.1)


class LabelFile:
    """The file of a label sheet, written again with each label."""

    def __init__(self, path: Path, rows: Sequence[LabelSheetRow], done: Set[str]) -> None:
        """Take over the labels that the file has of these rows.

        Args:
            path: The file; it need not exist.
            rows: Rows of the sheet.
            done: Ids of cases whose labels are in the run.

        Raises:
            UsageError: the file is damaged, or has labels of other rows.
        """
        self.path = path
        labelled = [row for row in read_records(path, LabelSheetRow) if row.label is not None]
        known = {row.without_label(): row for row in labelled}
        self.rows = [known.pop(row, row) for row in rows]
        if not done >= {row.id for row in known}:
            raise UsageError(
                f"{path}: has labels that are not of this sheet; read them first with "
                f"--read {path}, or choose another file with --out FILE"
            )

    def read(self, by: str) -> dict[int, Choice]:
        """Return the labels, whoever gave them: reviewers share the work."""
        return {at: row.label for at, row in enumerate(self.rows) if row.label is not None}

    def keep(self, by: str, row: int, choice: Choice) -> None:
        """Label a row."""
        rows = list(self.rows)
        rows[row] = rows[row].model_copy(update={"label": float(choice), "by": by})
        with refuse_unwritable(self.path, "choose another with --out FILE"):
            write_atomic(self.path, sheet_lines(rows))
        self.rows = rows


class _SheetHandler(BaseHTTPRequestHandler):
    """One request: HTTP/1.0 closes the connection after it."""

    timeout = IDLE_S
    server: _SheetListener
    server_version, sys_version = "tunegate", ""

    def do_GET(self) -> None:
        """Send the page, or what a reviewer has chosen before."""
        self._answer({"": self._send_page, "choices": self._send_choices})

    def do_POST(self) -> None:
        """Keep a choice."""
        self._answer({"choice": self._keep})

    def _answer(self, actions: Mapping[str, Callable[[str], None]]) -> None:
        try:
            path, _, query = self.path.partition("?")
            token, _, name = path.removeprefix("/").partition("/")
            self._refuse_strangers(token)
            if name not in actions:
                raise _Refused(404, f"{self.command} {name}: not found")
            actions[name](query)
        except _Refused as error:
            self.send_error(error.status, str(error))
        except Exception as error:  # fails this request only
            self.send_error(500, str(error) or type(error).__name__)

    def _refuse_strangers(self, token: str) -> None:
        place = f"{HOST}:{self.server.server_port}"
        if self.headers.get_all("Host") != [place]:
            raise _Refused(403, f"Host: must be {place}")
        if self.headers.get_all("Origin", [f"http://{place}"]) != [f"http://{place}"]:
            raise _Refused(403, f"Origin: must be http://{place}")
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            raise _Refused(403, "use the whole address that `tunegate judge label --serve` printed")

    def _send_page(self, query: str) -> None:
        self._send(200, "text/html; charset=utf-8", self.server.sheet.page)

    def _send_choices(self, query: str) -> None:
        by = _reviewer((parse_qs(query).get("by") or [""])[0])
        with self.server.turn:
            chosen = self.server.sheet.read(by)
        self._send_json(200, dict(chosen))

    def _keep(self, query: str) -> None:
        body = self._read_body()
        if not isinstance(body, dict) or set(body) != {"by", "row", "choice"}:
            raise _Refused(400, "the body must be an object of by, row and choice")
        sheet, row, choice = self.server.sheet, body["row"], body["choice"]
        by = _reviewer(body["by"])
        if type(row) is not int or not 0 <= row < sheet.n_rows:
            raise _Refused(400, f"row: must be 0 to {sheet.n_rows - 1}")
        if isinstance(choice, bool) or choice not in sheet.choices:
            raise _Refused(400, f"choice: must be one of {', '.join(map(str, sheet.choices))}")
        with self.server.turn:
            sheet.keep(by, row, choice)
        self._send_json(200, {"saved": True})

    def _read_body(self) -> Any:
        if self.headers.get_content_type() != "application/json":
            raise _Refused(415, "Content-Type: must be application/json")
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"\d{1,6}", length, re.ASCII) or int(length) > LARGEST_BODY:
            raise _Refused(413, f"Content-Length: must be a number up to {LARGEST_BODY}")
        try:
            return json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            raise _Refused(400, "the body is not JSON") from None

    def _send_json(self, status: int, value: Any) -> None:
        self._send(status, "application/json", json.dumps(value))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Send one line."""
        with suppress(OSError):
            self._send_json(code, {"error": " ".join((message or "refused").split())})

    def _send(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": kind}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


def _reviewer(name: Any) -> str:
    """Return a name that may be stored and printed."""
    fits = isinstance(name, str) and 0 < len(name) <= LONGEST_NAME
    if not fits or not name.isprintable() or name != name.strip():
        raise _Refused(400, f"by: must be a name of up to {LONGEST_NAME} visible characters")
    return str(name)
