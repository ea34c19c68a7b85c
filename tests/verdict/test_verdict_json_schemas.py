"""The schemas say what verdict.json, compare.json and the history hold, and are fresh."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from tests.compared_runs import candidate
from tests.past_runs import FOUR, history_of
from tunegate.harness.candidates.rank import compare_runs
from tunegate.harness.records.files import record_json
from tunegate.harness.records.manifest import Gate
from tunegate.harness.verdict import json_schemas


def test_the_files_are_fresh() -> None:
    """Made anew they are the same; else: python -m tunegate.harness.verdict.json_schemas."""
    assert {
        path: path.read_text(encoding="utf-8") for path in json_schemas.schema_files()
    } == json_schemas.schema_files()


@pytest.mark.parametrize("name", json_schemas.KINDS)
def test_it_is_a_schema_of_draft_2020_12(name: str) -> None:
    """The schema itself is valid and names its draft."""
    content = json_schemas.schema_of(name)

    Draft202012Validator.check_schema(content)
    assert content["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("name", json_schemas.KINDS)
def test_every_field_is_described(name: str) -> None:
    """No key of any record is left without a sentence."""
    content = json_schemas.schema_of(name)
    records = {f"{name}.json": content} | content["$defs"]

    bare = [
        f"{name}.{key}"
        for name, record in records.items()
        for key, field in record.get("properties", {}).items()
        if "description" not in field and "$ref" not in field
    ]
    assert bare == []


def test_comparison_and_history_satisfy_their_schemas() -> None:
    """What is printed with --json is what the files say."""
    compared = compare_runs([candidate("a", 60), candidate("b", 70)])
    past = history_of(*FOUR)

    for name, record in (("compare", compared), ("history", past)):
        Draft202012Validator(json_schemas.schema_of(name)).validate(json.loads(record_json(record)))


def test_it_refuses_what_is_no_verdict(judge: Any, columns: Any, made: Any) -> None:
    """An unknown key, an unknown verdict and a missing sentence are all refused."""
    suite = columns([Gate(metric="m", kind="gain", margin=0.1)], {"m": made.pairs(5, 0, 0, 0)})
    good = json.loads(record_json(judge(suite)))
    validator = Draft202012Validator(json_schemas.verdict_schema())

    validator.validate(good)
    without = {key: value for key, value in good.items() if key != "sentence"}
    for bad in ({**good, "extra": 1}, {**good, "verdict": "OK"}, without):
        with pytest.raises(ValidationError):
            validator.validate(bad)
