"""Records what OpenAI evals writes as its log of events, into
`tests/results/recorded/openai_evals/`.

    python tools/recordings/record_openai_evals.py

Run it where evals is installed (3.0.1 wrote the files); of its requirements openai, blobfile,
snowflake-connector-python, lz4 and backoff are enough. Events, recorder and file are evals'; the
model is a function that looks its answers up. One sample's model raises, another is never scored.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

RECORDED = Path(__file__).parents[2] / "tests/results/recorded/openai_evals"
QUESTIONS = [("2 + 2?", "4"), ("3 + 5?", "8"), ("6 + 3?", "9"), ("7 + 7?", "14"), ("1 + 1?", "2")]
ANSWERS = {"base": ["4", "9", "9", None, "2"], "tuned": ["4", "8", "7", None, "2"]}
UNSCORED = 4
"""Place of the sample whose score is never written."""


def main() -> None:
    """Write the log of each arm."""
    os.environ["OPENAI_API_KEY"] = "none"
    import evals.record
    from evals.api import record_and_check_match
    from evals.base import RunSpec

    shutil.rmtree(RECORDED, ignore_errors=True)
    RECORDED.mkdir(parents=True)
    for model, answers in ANSWERS.items():
        spec = RunSpec([f"offline/{model}"], "sums.dev.v0", "sums", "dev", {"seed": 1}, "")
        path = RECORDED / f"{model}.jsonl"
        recorder = evals.record.LocalRecorder(str(path), spec)
        for place, ((asked, right), answer) in enumerate(zip(QUESTIONS, answers, strict=True)):
            prompt = [{"role": "user", "content": asked}]
            with recorder.as_default_recorder(f"sums.dev.{place}"):
                if answer is None:
                    evals.record.record_error("429 Too Many Requests", ConnectionError("429"))
                    continue
                evals.record.record_sampling(prompt=prompt, sampled=[answer])
                if place != UNSCORED:
                    record_and_check_match(prompt=prompt, sampled=answer, expected=right)
                    evals.record.record_metrics(characters=len(answer))
        recorder.record_final_report({"accuracy": 0.5})
        recorder.flush_events()


if __name__ == "__main__":
    main()
