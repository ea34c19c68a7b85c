"""Cases from another tool's results: its ids, prompts and right answers.

The path is set here rather than by the arms, so all candidates are judged on the same cases.
`tunegate suite new DIR --from results:PATH` writes this table.

Example:
    [cases]
    from = "results"
    path = "../../runs/base"
    task = "gsm8k"
    columns = { tags = ["doc.subject"], cluster = "doc.passage_id" }
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from tunegate.harness.contracts.result_reader import ResultRow, value_at
from tunegate.harness.contracts.result_set import ResultSet, read_results
from tunegate.harness.contracts.result_spec import ResultSpec
from tunegate.harness.contracts.source import NotedCases, make_case
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import SuiteError, UsageError, unknown_name_message
from tunegate.harness.records.problems import summarize_problems

READS_RECORDS = True
"""Its files are records of other tools, which may be outside the project."""


def _check_columns(columns: dict[str, str | list[str]]) -> dict[str, str | list[str]]:
    for field, column in columns.items():
        if field not in ("tags", "cluster"):
            raise ValueError(unknown_name_message(field, ("tags", "cluster"), what="field"))
        if field == "cluster" and not isinstance(column, str):
            raise ValueError("cluster takes one field of a record")
    return columns


Columns = Annotated[dict[str, str | list[str]], AfterValidator(_check_columns)]
"""`tags` or `cluster` → field of the tool's records."""


def results(
    folder: Path,
    *,
    path: str,
    task: str | tuple[str, ...] = (),
    columns: Columns | None = None,
) -> NotedCases:
    """Return the cases of a results file.

    Args:
        folder: The suite's folder.
        path: The part of a spec after `results:`, from the suite's folder: a file or folder,
            with `?format=…` and `#RUN` if needed.
        task: The tasks to take; by default all. If there are several, each case is tagged with
            its own.
        columns: Fields of the records that become tags or the cluster of a case; nested ones with
            a dot.

    Raises:
        SuiteError: the file cannot be read, or has no such task or field.
    """
    wanted = (task,) if isinstance(task, str) else task
    try:
        spec = ResultSpec.parse(path, folder=folder)
        found = read_results(spec)
    except UsageError as error:
        raise SuiteError(str(error).splitlines()) from error
    problems = [
        f"{spec.path}: {unknown_name_message(name, tuple(found.tasks), what='task')}"
        for name in wanted
        if name not in found.tasks
    ]
    problems += [f"{line.where}: {line.problem}" for line in found.unread]
    if problems:
        raise SuiteError(summarize_problems(problems))
    several = len(wanted or found.tasks) > 1
    cases, broken = [], []
    for name, row in found.rows():
        if wanted and row.task not in wanted:
            continue
        try:
            case = _case(name, row, columns or {}, tag_task=several)
        except ValueError as error:
            broken.append(f"{row.where}: {error}")
            continue
        cases.append(case)
    if broken:
        raise SuiteError(summarize_problems(broken))
    cases.sort(key=lambda case: case.id)
    return NotedCases(tuple(cases), _notes(found, cases))


def _notes(found: ResultSet, cases: Sequence[Case]) -> tuple[str, ...]:
    without = sum(case.prompt == _no_prompt(case.id) for case in cases)
    lines = list(found.notes)
    if without:
        lines.append(f"{without} of {len(cases)} results hold no prompt: the id replaces it")
    return tuple(lines)


def _no_prompt(name: str) -> str:
    return f"[no prompt recorded] {name}"


def _case(
    name: str, row: ResultRow, columns: Mapping[str, str | Sequence[str]], *, tag_task: bool
) -> Case:
    """Return the case of a row.

    Raises:
        ValueError: a field is missing, or the prompt is not a conversation.
    """
    fields: dict[str, Any] = {"id": name}
    if row.prompt is None or not row.prompt:
        fields["prompt"] = _no_prompt(name)
    elif isinstance(row.prompt, str):
        fields["prompt"] = row.prompt
    else:
        fields["messages"] = [dict(turn) for turn in row.prompt]
    if row.expected:
        fields["expected"] = row.expected if isinstance(row.expected, str) else [*row.expected]
    tags = [row.task] if tag_task else []
    places = columns.get("tags", ())
    for place in [places] if isinstance(places, str) else places:
        value = _field(row, place)
        tags += map(str, value) if isinstance(value, list) else [str(value)]
    if tags:
        fields["tags"] = list(dict.fromkeys(tags))
    if "cluster" in columns:
        fields["cluster"] = str(_field(row, str(columns["cluster"])))
    return make_case(fields, row.where)


def _field(row: ResultRow, place: str) -> Any:
    value = value_at(row.fields, place)
    if value is None or value == "":
        raise ValueError(f"the record has no field {place!r}; it has {', '.join(row.fields)}")
    return value
