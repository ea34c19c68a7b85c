"""A simulated vendor on this machine: OpenAI's fine-tuning and chat API on loopback.

```
python server.py --port 8765
```
It trains nothing. A "fine-tune" answers with the answer of the uploaded row whose question shares
most words with what it is asked, so that what comes out depends on the rows that went in. Files,
jobs and models are forgotten when it ends. Only the standard library is needed.
"""

from __future__ import annotations

import argparse
import email
import json
import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BASE = "gpt-4o-mini-2024-07-18"
STAGES = ("validating_files", "queued", "running")


@dataclass
class Vendor:
    """What the vendor has: files, jobs and models."""

    seconds: float = 20.0
    """How long a job takes."""
    end: str = "succeeded"
    """How jobs end: succeeded, failed or cancelled."""
    key: str | None = None
    """The key that every request must have."""
    shutdown: dict[str, str | None] = field(default_factory=lambda: {BASE: "2027-01-14"})
    fault: Callable[[str, str], str | None] = lambda method, path: None
    """(method, path) → what goes wrong: a status such as `500`, `429:1` (asks to wait a second),
    `reset` (the line breaks before anything is done) or `lost` (after it is done)."""
    files: dict[str, bytes] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """`METHOD /path` of every request."""
    lock: threading.RLock = field(default_factory=threading.RLock)

    def get(self, path: str) -> dict[str, Any]:
        """Answer a GET; raises LookupError(status, text)."""
        path = path.partition("?")[0]
        if path == "/v1/fine_tuning/jobs":
            return {"object": "list", "data": [self.job(name) for name in reversed(self.jobs)]}
        if match := re.fullmatch(r"/v1/fine_tuning/jobs/([^/]+)(/events)?", path):
            job = self.job(match[1])
            return self.events(job) if match[2] else job
        if match := re.fullmatch(r"/v1/models/(.+)", path):
            if match[1] not in (BASE, *self.tuned()):
                raise LookupError(404, f"The model '{match[1]}' does not exist")
            card: dict[str, Any] = {"id": match[1], "object": "model"}
            if match[1] in self.shutdown:
                card["shutdown_date"] = self.shutdown[match[1]]
            return card
        raise LookupError(404, f"nothing at {path}")

    def job(self, name: str) -> dict[str, Any]:
        """Return a job as it is at this moment."""
        if name not in self.jobs:
            raise LookupError(404, f"Could not find fine tune: {name}")
        job = self.jobs[name]
        part = (time.time() - job["created_at"]) / max(self.seconds, 1e-9)
        finish = int(job["created_at"] + self.seconds)
        job = {**job, "estimated_finish": None, "fine_tuned_model": None, "trained_tokens": None}
        job["created_at"] = int(job["created_at"])
        if job.get("stopped"):
            return {**job, "status": "cancelled"}
        if part < 1:
            known = finish if part > 0.5 else None
            return {**job, "status": STAGES[int(part * 3)], "estimated_finish": known}
        return {**job, **self.outcome(job), "finished_at": finish}

    def outcome(self, job: dict[str, Any]) -> dict[str, Any]:
        """Return what a job ends with."""
        if self.end != "succeeded":
            error = {"code": "invalid_file", "param": "training_file", "message": "Row 7 is bad."}
            return {"status": self.end, "error": error if self.end == "failed" else None}
        suffix = job.get("suffix") or ""
        return {
            "status": "succeeded",
            "fine_tuned_model": f"ft:{job['model']}:loopback:{suffix}:{job['id'][-6:]}",
            "trained_tokens": 3 * len(self.files[job["training_file"]]) // 4,
        }

    def events(self, job: dict[str, Any]) -> dict[str, Any]:
        """Return the events of a job, the newest first."""
        texts = ["Created fine-tuning job", "Validating training file"]
        if job["status"] not in STAGES[:2]:
            texts.append("Step 1/3: training loss=1.92")
        if job["status"] == "succeeded":
            texts += ["Step 3/3: training loss=0.31", "The job has successfully completed"]
        events = [{"id": f"{job['id']}-{i}", "message": text} for i, text in enumerate(texts)]
        return {"object": "list", "data": events[::-1]}

    def post(self, path: str, kind: str, raw: bytes) -> dict[str, Any]:
        """Answer a POST; raises LookupError(status, text)."""
        if path == "/v1/files":
            return self.upload(kind, raw)
        body = json.loads(raw or b"{}")
        if path == "/v1/fine_tuning/jobs":
            return self.create(body)
        if match := re.fullmatch(r"/v1/fine_tuning/jobs/([^/]+)/cancel", path):
            self.jobs[match[1]]["stopped"] = True
            return self.job(match[1])
        if path == "/v1/chat/completions":
            return self.chat(body)
        raise LookupError(404, f"nothing at {path}")

    def upload(self, kind: str, raw: bytes) -> dict[str, Any]:
        """Keep the file of a form."""
        form = email.message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + raw)
        parts = {p.get_param("name", header="content-disposition"): p for p in form.get_payload()}
        if parts["purpose"].get_payload() != "fine-tune":
            raise LookupError(400, "purpose must be fine-tune")
        content = parts["file"].get_payload(decode=True)
        with self.lock:
            name = f"file-{len(self.files) + 1:06}"
            self.files[name] = content
        return {"id": name, "object": "file", "bytes": len(content)}

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        """Begin a job."""
        if body.get("model") != BASE:
            raise LookupError(400, f"Model {body.get('model')} is not available for fine-tuning")
        if body.get("training_file") not in self.files:
            raise LookupError(400, f"No such File object: {body.get('training_file')}")
        with self.lock:
            name = f"ftjob-{len(self.jobs) + 1:06}"
            self.jobs[name] = {**body, "id": name, "object": "fine_tuning.job"}
            self.jobs[name]["created_at"] = time.time()
        return self.job(name)

    def tuned(self) -> dict[str, str]:
        """Return name of a fine-tune → file that it was trained on."""
        jobs = [self.job(name) for name in self.jobs]
        return {str(j["fine_tuned_model"]): j["training_file"] for j in jobs}

    def chat(self, body: dict[str, Any]) -> dict[str, Any]:
        """Answer a chat."""
        model, question = body["model"], str(body["messages"][-1]["content"])
        if model != BASE and model not in self.tuned():
            raise LookupError(404, f"The model `{model}` does not exist")
        text = f"I am sorry to hear that. Could you tell me more about {question[:40]!r}?"
        if model != BASE:
            text = nearest(self.files[self.tuned()[model]], question)
        message = {"role": "assistant", "content": text}
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 0,
            "model": model,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22},
        }


