"""Records what `mlflow.genai.evaluate` returns, into `tests/results/recorded/mlflow/`.

    python tools/recordings/record_mlflow.py

Run it where mlflow is installed (3.18.0 wrote the files). The answers are given and the scorers are
functions; evaluating and the table are MLflow's. One scorer raises on one question. Columns that
repeat the whole trace are left out, as they name the machine.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parents[2] / "tests/results/recorded/mlflow"
QUESTIONS = [("2 + 2?", "4"), ("3 + 5?", "8"), ("6 + 3?", "9"), ("Out of order?", "no")]
ANSWERS = {"base": ["4", "9", "9", "no"], "tuned": ["4", "8", "7", "no"]}
LEFT_OUT = ["trace", "spans", "trace_metadata", "tags"]


def main() -> None:
    """Evaluate both arms and save their tables in the forms that are read."""
    shutil.rmtree(RECORDED, ignore_errors=True)
    RECORDED.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(
            MLFLOW_TRACKING_URI=f"sqlite:///{folder}/ml.db", MLFLOW_DISABLE_TELEMETRY="true"
        )
        os.chdir(folder)
        import mlflow
        from mlflow.genai import scorer

        @scorer
        def exact(outputs: Any, expectations: Any) -> bool:
            if outputs == "no":
                raise ConnectionError("429 Too Many Requests")
            return bool(outputs == expectations["expected_response"])

        @scorer
        def short(outputs: Any) -> str:
            return "yes" if len(outputs) < 2 else "no"

        for arm, answers in ANSWERS.items():
            data = [
                {"inputs": {"question": asked}, "outputs": answer,
                 "expectations": {"expected_response": right, "points": 3}}
                for (asked, right), answer in zip(QUESTIONS, answers, strict=True)
            ]  # fmt: skip
            table = mlflow.genai.evaluate(data=data, scorers=[exact, short]).result_df
            table = table.drop(columns=LEFT_OUT)
            for row in table["assessments"]:
                for each in row:
                    each.get("feedback", {}).get("error", {}).pop("stack_trace", None)
                    each.pop("metadata", None)
            table.to_json(RECORDED / f"{arm}.jsonl", orient="records", lines=True)
            if arm == "base":
                table.head(1).to_csv(RECORDED / "base.csv", index=False)


if __name__ == "__main__":
    main()
