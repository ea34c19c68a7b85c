"""Records what lmms-eval writes with `--log_samples`, into `tests/results/recorded/lmms_eval/`.

    python tools/recordings/record_lmms_eval.py

Run it where lmms-eval is installed (0.7.3 wrote the files). A task over three images is evaluated
by lmms-eval; the model is a stand-in with given answers. As in MME, one of the two metrics is an
object that holds the score.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from lmms_eval.api.model import lmms
from lmms_eval.evaluator import simple_evaluate
from lmms_eval.loggers import EvaluationTracker
from lmms_eval.tasks import TaskManager

RECORDED = Path(__file__).parents[2] / "tests/results/recorded/lmms_eval"
DOCUMENTS = [
    {"question": "How many dots?", "answer": "3", "shape": "dots"},
    {"question": "Which color?", "answer": "red", "shape": "square"},
    {"question": "How many lines?", "answer": "7", "shape": "lines"},
]
ANSWERS = {"base": ["3", "blue", "9"], "tuned": ["3", "red", "8"]}
TASK = """
dataset_path: json
dataset_kwargs:
  data_files: {{test: {file}}}
task: pictures
test_split: test
output_type: generate_until
doc_to_visual: !function utils.pictures
doc_to_text: !function utils.text
doc_to_target: answer
generation_kwargs: {{max_new_tokens: 8, temperature: 0, do_sample: false}}
process_results: !function utils.score
metric_list:
  - {{metric: exact, aggregation: mean, higher_is_better: true}}
  - {{metric: shape_score, aggregation: !function utils.total, higher_is_better: true}}
metadata:
  - version: 1.0
"""
FUNCTIONS = """
from PIL import Image


def pictures(doc):
    return [Image.new("RGB", (8, 8), "red")]


def text(doc, lmms_eval_specific_kwargs=None):
    return doc["question"] + " Answer with one word."


def score(doc, results):
    right = float(results[0] == doc["answer"])
    detail = {"question_id": doc["question"], "category": doc["shape"], "score": right}
    return {"exact": right, "shape_score": detail}


def total(results):
    return sum(one["score"] for one in results)
"""


class Given(lmms):
    """A model that gives the answers of an arm."""

    def __init__(self, answers: list[str]) -> None:
        """Keep the answers."""
        super().__init__()
        self.answers = answers

    def generate_until(self, requests):
        """Return the answer of each document."""
        return [self.answers[request.doc_id] for request in requests]

    def loglikelihood(self, requests):
        """Answer nothing."""
        raise NotImplementedError

    def generate_until_multi_round(self, requests):
        """Answer nothing."""
        raise NotImplementedError


def main() -> None:
    """Evaluate both arms, and keep samples and results."""
    shutil.rmtree(RECORDED, ignore_errors=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = folder / "documents.json"
        data.write_text(json.dumps(DOCUMENTS), encoding="utf-8")
        (folder / "pictures.yaml").write_text(TASK.format(file=data), encoding="utf-8")
        (folder / "utils.py").write_text(FUNCTIONS, encoding="utf-8")
        tasks = TaskManager(include_path=str(folder), include_defaults=False)
        for arm, answers in ANSWERS.items():
            tracker = EvaluationTracker(output_path=str(RECORDED / arm))
            tracker.general_config_tracker.log_experiment_args(
                model_source="given", model_args=f"model={arm}", system_instruction="",
                chat_template=None, fewshot_as_multiturn=False,
            )  # fmt: skip
            results = simple_evaluate(
                model=Given(answers), tasks=["pictures"], task_manager=tasks, batch_size=1
            )
            samples = results.pop("samples")
            tracker.save_results_aggregated(
                results=results, samples=samples, datetime_str="20261202_170446"
            )
            tracker.save_results_samples(task_name="pictures", samples=samples["pictures"])
        for file in RECORDED.rglob("*.json*"):
            text = file.read_text(encoding="utf-8").replace(name, "RUN")
            file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
