"""Makes the two runs of this folder, where lm-eval is installed: `python record.py`.

lm-eval 0.4.13 asks, filters, scores and writes. The two models are functions that err in some sums:
base in more of them, and tuned in others.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
QUESTIONS = 160
RIGHT = {"base": 60, "tuned": 80}
"""Of 100 sums, how many a model gets right."""
STORIES = (
    "A box holds {a} pens. How many pens are in {b} boxes?",
    "Ann has {a} coins and finds {b} more. How many has she?",
    "A train with {a} seats has {b} seats taken. How many are free?",
)
TASK = {
    "task": "stories",
    "dataset_path": "json",
    "test_split": "test",
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
    "metadata": {"version": 1},
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


def main() -> None:
    """Evaluate both models as lm-eval's command does, and leave out what names the machine."""
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    rows = questions()
    answers = {row["question"]: row["answer"] for row in rows}
    for name in RIGHT:
        shutil.rmtree(HERE / name, ignore_errors=True)
        with tempfile.TemporaryDirectory() as place:
            data = Path(place, "stories.jsonl")
            data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            config = {**TASK, "dataset_kwargs": {"data_files": {"test": str(data)}}}
            Path(place, "stories.yaml").write_text(json.dumps(config), encoding="utf-8")
            tracker = EvaluationTracker(output_path=str(HERE))
            results = simple_evaluate(
                model=model(name, answers),
                tasks=["stories"],
                log_samples=True,
                bootstrap_iters=0,
                task_manager=TaskManager(include_path=place, include_defaults=False),
                evaluation_tracker=tracker,
            )
        assert results is not None
        samples = results.pop("samples")
        results["config"]["model"] = name
        tracker.general_config_tracker.model_name = name
        tracker.general_config_tracker.model_name_sanitized = name
        tracker.save_results_aggregated(results=results, samples=samples)
        tracker.save_results_samples(task_name="stories", samples=samples["stories"])
        for path in (HERE / name).glob("results_*.json"):
            found = json.loads(path.read_text(encoding="utf-8"))
            for key in ("pretty_env_info", "git_hash", "upper_git_hash"):
                found.pop(key, None)
            text = json.dumps(found, indent=1, ensure_ascii=False)
            path.write_text(re.sub(r"/tmp/\w+/", "", text), encoding="utf-8")


if __name__ == "__main__":
    main()
