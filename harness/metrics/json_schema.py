"""Whether the answer is JSON that satisfies a JSON schema."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunegate.harness.contracts import child_process
from tunegate.harness.contracts.metric import metric
from tunegate.harness.metrics import _json_parsing
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

LIMIT_S = 1.0
"""Seconds that validating one completion may take."""

_VALIDATION = "tunegate.harness.metrics._json_schema"


def _check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    schema = options.get("schema")
    problems = [] if schema is None else list(check_schema(schema))
    bare = [c.id for c in cases if c.answer_schema is None]
    seen: dict[str, tuple[str, ...]] = {}
    for case in cases:
        if case.answer_schema is not None:
            document = json.dumps(case.answer_schema)
            violations = seen.get(document)
            if violations is None:
                violations = seen[document] = _document_problems(document)
            problems += [f"case {case.id!r}: schema: {problem}" for problem in violations]
    if schema is None and bare:
        problems.append(
            f"metric 'json_schema' has no schema for case {bare[0]!r}; give the metric the option "
            "schema = \"FILE\", or the case a 'schema'"
        )
    return problems


@metric(label="valid JSON by the schema", binary=True, check=_check)
def json_schema(
    case: Case,
    completion: Completion,
    *,
    schema: Path | None = None,
    extract: _json_parsing.Extract | None = None,
) -> Score:
    """Score 1 if the answer is JSON that satisfies the schema, else 0 with the first violation.

    Strict JSON (no NaN, no key twice, nothing around it), `format` included. Drafts 4, 6, 7,
    2019-09 and 2020-12 are known by `$schema`; the default is 2020-12. Nothing is fetched.

    Known problems:
        The right form says nothing about the content: add `json_fields`. Patterns are Python's
        regular expressions. A check that takes longer than a second leaves the case unscored.

    Example:
        ```toml
        [[metrics]]
        use = "json_schema"
        schema = "ticket.schema.json"
        ```

    Options:
        schema: File with the schema, relative to the suite's folder. A case's own `schema`
            wins.
        extract: `fence` also reads JSON inside a ``` fence, `prose` also JSON inside other
            text.
    """
    if completion.text is None:
        return Score.unscored("the completion has no text")
    try:
        document = _document(case, schema)
    except (OSError, ValueError) as error:
        return Score.unscored(f"the schema cannot be read: {error}")
    if document is None:
        return Score.unscored("no schema: give the metric the option 'schema' or the case one")
    try:
        located = _json_parsing.find_json(completion.text, extract)
    except _json_parsing.UnreadableJson as error:
        return Score.of(0.0, f"not JSON: {error}")
    return _validate(document, located)


def check_schema(schema: Path) -> tuple[str, ...]:
    """Return what makes the schema file unusable, each as `file: what`; empty if nothing does."""
    try:
        problems = _document_problems(_read(schema))
    except (OSError, ValueError) as error:
        problems = (f"cannot be read: {error}",)
    return tuple(f"{schema}: {problem}" for problem in problems)


def _document_problems(document: str) -> tuple[str, ...]:
    try:
        problems: list[str] = child_process.run_with_timeout(
            _VALIDATION, "schema_problems", document, limit_s=LIMIT_S
        )
    except (child_process.CallTimeout, child_process.CallFailed) as error:
        return (f"cannot be checked: {error}",)
    return tuple(problems)


def _document(case: Case, schema: Path | None) -> str | None:
    if case.answer_schema is not None:
        return json.dumps(case.answer_schema)
    return None if schema is None else _read(schema)


def _read(schema: Path) -> str:
    return schema.read_text(encoding="utf-8-sig")


def _validate(document: str, located: _json_parsing.LocatedJson) -> Score:
    try:
        answer = child_process.run_with_timeout(
            _VALIDATION,
            "schema_violation",
            document,
            located.text,
            limit_s=LIMIT_S,
        )
    except (child_process.CallTimeout, child_process.CallFailed) as error:
        return Score.unscored(f"check_error: validation failed: {error}")
    if "problem" in answer:
        return Score.unscored(f"the schema is unusable: {answer['problem']}")
    if "violation" in answer:
        return Score.of(0.0, "; ".join(filter(None, (answer["violation"], located.source))))
    return Score.of(1.0, located.source)
