"""Results of NVIDIA NeMo Evaluator: a bundle `eval-*.json` with its `results.jsonl`.

A folder holds one bundle, or a subfolder for each benchmark. Scores are the `reward`, and
`scorer:NAME` for each further scorer. A problem is named by its `problem_idx`, its place in the
benchmark's data; the prompts are compared. Repeats are samples. NeMo Evaluator grades a call, a
scorer or a judge that failed with 0; here they are unscored.
Format: `docs/result-format.mdx` and `engine/eval_loop.py` of NVIDIA-NeMo/Evaluator 0.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.result_reader import (
    ResultLog,
    ResultRow,
    ScoreTraits,
    UnreadLine,
    result_reader,
    score_value,
    value_at,
)
from tunegate.harness.records.errors import UsageError
from tunegate.harness.results._files import json_document, json_lines
from tunegate.harness.results._values import (
    convert_scores,
    dict_at,
    list_at,
    read_rows,
    row_fields,
    sampling_of,
    text_of,
)

RESULTS = "results.jsonl"
FAILED = ("solve_failed", "infra_error", "graceful_error", "system_error")
"""Methods of a grade that no scorer gave."""
LIMITS = ("solve_timeout", "turn_budget_exhausted", "budget_exceeded", "context_window_exceeded")
"""Error categories of a model that ran into its limit: its own failure, which counts."""


def _bundles(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.name.startswith("eval-") and path.suffix == ".json" else []
    bundles = [file for depth in ("", "*/") for file in path.glob(f"{depth}eval-*.json")]
    return sorted(file for file in bundles if (file.parent / RESULTS).is_file())


def _is_bundle(path: Path) -> bool:
    try:
        return any(
            dict_at(json_document(file), "benchmark").get("scores") is not None
            for file in _bundles(path)[:1]
        )
    except UsageError:
        return False


@result_reader(
    files="the output folder of `nel eval run`, or its eval-RUN.json", recognize=_is_bundle
)
def nemo_evaluator(path: Path) -> Iterator[ResultLog]:
    """Yield the run of a folder: its benchmarks are the tasks."""
    bundles: dict[str, tuple[Path, dict[str, Any]]] = {}
    for file in _bundles(path):
        bundle = json_document(file)
        benchmark = text_of(value_at(bundle, "benchmark.name")) or file.stem
        if benchmark in bundles:
            raise UsageError(
                f"{path}: benchmark {benchmark} has two bundles, {bundles[benchmark][0].name} and "
                f"{file.name}; name one of the files"
            )
        bundles[benchmark] = file, bundle
    first = next(iter(bundles.values()), (path, {}))[1]
    yield ResultLog(
        tool="NeMo Evaluator",
        tool_version=text_of(value_at(first, "sdk_version")),
        rows=lambda: _rows(bundles),
        model=text_of(value_at(first, "config.model")),
        task_settings={
            name: {**sampling_of(config), "scorers": config.get("scorers")}
            for name, (_, bundle) in bundles.items()
            for config in [dict_at(bundle, "config")]
        },
        tasks=tuple(bundles),
        traits={"reward": ScoreTraits(higher_is_better=True)},
        repeats=True,
    )


def _rows(
    bundles: Mapping[str, tuple[Path, Mapping[str, Any]]],
) -> Iterator[ResultRow | UnreadLine]:
    for benchmark, (file, _) in bundles.items():
        yield from read_rows(json_lines(file.parent / RESULTS), partial(_row, benchmark))


def _row(benchmark: str, where: str, line: Mapping[str, Any]) -> ResultRow:
    details = dict_at(line, "scoring_details")
    # The file has a 0 for a scorer or judge that failed.
    raw = {"reward": line.get("reward"), **dict_at(line, "scorer_rewards")}
    failures = {name: value_at(details, f"{name}.error") for name in raw if name in details}
    scores, errors = convert_scores(raw, {"reward": value_at(details, "judge.error"), **failures})
    failed = details.get("method") in FAILED and details.get("error_category") not in LIMITS
    trajectory: Any = next(iter(list_at(line, "trajectory")), {})
    steps = [step for step in list_at(trajectory, "steps") if isinstance(step, dict)]
    system = [text_of(step.get("message")) for step in steps if step.get("source") == "system"]
    return ResultRow(
        id=str(line.get("problem_idx")),
        where=where,
        task=benchmark,
        scores=scores,
        errors=errors,
        error=(text_of(details.get("error")) or "the call failed") if failed else None,
        rules={"system prompt": system} if steps else {},
        whole=sum(step.get("source") == "agent" for step in steps) < 2,
        latency_s=(score_value(line.get("latency_ms"))[0] or 0) / 1000 or None,
        fields=line,
        **row_fields(
            line,
            sample="repeat",
            prompt="prompt",
            completion="model_response",
            expected="expected_answer",
        ),
        **row_fields(
            trajectory,
            input_tokens="final_metrics.total_prompt_tokens",
            output_tokens="final_metrics.total_completion_tokens",
        ),
    )
