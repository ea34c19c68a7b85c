"""Records what lm-eval writes with `--log_samples` into `tests/results/recorded/lm_eval/`.

    python tools/recordings/record_lm_eval.py

Run it where lm-eval is installed (0.4.13 wrote the files). The model is a class of lm-eval's own
interface that answers by a hash of its name and the prompt; tasks, filters, metrics and files are
lm-eval's.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parents[2] / "tests/results/recorded/lm_eval"
SUMS = [{"question": f"{a} + {b}", "answer": str(a + b), "level": "easy" if a < 3 else "hard"}
        for a, b in [(1, 1), (1, 2), (2, 2), (2, 3), (3, 3), (3, 4), (4, 4), (4, 5), (5, 5), (5, 6),
                     (6, 6), (1, 1)]]  # fmt: skip
"""The last question is the first once more."""
COLOURS = [
    {"question": f"Ink {i} is", "choices": ["red", "blue", "green"], "answer": i % 3}
    for i in range(6)
]
FILTERS = [
    {"name": "strict", "filter": [
        {"function": "regex", "regex_pattern": r"#### (\d+)"}, {"function": "take_first"}]},
    {"name": "flexible", "filter": [
        {"function": "regex", "group_select": -1, "regex_pattern": r"(\d+)"},
        {"function": "take_first"}]},
]  # fmt: skip
TASKS: dict[str, dict[str, Any]] = {
    "sums": {
        "rows": SUMS,
        "output_type": "generate_until",
        "doc_to_text": "{{question}} =",
        "doc_to_target": "{{answer}}",
        "filter_list": FILTERS,
        "generation_kwargs": {"until": ["\n"], "do_sample": False},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        "fewshot_split": "test",
        "fewshot_config": {"sampler": "first_n"},
    },
    "colours": {
        "rows": COLOURS,
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "choices",
        "doc_to_target": "answer",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    },
    "lines": {
        "rows": COLOURS,
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{question}}",
        "metric_list": [{"metric": "word_perplexity"}, {"metric": "bits_per_byte"}],
    },
}


def scripted_model(name: str, skill: int) -> Any:
    """Return a model that is right on `skill` of 10 prompts."""
    from lm_eval.api.model import LM

    def draw(*parts: object) -> int:
        return int(hashlib.sha256(repr((name, *parts)).encode()).hexdigest()[:8], 16)

    class ScriptedLM(LM):
        def generate_until(self, requests: list[Any], **_: Any) -> list[str]:
            found = []
            for request in requests:
                prompt = request.args[0].rsplit("\n\n", 1)[-1]
                left, right = (int(part) for part in prompt.removesuffix(" =").split(" + "))
                right_answer = draw(prompt) % 10 < skill
                total = left + right + (0 if right_answer else 1)
                found.append(f" #### {total}" if draw(prompt, 1) % 3 else f" it is {total}")
            return found

        def loglikelihood(self, requests: list[Any], **_: Any) -> list[tuple[float, bool]]:
            return [(-(draw(*r.args) % 1000) / 100, False) for r in requests]

        def loglikelihood_rolling(self, requests: list[Any], **_: Any) -> list[float]:
            return [-(draw(*r.args) % 1000) / 100 for r in requests]

    return ScriptedLM()


def record(
    model: Any, name: str, folder: Path, tasks: Mapping[str, Mapping[str, Any]], *, shots: int = 0,
    limit: int | None = None,
) -> None:  # fmt: skip
    """Evaluate a model as lm-eval's command does, and keep what it writes in `folder/name`."""
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    with tempfile.TemporaryDirectory() as place:
        for task, settings in tasks.items():
            data = Path(place, f"{task}.jsonl")
            lines = (json.dumps(row) + "\n" for row in settings["rows"])
            data.write_text("".join(lines), encoding="utf-8")
            config = {key: value for key, value in settings.items() if key != "rows"}
            config |= {
                "task": task, "dataset_path": "json", "test_split": "test",
                "dataset_kwargs": {"data_files": {"test": str(data)}}, "metadata": {"version": 1},
            }  # fmt: skip
            Path(place, f"{task}.yaml").write_text(json.dumps(config), encoding="utf-8")
        tracker = EvaluationTracker(output_path=str(folder))
        results = simple_evaluate(
            model=model,
            tasks=list(tasks),
            num_fewshot=shots or None,
            limit=limit,
            log_samples=True,
            bootstrap_iters=0,
            task_manager=TaskManager(include_path=place, include_defaults=False),
            evaluation_tracker=tracker,
        )
        assert results is not None
        samples = results.pop("samples")
        # As `lm_eval run` does it.
        results["config"]["model"] = name
        tracker.general_config_tracker.model_name = name
        tracker.general_config_tracker.model_name_sanitized = name
        tracker.save_results_aggregated(results=results, samples=samples)
        for task in results["configs"]:
            tracker.save_results_samples(task_name=task, samples=samples[task])
    shorten(folder / name)


def shorten(folder: Path) -> None:
    """Leave out what names the machine; the rest is as lm-eval wrote it."""
    for path in folder.glob("results_*.json"):
        found = json.loads(path.read_text(encoding="utf-8"))
        for key in ("pretty_env_info", "git_hash", "upper_git_hash"):
            found.pop(key, None)
        text = json.dumps(found, indent=1, ensure_ascii=False)
        path.write_text(re.sub(r"/tmp/\w+/", "", text), encoding="utf-8")


if __name__ == "__main__":
    shutil.rmtree(RECORDED, ignore_errors=True)
    base, tuned = scripted_model("ink-base", 5), scripted_model("ink-tuned", 9)
    record(base, "ink-base", RECORDED / "base", TASKS)
    record(tuned, "ink-tuned", RECORDED / "tuned", TASKS)
    sums = {"sums": TASKS["sums"]}
    record(tuned, "ink-tuned", RECORDED / "one_shot", sums, shots=1)
    record(tuned, "ink-tuned", RECORDED / "half", sums, limit=6)
