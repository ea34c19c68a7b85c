"""Writes harness/schemas/case.schema.json from the fields of the record `Case`.

Run it after one of them has changed: `python docs/reference/make_case_schema.py`.
"""

from __future__ import annotations

import json

from tunegate.harness.json_schema import SCHEMAS
from tunegate.harness.source import case_schema

PAGE = SCHEMAS / "case.schema.json"


def render() -> str:
    """Return the text of the schema file."""
    return json.dumps(case_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
