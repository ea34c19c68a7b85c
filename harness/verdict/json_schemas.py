"""JSON schemas of the published records, generated from the models, and that of a suite.

A reader of verdict.json, compare.json or `tunegate history --json` finds there what it gets. The
gates' part of suite.schema.json is generated from the gate kinds.
`python -m tunegate.harness.verdict.json_schemas` writes the files anew; a test compares them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunegate.harness.further_arm import comparisons, further_arms
from tunegate.harness.json_schema import SCHEMAS, load_schema
from tunegate.harness.records.cases import Record
from tunegate.harness.records.comparison import CandidateComparison
from tunegate.harness.records.files import write_atomic
from tunegate.harness.records.verdict import VerdictRecord
from tunegate.harness.verdict.run_history import RunHistory

FILE = SCHEMAS / "verdict.schema.json"
KINDS: Mapping[str, tuple[type[Record], str]] = {
    "verdict": (VerdictRecord, "verdict.json: what a run decided, on which numbers, and why."),
    "compare": (
        CandidateComparison,
        "compare.json: which of several fine-tunes may ship, and why.",
    ),
    "history": (RunHistory, "`tunegate history --json`: a project's runs, oldest first."),
}
"""Name → record, and its description."""


def verdict_schema() -> dict[str, Any]:
    """Return the JSON schema of verdict.json, with the records' own words as descriptions."""
    return schema_of("verdict")


def _add_arm_results(made: dict[str, Any]) -> None:
    """Give the result of each declared further arm the schema of its class."""
    results = made["properties"]["further_arms"]["properties"] = dict[str, Any]()
    for name, how in comparisons(further_arms()).items():
        kind = how.result_type()
        own = _drop_titles(kind.model_json_schema(mode="serialization"))
        made["$defs"] |= {**own.pop("$defs", {}), kind.__name__: own}
        results[name] = {"$ref": f"#/$defs/{kind.__name__}"}
    made["$defs"] = dict(sorted(made["$defs"].items()))


def schema_of(name: str) -> dict[str, Any]:
    """Return the JSON schema of one of `KINDS`."""
    record, description = KINDS[name]
    made = _drop_titles(record.model_json_schema(mode="serialization"))
    if record is VerdictRecord:
        _add_arm_results(made)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"tunegate {name}",
        "description": description,
        **{key: value for key, value in made.items() if key != "description"},
    }


def _drop_titles(schema: Any) -> Any:
    """Drop pydantic's titles, which repeat the names of the keys."""
    if isinstance(schema, dict):
        return {
            key: _drop_titles(value)
            for key, value in schema.items()
            if not (key == "title" and isinstance(value, str))
        }
    return [_drop_titles(item) for item in schema] if isinstance(schema, list) else schema


def schema_files() -> dict[Path, str]:
    """Return path → content of every file."""
    schemas = {"suite": load_schema("suite")} | {name: schema_of(name) for name in KINDS}
    return {
        SCHEMAS / f"{name}.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for name, schema in schemas.items()
    }


if __name__ == "__main__":
    for path, text in schema_files().items():
        write_atomic(path, text)
