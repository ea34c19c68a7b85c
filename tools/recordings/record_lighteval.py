"""Records what lighteval writes with `--save-details`, into `tests/results/recorded/lighteval/`.

    python tools/recordings/record_lighteval.py

Run it where lighteval and datasets are installed (0.13.0 wrote the files). Documents, answers and
scores are lighteval's own records, as its tasks are fetched from a hub; logging and writing them is
lighteval's. The bar of file names, which Windows does not allow, is kept as `%7C`.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from lighteval.logging.evaluation_tracker import EvaluationTracker
from lighteval.metrics.metrics import Metrics
from lighteval.models.abstract_model import ModelConfig
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.lighteval_task import LightevalTaskConfig
from lighteval.tasks.requests import Doc

RECORDED = Path(__file__).parents[2] / "tests/results/recorded/lighteval"
QUESTIONS = ["2 + 2?", "3 + 5?", "6 + 3?", "2 + 2?"]
RIGHT = [0, 1, 0, 0]
ANSWERS = {"base": [0, 0, 0, 0], "tuned": [0, 1, 1, 0]}
TASK = "custom|sums|0"


def main() -> None:
    """Write the details of both arms; the last question is the first once more."""
    shutil.rmtree(RECORDED, ignore_errors=True)
    for arm, picks in ANSWERS.items():
        with tempfile.TemporaryDirectory() as folder:
            tracker = EvaluationTracker(output_dir=folder, save_details=True)
            tracker.general_config_logger.model_name = f"ink/{arm}"
            tracker.general_config_logger.model_config = ModelConfig(model_name=f"ink/{arm}")
            tracker.task_config_logger.tasks_configs = {
                TASK: LightevalTaskConfig(
                    name="sums", prompt_function=len, hf_repo="ink/sums", hf_subset="default",
                    metrics=[Metrics.exact_match], generation_size=16,
                )
            }  # fmt: skip
            for place, (asked, right, pick) in enumerate(zip(QUESTIONS, RIGHT, picks, strict=True)):
                doc = Doc(query=asked, choices=["4", "8"] if place % 2 == 0 else ["7", "8"],
                          gold_index=right, id=str(place), task_name=TASK)  # fmt: skip
                answer = ModelResponse(input=asked, text=[doc.choices[pick]], logprobs=[-0.5, -1.5])
                scores = {"em": float(pick == right), "length": float(place)}
                if place == 2:
                    scores["length"] = float("nan")
                tracker.details_logger.log(TASK, doc, answer, scores)
            tracker.details_logger.aggregate()
            tracker.save()
            for file in (*Path(folder).rglob("*.parquet"), *Path(folder).rglob("results_*.json")):
                inside = str(file.relative_to(folder)).replace("|", "%7C")
                target = RECORDED / arm / inside
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target)


if __name__ == "__main__":
    main()
