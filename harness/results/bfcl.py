"""Results of the Berkeley Function Calling Leaderboard: `result/` and `score/` of its folder.

`result/MODEL/…/BFCL_v4_CATEGORY_result.json` holds the answers. `score/MODEL/…_score.json` holds a
header and then only the failures; all other answers passed. Each model is a run, each category a
task. The leaderboard counts a call that raised ("Error during inference: …") as wrong; here it is
unscored.

A folder holds the runs of several models: `results:FOLDER#MODEL`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.result_reader import (
    ResultLog,
    ResultRow,
    UnreadLine,
    result_reader,
    score_value,
    value_at,
)
from tunegate.harness.records.errors import UsageError
from tunegate.harness.results._files import json_lines
from tunegate.harness.results._values import read_rows, text_of, token_count

RESULT_FILE = re.compile(r"BFCL_v(\d+)_(\w+)_result\.json")
VERSIONS = ("3", "4")
FAILED = "Error during inference"
SCORE = "valid"


def _result_files(path: Path) -> Iterator[tuple[Path, re.Match[str]]]:
    for file in sorted((path / "result").rglob("BFCL_*_result.json")):
        found = RESULT_FILE.fullmatch(file.name)
        if found is not None:
            yield file, found


@dataclass(frozen=True)
class _CategoryFiles:
    category: str
    result: Path
    score: Path


@result_reader(
    files="the folder with result/ and score/ of bfcl",
    recognize=lambda path: next(_result_files(path), None) is not None,
)
def bfcl(path: Path) -> Iterator[ResultLog]:
    """Yield a run for each model."""
    models: dict[str, list[_CategoryFiles]] = {}
    for file, match in _result_files(path):
        version, category = match.groups()
        if version not in VERSIONS:
            raise UsageError(f"{file}: version {version} of BFCL is not known; known: 3 and 4")
        inner = file.relative_to(path / "result")
        score = path / "score" / inner.with_name(file.name.replace("_result", "_score"))
        if not score.is_file():
            raise UsageError(
                f"{file}: no {score}; run `bfcl evaluate --test-category {category}` first"
            )
        models.setdefault(inner.parts[0], []).append(_CategoryFiles(category, file, score))
    for model, files in models.items():
        yield ResultLog(
            tool="bfcl",
            rows=partial(_rows, files),
            run=model,
            model=model,
            tasks=tuple(file.category for file in files),
        )


def _failures(path: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the number of answers, and the failure of each id."""
    total = passed = None
    failures = {}
    for where, line in json_lines(path):
        if isinstance(line, UnreadLine):
            raise UsageError(f"{where}: {line.problem}; run `bfcl evaluate` again")
        if "total_count" in line and "accuracy" in line:
            total, passed = line["total_count"], line.get("correct_count")
        else:
            failures[str(line.get("id") or value_at(line, "prompt.id"))] = line
    if not isinstance(total, int) or not isinstance(passed, int):
        raise UsageError(f"{path}:1: no header with total_count; run `bfcl evaluate` again")
    if total - passed != len(failures):
        raise UsageError(
            f"{path}: holds {len(failures)} failures, its header counts {total - passed}; run "
            f"`bfcl evaluate` again"
        )
    return total, failures


def _rows(categories: list[_CategoryFiles]) -> Iterator[ResultRow | UnreadLine]:
    for files in categories:
        total, failures = _failures(files.score)
        seen: set[str] = set()
        for row in read_rows(json_lines(files.result), partial(_row, files.category, failures)):
            if isinstance(row, ResultRow):
                seen.add(row.id)
            yield row
        others = sorted(set(failures) - seen)
        if others or total != len(seen):
            raise UsageError(
                f"{files.score}: scores {total} answers, {files.result.name} has {len(seen)}"
                + (f" and no {others[0]}" if others else "")
                + "; run `bfcl evaluate` again"
            )


def _row(
    category: str, failures: Mapping[str, Mapping[str, Any]], where: str, line: Mapping[str, Any]
) -> ResultRow:
    name = text_of(line.get("id"))
    if name is None or "result" not in line:
        raise ValueError("no id or result; is this a result file of bfcl?")
    failure = failures.get(name)
    answer = text_of(line["result"])
    failed = answer is not None and answer.startswith(FAILED)
    return ResultRow(
        id=name,
        where=where,
        task=category,
        completion=answer,
        expected=text_of((failure or {}).get("possible_answer")),
        reasoning="\n".join(_texts(line.get("reasoning_content"))) or None,
        scores={SCORE: 0.0 if failure is not None else 1.0},
        error=answer if failed else None,
        input_tokens=token_count(_sum(line.get("input_token_count"))),
        output_tokens=token_count(_sum(line.get("output_token_count"))),
        latency_s=_sum(line.get("latency")),
        fields={**line, **({} if failure is None else {"failure": failure})},
    )


def _texts(raw: Any) -> Iterator[str]:
    if isinstance(raw, list):
        for one in raw:
            yield from _texts(one)
    elif isinstance(raw, str) and raw:
        yield raw


def _sum(raw: Any) -> float | None:
    """Return a number, or the sum of those within lists of turns and steps."""
    if isinstance(raw, list):
        parts = [_sum(one) for one in raw]
        known = [part for part in parts if part is not None]
        return sum(known) if known else None
    return score_value(raw)[0]
