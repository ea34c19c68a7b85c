"""A collector of OTLP over HTTP on this machine, which writes each request as a line of JSON.

It is imported by the scripts that drive client libraries, in environments without anything of ours.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class TraceCollector(BaseHTTPRequestHandler):
    """Takes requests in protobuf or JSON, whole or in chunks."""

    into: Path

    def do_POST(self) -> None:
        """Keep a request to export spans; answer any other, and forget it."""
        body = self._body()
        if self.path.endswith("/traces"):
            is_json = "json" in self.headers.get("Content-Type", "")
            told = json.loads(body) if is_json else _of_protobuf(body)
            with self.into.open("a", encoding="utf-8") as file:
                file.write(json.dumps(told, ensure_ascii=False) + "\n")
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def _body(self) -> bytes:
        if "Content-Length" in self.headers:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        else:
            body = b"".join(self._chunks())
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _of_protobuf(body: bytes) -> Any:
    from google.protobuf.json_format import MessageToDict
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    return MessageToDict(ExportTraceServiceRequest.FromString(body))


@contextlib.contextmanager
def collect(folder: Path) -> Iterator[str]:
    """Yield the address of a collector that writes into a folder's traces.jsonl."""
    handler = type("BoundCollector", (TraceCollector,), {"into": folder / "traces.jsonl"})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
