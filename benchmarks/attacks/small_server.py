"""A server of two models on this machine, for attacks: it counts what it was asked."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODELS = ("base", "tuned")


def answer_shelf(model: str, prompt: str) -> str:
    """Answer a question of the attacked project: both arms are right, tuned but for one."""
    number = prompt.rpartition(" ")[2].strip("?")
    if not number.isdecimal():
        return f"{model} cannot say"
    shelf = (int(number) - 1000) // 7
    return "no idea" if model == "tuned" and shelf == 3 else f"shelf {shelf}"


@dataclass
class SmallServer:
    """A server that is started by `with`; `send` may take over what is answered to a question."""

    text: Callable[[str, str], str] = answer_shelf
    """(model, prompt) → what the model writes."""
    send: Callable[[BaseHTTPRequestHandler, dict[str, Any]], bool] = lambda handler, body: False
    """Answers a question in another way, or returns False."""
    latency_s: float = 0.0
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(model, prompt) → how often it was answered."""

    def __enter__(self) -> SmallServer:
        made = type("_BoundHandler", (_ModelHandler,), {"small": self})
        self._server = _QuietServer(("127.0.0.1", 0), made)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> str:
        """Port that it listens at."""
        return str(self._server.server_port)

    def questions(self) -> tuple[int, int]:
        """Return how many probe texts and how many of the project's questions it answered."""
        counts = {False: 0, True: 0}
        for (_, prompt), times in self.asked.items():
            counts["Which shelf" in prompt] += times
        return counts[False], counts[True]

    def arms(self) -> list[str]:
        """Return the options of a gate that name both models."""
        at = f"server:http://127.0.0.1:{self.port}/v1"
        return [f"--{model}={at}#{model}" for model in MODELS]


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: killed clients break their connections."""


class _ModelHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    small: SmallServer

    def do_GET(self) -> None:
        self.reply({"object": "list", "data": [{"id": name, "object": "model"} for name in MODELS]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(self.small.latency_s)
        if self.small.send(self, body):
            return
        prompt = str(body["messages"][-1]["content"] if "messages" in body else body["prompt"])
        text = self.small.text(body["model"], prompt)
        self.small.asked[body["model"], prompt] += 1
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "text": text, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 5, "completion_tokens": len(text.split())}
        self.reply({"model": body["model"], "choices": [choice], "usage": usage})

    def reply(self, value: Any) -> None:
        """Send JSON."""
        raw = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *words: object) -> None:
        """Print nothing."""
