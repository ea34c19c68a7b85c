"""A scripted OpenAI-compatible server on this machine: what it answers, and what goes wrong.

A request with `stream` is answered in pieces, in Anthropic's form where the reply is one of its
messages. It can be given faults by the number of the request, killed in the middle of a run with
all its connections, and started again on the same port. Nothing but the standard library is used.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests import streamed_replies

Reply = Callable[[str, str, dict[str, Any]], dict[str, Any]]
"""(model, path, body) → the JSON that is answered; raises LookupError(status, text)."""


def completion(text: str, **more: Any) -> dict[str, Any]:
    """Return the reply of `/completions` and `/chat/completions` at once, with one choice."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "text": text, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 5, "completion_tokens": len(text.split())}
    return {"object": "completion", "choices": [{**choice, **more}], "usage": usage}


def prompt_of(body: Mapping[str, Any]) -> str:
    """Return what was asked: the prompt, or the last message."""
    return str(body["messages"][-1]["content"] if "messages" in body else body["prompt"])


@dataclass
class FakeServer:
    """One server; `with` starts and ends it."""

    reply: Reply = lambda model, path, body: completion(f"{model}: {prompt_of(body)}")
    models: dict[str, dict[str, Any]] = field(default_factory=lambda: {"base": {}, "tuned": {}})
    """Model name → what its card says beside the name (`root`, `parent`)."""
    faults: Callable[[int], str | None] = lambda number: None
    """Number of the POST, from 0 → what goes wrong with it."""
    latency_s: float = 0.0
    key: str | None = None
    """The key that every request must have."""
    pages: dict[str, Any] = field(default_factory=dict)
    """Path → what a GET of it answers, beside `/v1/models`."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    """Bodies of the requests that were answered."""
    posts: int = 0
    busiest: int = 0
    """The most requests that were under way at the same time."""
    port: int = 0
    released: threading.Event = field(default_factory=threading.Event)
    """Ends what hangs."""

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self.busy = 0
        self.running: _Server | None = None

    @property
    def url(self) -> str:
        """Address for a spec."""
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> FakeServer:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        self.released.clear()
        self.running = _Server(("127.0.0.1", self.port), self)
        self.port = self.running.server_address[1]
        threading.Thread(target=self.running.serve_forever, args=(0.01,), daemon=True).start()

    def kill(self) -> None:
        """Go away as a killed process does: all connections are cut."""
        self.released.set()
        server, self.running = self.running, None
        if server is not None:
            server.shutdown()
            server.server_close()
            server.cut()

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the reply to a request.

        Raises:
            LookupError: (status, text) of a refusal.
        """
        model = str(body.get("model"))
        if model not in self.models:
            raise LookupError(404, f"The model `{model}` does not exist.")
        if self.latency_s:
            time.sleep(self.latency_s)
        return {"model": model, **self.reply(model, path, body)}

    def cards(self) -> dict[str, Any]:
        """Return what `/v1/models` lists."""
        cards = [{"id": n, "object": "model", **card} for n, card in self.models.items()]
        return {"object": "list", "data": cards}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], fake: FakeServer) -> None:
        self.fake = fake
        self.connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A broken line is what these tests are about."""

    def cut(self) -> None:
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        fake = self.server.fake
        if not self._may():
            return
        path = self.path.partition("?")[0]
        if path == "/v1/models":
            self._send(200, fake.cards())
        elif path in fake.pages:
            page = fake.pages[path]
            self._send(200, page, kind="text/html" if isinstance(page, str) else "application/json")
        else:
            self._send(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        fake = self.server.fake
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self._may():
            return
        with fake.lock:
            number, fake.posts = fake.posts, fake.posts + 1
            fake.busy += 1
            fake.busiest = max(fake.busiest, fake.busy)
        try:
            fault = fake.faults(number)
            if fault is not None:
                self._fail(fault)
                return
            try:
                reply = fake.answer(self.path, body)
            except LookupError as error:
                self._send(error.args[0], {"error": {"message": error.args[1]}})
                return
            with fake.lock:
                fake.asked.append(body)
            try:
                if body.get("stream"):
                    self._stream(reply, usage="stream_options" in body)
                else:
                    self._send(200, reply)
            except OSError:  # the line was cut: nobody has the answer
                with fake.lock:
                    fake.asked.remove(body)
                raise
        finally:
            with fake.lock:
                fake.busy -= 1

    def _may(self) -> bool:
        """Answer 401 unless the key is the right one; as some servers do, repeat it."""
        key, given = self.server.fake.key, self.headers.get("Authorization", "")
        if key is None or given == f"Bearer {key}":
            return True
        self._send(401, {"error": {"message": f"Incorrect API key provided: {given[7:]}"}})
        return False

    def _send(
        self, status: int, value: Any, *, kind: str = "application/json", **more: str
    ) -> None:
        raw = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(raw)))
        for name, text in more.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        self.wfile.write(raw)

    def _stream(self, reply: dict[str, Any], *, usage: bool) -> None:
        """Send a reply in pieces; as nothing tells its length, the connection ends with it."""
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for event in streamed_replies.events(reply, usage=usage):
            self.wfile.write(event.encode())

    def _fail(self, fault: str) -> None:
        name, _, detail = fault.partition(":")
        if name.isdecimal():
            more = {"Retry_After": detail} if detail else {}
            self._send(int(name), {"error": {"message": f"fault {name}"}}, **more)
        elif name == "html":
            self._send(200, "<html><title>Welcome to nginx!</title></html>", kind="text/html")
        elif name == "array":
            self._send(200, ["no", "object"])
        elif name == "empty":
            self._send(200, {})
        elif name == "redirect":
            self._send(307, {}, Location=detail)
        else:
            self._break(name)

    def _break(self, name: str) -> None:
        """Leave the reply unfinished: truncated, one byte at a time, silent, or cut."""
        self.close_connection = True
        if name == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return
        if name in ("truncated", "drip"):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"choices": [{"te')
            self.wfile.flush()
        while name != "truncated" and not self.server.fake.released.wait(0.1):
            if name == "drip":
                self.wfile.write(b" ")
                self.wfile.flush()


@pytest.fixture
def fake_server() -> Iterator[Callable[..., FakeServer]]:
    """Start fake servers, and end them with the test."""
    started: list[FakeServer] = []

    def start(**settings: Any) -> FakeServer:
        server = FakeServer(**settings)
        server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.kill()
