"""MMLU on both arms against lm-eval: `python -m benchmarks.mmlu_vs_lm_eval --data DIR --tuned DIR`.

The peer is lm-eval 0.4 with its own `hf` model, batch 8, run once for base and once with the
adapter (`peft=`). tunegate takes the same tasks as cases and answers them with the runner and store
of a real run: the few-shot header of a subject once, one forward for all choices, one load for both
arms. Data are the original CSV files
of MMLU (`dev/` and `test/`), from which local tasks are written, so that no hub is needed. The
log-likelihoods of every question and the accuracies must be equal.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunegate.harness import suite as suites
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.engine.plan import make_plan
from tunegate.harness.engine.progress import ProgressReporter
from tunegate.harness.engine.runner import Runner, collect_answers
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
        peer: dict[str, Result] = {}
        spent = {}
        for arm, adapter in (("base", None), ("tuned", options.tuned)):
            start = time.perf_counter()
            peer[arm] = _run_peer(Path(folder), tasks, _peer(options.base, adapter))
            spent[f"lm-eval {arm}"] = time.perf_counter() - start
        start = time.perf_counter()
        arms: Mapping[str, Any] = open_arms(
            {"base": options.base, "tuned": options.tuned}, dtype="float32"
        )
        loaded = time.perf_counter() - start
        ours: dict[str, Result] = {}
        store = AnswerCache(Path(folder) / "store.sqlite")
        for name in ("base", "tuned"):  # base's answers are in the store when tuned is asked
            start = time.perf_counter()
            asked_arms = {arm: arms[arm] for arm in ("base", name)}
            ours[name] = _run_ours(_suite(Path(folder), tasks), asked_arms, store)
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


def _suite(folder: Path, tasks: Sequence[str]) -> suites.Suite:
    """Write and load a suite of the tasks."""
    cases = {"from": "lm_eval", "tasks": list(tasks), "include_path": ".", "num_fewshot": SHOTS}
    fields = ", ".join(f"{name} = {json.dumps(value)}" for name, value in cases.items())
    (folder / "suite.toml").write_text(
        f'name = "mmlu"\ncases = {{ {fields} }}\n[generation]\ntemplate = "none"\n'
        '[[metrics]]\nuse = "choice_accuracy"\n',
        encoding="utf-8",
    )
    return suites.load_suite(folder)


def _run_ours(suite: suites.Suite, arms: Mapping[str, Any], store: AnswerCache) -> Result:
    """Answer the cases; return the last arm's answers in the order of the documents."""
    plan = make_plan([suite], arms, seed=0)
    Runner(plan, arms, store, ProgressReporter(1.0, stream=io.StringIO())).run()
    last = list(arms)[-1]
    stored = collect_answers(plan, store, set())
    answers = {a.cell.case: a.completion for a in stored if a.cell.arm == last}
    result: Result = {}
    for case in suite.cases:
        answer = answers[case.id]
        if answer is None or answer.choice_logprobs is None:
            raise RuntimeError(f"{case.id} was not answered")
        scores = list(answer.choice_logprobs)
        right = float(scores.index(max(scores)) == case.answer)
        result.setdefault(case.id.partition(":")[0], []).append((scores, right))
    return result


def _run_peer(folder: Path, tasks: Sequence[str], model: Any) -> Result:
    """Evaluate a model of lm-eval's on the tasks."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    evaluated = simple_evaluate(
        model=model,
        tasks=list(tasks),
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        log_samples=True,
        bootstrap_iters=0,
        verbosity="ERROR",
    )
    return {
        task: [
            ([float(r[0][0]) for r in sample["resps"]], float(sample["acc"]))
            for sample in sorted(samples, key=lambda s: s["doc_id"])
        ]
        for task, samples in evaluated["samples"].items()
    }


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
