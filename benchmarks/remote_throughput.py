"""What asking over a network loses: `python -m benchmarks.remote_throughput`.

A server on this machine answers after 200 ms, however many ask. Both arms of a suite are asked,
with everything a run does: plan, requests, retries, the store's durable writes. The ideal is the
time in which `concurrency` questions are in progress at every moment; promised is 1.3 times that.
With `--faults` every tenth request is refused with 429 or 500 and has to be asked again. With
`--backend litellm` the same server is asked through litellm, whose own work counts.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tunegate.harness import suite as suites
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.engine.plan import make_plan
from tunegate.harness.engine.progress import ProgressReporter
from tunegate.harness.engine.runner import Runner
from tunegate.harness.model import PoolLimits
from tunegate.harness.models.open_arms import open_arms

PROMISE = 1.3
LATENCY_S = 0.2
SUITE = """\
name = "far"
cases = "cases.jsonl"
[[metrics]]
use = "exact_match"
[[gates]]
metric = "exact_match"
tolerance = 0.1
"""


class ReplyHandler(BaseHTTPRequestHandler):
    """Answers after a while, or with a fault where one is asked for."""

    protocol_version = "HTTP/1.1"
    faults = False
    count = 0
    lock = threading.Lock()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """List the models."""
        cards = [{"id": name} for name in ("base", "tuned")]
        self._send(200 if self.path == "/v1/models" else 404, {"data": cards})

    def do_POST(self) -> None:
        """Answer with the model's name."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with ReplyHandler.lock:
            ReplyHandler.count += 1
            number = ReplyHandler.count
        time.sleep(LATENCY_S)
        if ReplyHandler.faults and number % 10 == 0:
            self._send(500 if number % 20 else 429, {"error": {"message": "busy"}})
            return
        message = {"role": "assistant", "content": str(body["model"])}
        self._send(200, {"choices": [{"message": message, "finish_reason": "stop"}]})

    def _send(self, status: int, value: Any) -> None:
        raw = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        if status == 429:
            self.send_header("Retry-After", "0.1")
        self.end_headers()
        self.wfile.write(raw)


class Server(ThreadingHTTPServer):
    """Takes as many connections as come."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256


@contextmanager
def serving() -> Iterator[str]:
    """Yield the address of a server."""
    server = Server(("127.0.0.1", 0), ReplyHandler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()


def spec(backend: str, url: str, arm: str) -> str:
    """Return the spec by which a backend finds the server."""
    os.environ["HOSTED_VLLM_API_BASE"] = url
    return f"litellm:hosted_vllm/{arm}" if backend == "litellm" else f"server:{url}#{arm}"


def seconds(specs: Mapping[str, str], cases: int, concurrency: int, folder: Path) -> float:
    """Return how long both arms take to answer all cases."""
    folder.mkdir()
    lines = (json.dumps({"prompt": f"question {i}", "expected": "tuned"}) for i in range(cases))
    (folder / "cases.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (folder / "suite.toml").write_text(SUITE, encoding="utf-8")
    arms = open_arms(specs, limits=PoolLimits(concurrency=concurrency))
    plan = make_plan([suites.load_suite(folder / "suite.toml")], arms, seed=0)
    store = AnswerCache(folder / "store.sqlite")
    began = time.perf_counter()
    Runner(plan, arms, store, ProgressReporter(1.0, stream=io.StringIO())).run()
    took = time.perf_counter() - began
    answered = len(store.answered(cell.key for cell in plan.cells))
    store.close()
    if answered != 2 * cases:
        raise SystemExit(f"only {answered} of {2 * cases} questions were answered")
    return took


def main() -> None:
    """Print a row a concurrency; fail if one is above the promise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=400)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--backend", choices=("server", "litellm"), default="server")
    parser.add_argument("--faults", action="store_true", help="refuse every tenth request once")
    options = parser.parse_args()
    ReplyHandler.faults = options.faults
    worst = 0.0
    print("concurrency  questions  seconds  ideal  ratio")
    with serving() as url, tempfile.TemporaryDirectory() as folder:
        specs = {arm: spec(options.backend, url, arm) for arm in ("base", "tuned")}
        for concurrency in options.concurrency:
            took = seconds(specs, options.cases, concurrency, Path(folder) / str(concurrency))
            ideal = 2 * math.ceil(options.cases / concurrency) * LATENCY_S
            worst = max(worst, took / ideal)
            row = f"{concurrency:11}  {2 * options.cases:9}  {took:7.2f}  {ideal:5.2f}"
            print(f"{row}  {took / ideal:5.2f}")
    if worst > PROMISE and not options.faults:
        raise SystemExit(f"{worst:.2f} times the ideal; promised are {PROMISE}")


if __name__ == "__main__":
    main()
