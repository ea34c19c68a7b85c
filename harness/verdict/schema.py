"""`harness/schemas/verdict.schema.json`, made from the records: what a reader of verdict.json gets.

`python -m harness.verdict.schema` writes the file anew; a test compares the two.
"""

from __future__ import annotations

import json
from typing import Any

from harness.form import SCHEMAS
from harness.run import write_atomic
from harness.verdict.record import VerdictRecord

FILE = SCHEMAS / "verdict.schema.json"


def verdict_schema() -> dict[str, Any]:
    """Return the JSON schema of verdict.json, with the records' own words as descriptions."""
    made = _without_titles(VerdictRecord.model_json_schema(mode="serialization"))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tunegate verdict",
        "description": "verdict.json: what a run decided, on which numbers, and why.",
        **{key: value for key, value in made.items() if key != "description"},
    }


def _without_titles(schema: Any) -> Any:
    """Drop pydantic's titles, which repeat the names of the keys."""
    if isinstance(schema, dict):
        return {
            key: _without_titles(value)
            for key, value in schema.items()
            if not (key == "title" and isinstance(value, str))
        }
    return [_without_titles(item) for item in schema] if isinstance(schema, list) else schema


def text() -> str:
    """Return the file's content."""
    return json.dumps(verdict_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    write_atomic(FILE, text())
