"""Writes the JSON schemas in harness/records/schemas: of a suite, a case, and the published
records.

A reader of verdict.json, compare.json or `tunegate history --json` finds there what it gets. The
gates' part of suite.schema.json is made by the gate kinds, the others are made from the fields of
their records. Run it after one of them has changed: `python docs/reference/make_schemas.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from tunegate.harness.contracts.further_arm import comparisons, further_arms
from tunegate.harness.contracts.json_schema import SCHEMAS
from tunegate.harness.decision.verdict.run_history import RunHistory
from tunegate.harness.records.candidates import CandidateComparison
from tunegate.harness.records.cases import Case
from tunegate.harness.records.record import Record
from tunegate.harness.records.verdict import VerdictRecord
from tunegate.harness.suite.file_schema import suite_schema

if TYPE_CHECKING:
    from pydantic_core.core_schema import NullableSchema, WithDefaultSchema

KINDS: Mapping[str, tuple[type[Record], str]] = {
    "verdict": (VerdictRecord, "verdict.json: what a run decided, on which numbers, and why."),
    "compare": (
        CandidateComparison,
        "compare.json: which of several fine-tunes may ship, and why.",
    ),
    "history": (RunHistory, "`tunegate history --json`: a project's runs, oldest first."),
}
"""Name → record, and its description."""


class _FileForm(GenerateJsonSchema):
    """Writes a schema for files, where a field without a value is absent, never null."""

    def nullable_schema(self, schema: NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


def case_schema() -> dict[str, Any]:
    """Return the JSON schema of a line of cases.jsonl, generated from the record `Case`."""
    properties = Case.model_json_schema(schema_generator=_FileForm)["properties"]
    for form in properties.values():
        form["description"] = " ".join(form["description"].split())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tunegate case",
        "description": "One line of cases.jsonl.",
        "type": "object",
        "additionalProperties": False,
        "oneOf": [{"required": ["prompt"]}, {"required": ["messages"]}],
        "properties": properties,
        "dependentRequired": {"answer": ["choices"]},
    }


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
    schemas = {"suite": suite_schema(), "case": case_schema()}
    schemas |= {name: schema_of(name) for name in KINDS}
    return {
        SCHEMAS / f"{name}.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for name, schema in schemas.items()
    }


if __name__ == "__main__":
    for path, text in schema_files().items():
        path.write_text(text, encoding="utf-8")
