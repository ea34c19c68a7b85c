"""A webhook on this machine: what it was sent, and what it answers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


@dataclass
class Webhook:
    """A receiver, and the requests that reached it."""

    url: str = ""
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    """Path, headers with lower-case names, and body."""
    statuses: list[int] = field(default_factory=list)
    """Its first replies; afterwards it answers 204."""
    location: str = ""
    """Where a reply of 3xx leads."""
    delay_s: float = 0.0

    @property
    def bodies(self) -> list[Any]:
        """The bodies, read as JSON."""
        return [json.loads(body) for _, _, body in self.requests]


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    """Return a webhook that is listening."""
    state = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            state.requests.append((self.path, headers, body))
            time.sleep(state.delay_s)
            status = state.statuses.pop(0) if state.statuses else 204
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", state.location)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/hook/secret-token"
    yield state
    server.shutdown()
    server.server_close()
