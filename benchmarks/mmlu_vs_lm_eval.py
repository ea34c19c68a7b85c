"""MMLU on both arms against lm-eval: `python -m benchmarks.mmlu_vs_lm_eval --data DIR --tuned DIR`.

The peer is lm-eval 0.4 with its own `hf` model, batch 8, run once for base and once with the
adapter (`peft=`). tunegate runs the same tasks of lm-eval on its engine: the few-shot header of a
subject once, one forward for all choices, one load for both arms. Data are the original CSV files
of MMLU (`dev/` and `test/`), from which local tasks are written, so that no hub is needed. The
log-likelihoods of every question and the accuracies must be equal.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunegate.harness.models.open_arms import open_arms

SHOTS = 5
PEER_BATCH = 8
TOLERANCE = 1e-4
"""Largest difference of two log-likelihoods in float32 that is rounding."""
TEMPLATE = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{question.strip()}}\nA. {{choices[0]}}\nB. {{choices[1]}}\nC. {{choices[2]}}"
    "\nD. {{choices[3]}}\nAnswer:",
    "doc_to_choice": ["A", "B", "C", "D"],
    "doc_to_target": "answer",
    "fewshot_split": "dev",
    "fewshot_config": {"sampler": "first_n"},
    "num_fewshot": SHOTS,
    "test_split": "test",
    "dataset_path": "json",
}
Result = dict[str, list[tuple[list[float], float]]]
"""Task → (log-likelihoods of the choices, accuracy) of each question."""


def main() -> int:
    """Print the table; return 1 if a number differs from lm-eval's."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        tasks = _tasks(Path(folder), options.data, options.subjects, options.per_subject)
        run = _runner(Path(folder), tasks)
        peer: dict[str, Result] = {}
        spent = {}
        for arm, adapter in (("base", None), ("tuned", options.tuned)):
            start = time.perf_counter()
            peer[arm] = run(_peer(options.base, adapter))
            spent[f"lm-eval {arm}"] = time.perf_counter() - start
        start = time.perf_counter()
        from tunegate.harness.engine.lm_eval import TunegateLM

        arms: Mapping[str, Any] = open_arms(
            {"base": options.base, "tuned": options.tuned}, dtype="float32"
        )
        loaded = time.perf_counter() - start
        ours: dict[str, Result] = {}
        for name, arm in arms.items():
            start = time.perf_counter()
            ours[name] = run(TunegateLM(arm))
            spent[f"tunegate {name}"] = time.perf_counter() - start
    return _report(options, spent, loaded, peer, ours)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with dev/ and test/")
    parser.add_argument("--base", required=True)
    parser.add_argument("--tuned", required=True, help="folder of an adapter")
    parser.add_argument("--subjects", type=int, default=57)
    parser.add_argument("--per-subject", type=int, default=5)
    return parser.parse_args()


def _tasks(folder: Path, data: Path, subjects: int, per_subject: int) -> list[str]:
    """Write local tasks of lm-eval for the first subjects; return their names."""
    names = sorted(p.name.removesuffix("_test.csv") for p in (data / "test").glob("*_test.csv"))
    tasks = []
    for name in names[:subjects]:
        files = {}
        for split, most in (("dev", SHOTS), ("test", per_subject)):
            rows = _rows(data / split / f"{name}_{split}.csv")[:most]
            files[split] = str(folder / f"{name}.{split}.jsonl")
            Path(files[split]).write_text("".join(json.dumps(r) + "\n" for r in rows))
        subject = name.replace("_", " ")
        task = {
            **TEMPLATE,
            "task": f"local_{name}",
            "dataset_kwargs": {"data_files": files},
            "description": "The following are multiple choice questions (with answers) about "
            f"{subject}.\n\n",
        }
        (folder / f"{name}.yaml").write_text(json.dumps(task))  # JSON is YAML
        tasks.append(f"local_{name}")
    return tasks


def _rows(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {"question": row[0], "choices": row[1:5], "answer": "ABCD".index(row[5])}
            for row in csv.reader(file)
        ]


def _runner(folder: Path, tasks: Sequence[str]) -> Any:
    """Return a function that evaluates a model on the tasks."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(folder), include_defaults=False)

    def run(model: Any) -> Result:
        found = simple_evaluate(
            model=model,
            tasks=list(tasks),
            task_manager=manager,
            log_samples=True,
            bootstrap_iters=0,
            verbosity="ERROR",
        )
        return {
            task: [
                ([float(r[0][0]) for r in sample["resps"]], float(sample["acc"]))
                for sample in sorted(samples, key=lambda s: s["doc_id"])
            ]
            for task, samples in found["samples"].items()
        }

    return run


def _peer(base: str, adapter: str | None) -> Any:
    from lm_eval.models.huggingface import HFLM

    more = {"peft": adapter} if adapter else {}
    return HFLM(pretrained=base, dtype="float32", batch_size=PEER_BATCH, device="cpu", **more)


def _report(
    options: argparse.Namespace,
    spent: Mapping[str, float],
    loaded: float,
    peer: Mapping[str, Result],
    ours: Mapping[str, Result],
) -> int:
    theirs = spent["lm-eval base"] + spent["lm-eval tuned"]
    second = loaded + spent["tunegate tuned"]
    cold = second + spent["tunegate base"]
    questions = sum(map(len, peer["base"].values()))
    print(f"{len(peer['base'])} subjects, {questions} questions, {SHOTS}-shot, float32")
    print(f"{'':<40} {'seconds':>8} {'ratio':>6}")
    print(f"{'two runs of lm-eval (hf, batch 8)':<40} {theirs:8.1f} {1:6.2f}")
    print(f"{'tunegate, both arms, loading included':<40} {cold:8.1f} {theirs / cold:6.2f}")
    print(f"{'tunegate, second candidate':<40} {second:8.1f} {theirs / second:6.2f}")
    apart, accuracies = 0.0, True
    for arm, result in peer.items():
        for task, samples in result.items():
            pairs = list(zip(samples, ours[arm][task], strict=True))
            apart = max(
                apart, *(abs(a - b) for x, y in pairs for a, b in zip(x[0], y[0], strict=True))
            )
            accuracies &= sum(x[1] for x, _ in pairs) == sum(y[1] for _, y in pairs)
        right = sum(s[1] for samples in result.values() for s in samples)
        print(f"accuracy of {arm}: {right / questions:.4f}")
    print(f"largest difference of two log-likelihoods: {apart:.1e} (allowed {TOLERANCE:.0e})")
    print("accuracies equal: " + ("yes" if accuracies else "NO"))
    return int(apart > TOLERANCE or not accuracies)


if __name__ == "__main__":
    sys.exit(main())
