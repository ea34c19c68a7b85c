"""Records what DeepEval writes into its results folder, into `tests/results/recorded/deepeval/`.

    python tools/recordings/record_deepeval.py

Run it where DeepEval is installed (4.3.1 wrote the files). The metrics are classes of DeepEval's
interface without a model; running them and writing the files is DeepEval's. One metric raises on
one question, two metrics share a name, and a question has no name.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parents[2] / "tests/results/recorded/deepeval"
QUESTIONS = [
    ("2 + 2?", "4", "sum-1"), ("3 + 5?", "8", "sum-2"), ("6 + 3?", "9", "sum-3"),
    ("Capital of France?", "Paris", None), ("Out of order?", "no", "broken"),
]  # fmt: skip
ANSWERS = {"base": ["4", "9", "9", "Paris", "no"], "tuned": ["4", "8", "7", "Paris", "no"]}


def record(arm: str) -> None:
    """Run one arm and keep its file."""
    from deepeval import evaluate
    from deepeval.evaluate.configs import AsyncConfig, CacheConfig, DisplayConfig, ErrorConfig
    from deepeval.metrics import BaseMetric
    from deepeval.test_case import LLMTestCase

    class Offline(BaseMetric):  # type: ignore[misc]
        def __init__(self, name: str, wrong: float) -> None:
            self._name, self._wrong = name, wrong
            self.threshold, self.async_mode, self.strict_mode = 0.5, False, False
            self.evaluation_model = "offline-judge"

        def measure(self, test_case: Any, *_: Any, **__: Any) -> float:
            if "Out of order" in test_case.input and self._name == "Exact":
                raise ConnectionError("429 Too Many Requests")
            right = test_case.actual_output == test_case.expected_output
            self.score, self.reason = (1.0 if right else self._wrong), "compared"
            self.success = self.score >= self.threshold
            return self.score

        async def a_measure(self, test_case: Any, *_: Any, **__: Any) -> float:
            return self.measure(test_case)

        def is_successful(self) -> bool:
            return bool(self.success)

        @property
        def __name__(self) -> str:
            return self._name

    cases = [
        LLMTestCase(input=asked, actual_output=answer, expected_output=right, name=name,
                    metadata={"question_id": f"q{number}"})
        for number, ((asked, right, name), answer) in enumerate(
            zip(QUESTIONS, ANSWERS[arm], strict=True), start=1)
    ]  # fmt: skip
    metrics = [Offline("Exact", 0.0), Offline("Tone", 0.25), Offline("Tone", 0.75)]
    evaluate(
        cases,
        metrics,
        async_config=AsyncConfig(run_async=False),
        cache_config=CacheConfig(write_cache=False, use_cache=False),
        display_config=DisplayConfig(print_results=False, show_indicator=False),
        error_config=ErrorConfig(ignore_errors=True),
    )
    (written,) = Path("out").glob("test_run_*.json")
    target = RECORDED / arm
    target.mkdir(parents=True, exist_ok=True)
    shutil.move(written, target / written.name)


def main() -> None:
    """Record both arms, each in a folder of its own."""
    os.environ.update(
        DEEPEVAL_TELEMETRY_OPT_OUT="YES", DEEPEVAL_RESULTS_FOLDER="out", ERROR_REPORTING="NO"
    )
    shutil.rmtree(RECORDED, ignore_errors=True)
    for arm in ANSWERS:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            record(arm)


if __name__ == "__main__":
    main()
