"""Results of DeepEval: a test run as JSON, with the metrics of each test case.

DeepEval writes `test_run_DATE.json` into its results folder, and `.latest_run_full.json` into
`.deepeval`, where the next run overwrites it. A metric that raised has `success: false`; here it is
unscored.

A test case's id is a field of its metadata (`?id=question_id`), or else its name, unless DeepEval
made it up (`test_case_3`), or else a hash of its input.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.result_reader import (
    ResultLog,
    ResultRow,
    ScoreTraits,
    content_id,
    result_reader,
    score_value,
    value_at,
)
from tunegate.harness.records.errors import UsageError
from tunegate.harness.results._files import first_bytes, json_document
from tunegate.harness.results._values import (
    convert_scores,
    fields_of,
    list_at,
    read_rows,
    row_fields,
    text_of,
)

MADE_UP = re.compile(r"(conversational_)?test_case_\d+")
"""Names that DeepEval makes from a position."""
G_EVAL = re.compile(
    r"Criteria:\n(.*?) \n \nEvaluation Steps:\n(.*?) \n \nRubric:\n(.*?) \n \nScore:", re.DOTALL
)
"""What `GEval` logs of itself."""
MARKS = (b'"testCases"', b'"conversationalTestCases"', b'"testRunData"')


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(path.glob("test_run_*.json")) or sorted(path.glob(".latest_run_full.json"))


def _is_deepeval(path: Path) -> bool:
    files = _files(path) if path.exists() else []
    head = first_bytes(files[-1]) if files and files[-1].suffix == ".json" else b""
    return head.lstrip()[:1] == b"{" and any(mark in head for mark in MARKS)


@result_reader(files="test_run_DATE.json or .latest_run_full.json", recognize=_is_deepeval)
def deepeval(path: Path, *, id: str = "") -> Iterator[ResultLog]:
    """Yield the test run of a file, the newest of a folder."""
    files = _files(path)
    document = json_document(files[-1])
    run = document.get("testRunData", document) if isinstance(document, dict) else None
    cases = _test_cases(files[-1], run) if isinstance(run, dict) else []
    if not cases:
        raise UsageError(f"{files[-1]}: no testCases; DeepEval writes them when a run has ended")
    if id and not any(value_at(case.get("metadata"), id) is not None for _, case in cases):
        raise UsageError(f"results:{path}?id={id}: in the metadata of no test case")
    older = len(files) - 1
    yield ResultLog(
        tool="deepeval",
        rows=lambda: read_rows(cases, partial(_row, id)),
        settings=_judges(cases),
        traits=_traits(cases),
        notes=(f"{older} older test runs in {path} are not read",) if older else (),
    )


def _test_cases(file: Path, run: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    cases = []
    for kind in ("testCases", "conversationalTestCases"):
        for number, case in enumerate(list_at(run, kind)):
            place = f"{file}: {kind}[{number}]"
            cases.append((place, case if isinstance(case, dict) else {}))
    return cases


def _judges(cases: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Return the judge model of each metric, which must be equal in both runs."""
    judges: dict[str, set[str]] = {}
    for _, case in cases:
        for metric in _metrics(case):
            model = metric.get("evaluationModel")
            if isinstance(model, str):
                judges.setdefault(f"judge of {metric['name']}", set()).add(model)
    return {name: ", ".join(sorted(models)) for name, models in sorted(judges.items())}


def _traits(cases: list[tuple[str, dict[str, Any]]]) -> dict[str, ScoreTraits]:
    """Return each score's direction, whether it is strict, and whether a model gave it.

    A metric succeeds at its threshold: those above it succeed where more is better, those below it
    where less is.
    """
    up: dict[str, set[bool]] = {}
    strict: dict[str, set[bool]] = {}
    judged: dict[str, bool] = {}
    for _, case in cases:
        for key, metric in _by_key(_metrics(case)):
            score, threshold, success = (metric.get(n) for n in ("score", "threshold", "success"))
            judged[key] = judged.get(key, False) or bool(metric.get("evaluationModel"))
            strict.setdefault(key, set()).add(metric.get("strictMode") is True)
            seen = up.setdefault(key, set())
            if isinstance(success, bool) and not metric.get("error"):
                number, bound = score_value(score)[0], score_value(threshold)[0]
                if number is not None and bound is not None and number != bound:
                    seen.add((number > bound) is success)
    return {
        key: ScoreTraits(
            higher_is_better=next(iter(seen)) if len(seen) == 1 else None,
            rule={"strict mode": sorted(strict[key])},
            deterministic=False if judged[key] else None,
        )
        for key, seen in up.items()
    }


def _metrics(case: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {**one, "name": text_of(one.get("name")) or "metric"}
        for one in list_at(case, "metricsData")
        if isinstance(one, dict)
    ]


def _row(id: str, where: str, case: Mapping[str, Any]) -> ResultRow:
    """Return a test case as a row."""
    prompt = _prompt(case)
    metrics = dict(_by_key(_metrics(case)))
    scores, errors = convert_scores(
        {key: metric.get("score") for key, metric in metrics.items()},
        {key: metric.get("error") for key, metric in metrics.items()},
    )
    order = case.get("order")
    return ResultRow(
        id=_identity(case, id, prompt),
        where=where,
        position=order if type(order) is int else None,
        prompt=prompt,
        completion=_completion(case),
        scores=scores,
        errors=errors,
        expected=text_of(case.get("expectedOutput") or case.get("expectedOutcome")),
        rules=fields_of(case, ("context", "expectedTools")),
        score_rules=dict(_criteria(_metrics(case))),
        whole=not (case.get("toolsCalled") or case.get("retrievalContext")),
        fields=case,
        **row_fields(
            case,
            input_tokens="inputTokenCount",
            output_tokens="outputTokenCount",
            latency_s="completionTime",
            cost="tokenCost",
        ),
    )


def _prompt(case: Mapping[str, Any]) -> str:
    """Return the input; of a conversation its scenario, else the user's first message."""
    prompt = case.get("input") or case.get("scenario")
    if prompt is None:
        prompt = value_at(case, "turns.0.content")
    if prompt is None:
        raise ValueError("a test case without input")
    return text_of(prompt) or ""


def _completion(case: Mapping[str, Any]) -> str | None:
    if turns := list_at(case, "turns"):
        return "\n".join(
            f"{turn.get('role')}: {text_of(turn.get('content'))}"
            for turn in turns
            if isinstance(turn, dict)
        )
    return text_of(case.get("actualOutput"))


def _identity(case: Mapping[str, Any], id: str, prompt: str) -> str:
    if id:
        value = text_of(value_at(case.get("metadata"), id))
        if not value:
            raise ValueError(f"no {id!r} in its metadata; every test case needs one")
        return value
    name = case.get("name")
    if isinstance(name, str) and name.strip() and MADE_UP.fullmatch(name) is None:
        return name
    return content_id(prompt)


def _by_key(metrics: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each metric with the key of its score; equal names are numbered."""
    often = Counter(metric["name"] for metric in metrics)
    seen: Counter[str] = Counter()
    for metric in metrics:
        name = metric["name"]
        seen[name] += 1
        yield name if often[name] == 1 else f"{name}#{seen[name]}", metric


def _criteria(metrics: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the score of each G-Eval metric with its criteria, which DeepEval logs with the reason.

    From criteria a model writes the steps, other ones in each run; without criteria they are given.
    """
    for key, metric in _by_key(metrics):
        if found := G_EVAL.match(text_of(metric.get("verboseLogs")) or ""):
            criteria, steps, rubric = found.groups()
            yield key, {"criteria": steps if criteria == "None" else criteria, "rubric": rubric}