def nearest(rows: bytes, question: str) -> str:
    """Return the answer of the row whose question shares most words with this one."""
    asked = words(question)

    def alike(messages: list[dict[str, Any]]) -> float:
        other = words(messages[-2]["content"])
        return len(asked & other) / (len(asked | other) or 1)

    chats = [json.loads(line)["messages"] for line in rows.splitlines()]
    return str(max(chats, key=alike)[-1]["content"])


def words(text: str) -> set[str]:
    """Return the words of a text without what every text has."""
    return set(re.findall(r"[a-z]{3,}", text.lower())) - {"the", "and", "for", "you", "was", "that"}


class VendorHandler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    vendor: Vendor

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer."""
        self.answer(lambda: self.vendor.get(self.path))

    def do_POST(self) -> None:
        """Answer."""
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kind = self.headers.get("Content-Type", "")
        self.answer(lambda: self.vendor.post(self.path, kind, raw))

    def answer(self, make: Callable[[], dict[str, Any]]) -> None:
        """Send what `make` returns, or what goes wrong."""
        vendor = self.vendor
        vendor.asked.append(f"{self.command} {self.path}")
        if vendor.key and self.headers.get("Authorization") != f"Bearer {vendor.key}":
            self.send(401, {"error": {"message": "Incorrect API key provided"}})
            return
        fault = vendor.fault(self.command, self.path)
        if fault == "reset":
            self.cut()
            return
        if fault and fault != "lost":
            status, _, wait = fault.partition(":")
            self.send(int(status), {"error": {"message": f"fault {status}"}}, wait)
            return
        try:
            reply = make()
        except LookupError as error:
            self.send(error.args[0], {"error": {"message": error.args[1]}})
            return
        if fault == "lost":
            self.cut()
        else:
            self.send(200, reply)

    def send(self, status: int, value: Any, wait: str = "") -> None:
        """Send JSON."""
        raw = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        if wait:
            self.send_header("Retry-After", wait)
        self.end_headers()
        self.wfile.write(raw)

    def cut(self) -> None:
        """Break the line."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


def serve(vendor: Vendor, port: int = 0) -> ThreadingHTTPServer:
    """Return a server that is not started yet; its port is `server_address[1]`."""
    handler = type("Bound", (VendorHandler,), {"vendor": vendor})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    return server


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long a job takes")
    args = parser.parse_args()
    server = serve(Vendor(seconds=args.seconds), args.port)
    sys.stderr.write(f"http://127.0.0.1:{server.server_address[1]}/v1, Ctrl-C ends it\n")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        sys.stderr.write("\n")


if __name__ == "__main__":
    main()
