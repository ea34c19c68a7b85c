"""A table of results in a file: JSON lines, a JSON list, CSV, TSV or parquet, of any tool.

Columns with these names need no option: `id`, `task`, `sample`, `prompt`, `completion`, `expected`,
`judge`, `error`, and for scores `score`, `scores.NAME` or, in JSON, an object `scores`. Others are
named in the spec; one within another has a dot:

    results:runs.jsonl?id=reference_example_id&scores=feedback.correct,feedback.tone

`rule=limit,version` names what else must be equal in both runs. A folder `judge=NAME` or
`eval=NAME` in the path, as WildBench writes it, names the judge.

Example of a file:
    id,score
    r1,1
    r2,0.5
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.result_reader import (
    ResultLog,
    ResultRow,
    content_id,
    result_reader,
    value_at,
)
from tunegate.harness.records.errors import UsageError
from tunegate.harness.results._files import TABLES, first_bytes, table_records
from tunegate.harness.results._values import (
    convert_scores,
    prompt_of,
    read_rows,
    text_of,
)

PROMPTS = ("prompt", "input", "question", "messages")
COMPLETIONS = ("completion", "output", "response")
RIGHT_ANSWERS = (
    "expected", "expected_output", "expected_answer", "target", "gold", "gold_answer",
    "ground_truth", "reference", "reference_answer", "correct_answer",
)  # fmt: skip
JUDGES = ("judge", "judge_model", "grader")
FOLDER = re.compile(r"(?:judge|eval|evaluator|grader)=(.+)")
"""Name of a folder that names the judge of the tables in it."""
PROBED = 100
"""Records that are searched for columns."""


def _is_table(path: Path) -> bool:
    if path.suffix not in TABLES or not path.is_file():
        return False
    return path.suffix != ".json" or first_bytes(path).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"["


@result_reader(
    files="a table as .jsonl, .csv, .tsv, .json or .parquet", recognize=_is_table, last=True
)
def table(  # noqa: PLR0913  # each names a column in a spec
    path: Path,
    *,
    id: str = "",
    scores: str = "",
    prompt: str = "",
    completion: str = "",
    expected: str = "",
    error: str = "error",
    sample: str = "sample",
    task: str = "task",
    rule: str = "",
) -> Iterator[ResultLog]:
    """Read a table; each option names a column, `scores` and `rule` several, comma-separated.

    Without a column `id` the hash of the prompt is the id.
    """
    head = [row for _, row in islice(table_records(path), PROBED) if isinstance(row, dict)]
    if not head:
        raise UsageError(f"{path}: no records; write one result a line")
    there = tuple(dict.fromkeys(name for row in head for name in row))

    def column(option: str, name: str, usual: Sequence[str]) -> str:
        if name and not any(value_at(row, name) is not None for row in head):
            raise UsageError(
                f"results:{path}?{option}={name}: no such column; there are: {', '.join(there)}"
            )
        return name or next((each for each in usual if each in there), "")

    columns = _TableColumns(
        id=column("id", id, ("id",)),
        prompt=column("prompt", prompt, PROMPTS),
        completion=column("completion", completion, COMPLETIONS),
        scores=[column("scores", name.strip(), ()) for name in scores.split(",") if name.strip()],
        expected=column("expected", expected, RIGHT_ANSWERS),
        error=error,
        sample=sample,
        task=task,
        rules=[column("rule", name.strip(), ()) for name in rule.split(",") if name.strip()]
        or [name for name in JUDGES if name in there and _is_name(head, name)],
    )
    if not columns.id and not columns.prompt:
        raise UsageError(
            f"{path}: no column 'id'; name it: results:{path}?id=COLUMN, one of {', '.join(there)}"
        )
    if not columns.scores and not any(columns.row("", row).scores for row in head):
        raise UsageError(
            f"{path}: no column 'score'; name those with scores: results:{path}?scores=COLUMN, "
            f"of {', '.join(there)}"
        )
    judge = next((match[1] for part in path.parts[::-1] if (match := FOLDER.fullmatch(part))), None)
    yield ResultLog(
        tool="table",
        rows=lambda: read_rows(table_records(path), columns.row),
        settings={"judge": judge} if judge else {},
        repeats=sample in there,
    )


def _is_name(head: Sequence[Mapping[str, Any]], column: str) -> bool:
    """Return whether a column's values recur, as the names of judges do and their words do not."""
    values = [text_of(row.get(column)) for row in head]
    return len(values) == 1 or 2 * len(set(values)) <= len(values)


@dataclass(frozen=True)
class _TableColumns:
    id: str
    prompt: str
    completion: str
    scores: Sequence[str]
    expected: str
    error: str
    sample: str
    task: str
    rules: Sequence[str]

    def row(self, where: str, record: Mapping[str, Any]) -> ResultRow:
        """Return a record as a row."""
        prompt = value_at(record, self.prompt)
        name = text_of(value_at(record, self.id)) if self.id else content_id(prompt)
        if name is None or not name.strip():
            raise ValueError(f"no {self.id!r}; every result needs one")
        numbers, errors = convert_scores(dict(self._raw_scores(record)))
        answer, right = value_at(record, self.completion), value_at(record, self.expected)
        return ResultRow(
            id=name.strip(),
            where=where,
            task=text_of(value_at(record, self.task)) or "",
            sample=_sample(value_at(record, self.sample)),
            prompt=prompt_of(prompt),
            completion=text_of(answer),
            reasoning=text_of(record.get("reasoning")) or None,
            scores=numbers,
            errors=errors,
            error=text_of(value_at(record, self.error)) or None,
            expected=right if isinstance(right, list) else text_of(right) or None,
            rules={name: value_at(record, name) for name in self.rules},
            fields=record,
        )

    def _raw_scores(self, record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        if self.scores:
            yield from ((name, value_at(record, name)) for name in self.scores)
            return
        several = record.get("scores")
        yield from several.items() if isinstance(several, Mapping) else ()
        for name, value in record.items():
            if name == "score" or name.startswith(("score.", "scores.")):
                yield name.removeprefix("scores."), value


def _sample(raw: Any) -> int | None:
    if raw is None or raw == "":
        return None
    try:
        return int(raw)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"sample={raw!r:.40} is not a whole number") from None
