"""Records what NeMo Evaluator writes, into `tests/results/recorded/nemo_evaluator/`.

    python tools/recordings/record_nemo_evaluator.py

Run it where NeMo Evaluator is installed (0.4.0, from its repository, wrote the files; Python 3.12).
`nel eval run` asks a stand-in server; each problem is asked twice. The server refuses one request
of tuned with 400, and the benchmark wants a judge for the answer 9 where none is configured.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

RECORDED = Path(__file__).parents[2] / "tests/results/recorded/nemo_evaluator"
QUESTIONS = {"2 + 2?": "4", "3 + 5?": "8", "6 + 3?": "9", "7 + 7?": "14"}
WRONG = {"base": ("3 + 5?", "6 + 3?"), "tuned": ("7 + 7?",)}
REFUSED = {"tuned": "2 + 2?"}
BENCHMARK = """
from nemo_evaluator import ScorerInput, benchmark, exact_match, scorer

ROWS = %r


@benchmark(
    name="sums",
    dataset=lambda: [{"question": q, "target": a, "category": "short"} for q, a in ROWS.items()],
    prompt="{question} Answer with a number.",
    system_prompt="You add.",
)
@scorer
def sums(sample: ScorerInput) -> dict:
    if sample.response == "9":
        return {"needs_judge": True, "correct": False}
    return exact_match(sample)
"""


class StandIn(BaseHTTPRequestHandler):
    """Answers chat requests; the model's name is the arm."""

    def do_POST(self) -> None:
        """Answer a question, wrongly where the arm is meant to."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        arm, text = body["model"], body["messages"][-1]["content"]
        question = next(question for question in QUESTIONS if question in text)
        answer = "0" if question in WRONG[arm] else QUESTIONS[question]
        refused = REFUSED.get(arm) == question
        message = {"role": "assistant", "content": answer}
        reply = {
            "id": "r", "object": "chat.completion", "created": 0, "model": arm,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 12, "completion_tokens": 1, "total_tokens": 13},
        }  # fmt: skip
        if refused:
            reply = {"error": {"message": "the prompt was refused", "code": 400}}
        data = json.dumps(reply).encode()
        self.send_response(400 if refused else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def main() -> None:
    """Run the benchmark on both arms, and keep what the reader reads."""
    shutil.rmtree(RECORDED, ignore_errors=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1/chat/completions"
    nel = Path(sys.executable).parent / "nel"
    with tempfile.TemporaryDirectory() as folder:
        benchmark = Path(folder, "sums_bench.py")
        benchmark.write_text(BENCHMARK % QUESTIONS, encoding="utf-8")
        for arm in WRONG:
            out = Path(folder, arm)
            subprocess.run(
                [nel, "eval", "run", "--bench", benchmark, "--model-url", url, "--model-id", arm,
                 "--api-key", "none", "--repeats", "2", "--temperature", "0", "--max-tokens", "8",
                 "--output-dir", out],
                check=True, cwd=folder,
            )  # fmt: skip
            for bundle in out.rglob("eval-*.json"):
                place = RECORDED / arm / bundle.parent.relative_to(out)
                place.mkdir(parents=True)
                for file in (bundle, bundle.parent / "results.jsonl"):
                    text = file.read_text(encoding="utf-8")
                    (place / file.name).write_text(text.replace(folder, "RUN"), encoding="utf-8")


if __name__ == "__main__":
    main()
