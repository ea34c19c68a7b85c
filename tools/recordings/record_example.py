"""Makes the two runs of `examples/results/`.

    python tools/recordings/record_example.py

Run it where lm-eval is installed (0.4.13 wrote the files). The two models are functions that err in
some sums: base in more of them, and tuned in others.
"""

from __future__ import annotations

import hashlib
import random
import shutil
from pathlib import Path
from typing import Any

from record_lm_eval import record

EXAMPLE = Path(__file__).parents[2] / "examples/results"
QUESTIONS = 160
RIGHT = {"base": 60, "tuned": 80}
"""Of 100 sums, how many a model gets right."""
STORIES = (
    "A box holds {a} pens. How many pens are in {b} boxes?",
    "Ann has {a} coins and finds {b} more. How many has she?",
    "A train with {a} seats has {b} seats taken. How many are free?",
)
TASK = {
    "output_type": "generate_until",
    "doc_to_text": "{{question}}\nAnswer:",
    "doc_to_target": "{{answer}}",
    "generation_kwargs": {"until": ["\n"], "do_sample": False},
    "filter_list": [
        {
            "name": "last-number",
            "filter": [
                {"function": "regex", "group_select": -1, "regex_pattern": r"(\d+)"},
                {"function": "take_first"},
            ],
        }
    ],
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}


def questions() -> list[dict[str, str]]:
    """Return the questions with their answers; kind is what they are about."""
    drawn = random.Random(11)
    rows = []
    for number in range(QUESTIONS):
        a, b = drawn.randrange(20, 60), drawn.randrange(2, 20)
        right = (a * b, a + b, a - b)[number % 3]
        kind = ("product", "sum", "difference")[number % 3]
        asked = STORIES[number % 3].format(a=a, b=b)
        rows.append({"question": asked, "answer": str(right), "kind": kind})
    return rows


def model(name: str, answers: dict[str, str]) -> Any:
    """Return a model of lm-eval's interface."""
    from lm_eval.api.model import LM

    class LookedUp(LM):
        def generate_until(self, requests: list[Any], **_: Any) -> list[str]:
            return [self._answer(request.args[0]) for request in requests]

        def loglikelihood(self, requests: list[Any], **_: Any) -> list[tuple[float, bool]]:
            raise NotImplementedError

        def loglikelihood_rolling(self, requests: list[Any], **_: Any) -> list[float]:
            raise NotImplementedError

        def _answer(self, prompt: str) -> str:
            asked = prompt.splitlines()[0]
            drawn = int(hashlib.sha256(f"{name} {asked}".encode()).hexdigest()[:8], 16)
            right = int(answers[asked])
            return f" {right if drawn % 100 < RIGHT[name] else right + 1 + drawn % 9}"

    return LookedUp()


if __name__ == "__main__":
    rows = questions()
    answers = {row["question"]: row["answer"] for row in rows}
    for name in RIGHT:
        shutil.rmtree(EXAMPLE / name, ignore_errors=True)
        record(model(name, answers), name, EXAMPLE, {"stories": {"rows": rows, **TASK}})
