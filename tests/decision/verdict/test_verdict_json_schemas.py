"""harness/records/schemas: fresh, and what verdict.json, compare.json and the history hold."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from tests.compared_runs import candidate
from tests.past_runs import FOUR, history_of
from tunegate.harness.contracts.json_schema import SCHEMAS, read_schema
from tunegate.harness.decision.candidates.rank import compare_runs
from tunegate.harness.records.files import record_json
from tunegate.harness.records.manifest import Gate

KINDS = ("verdict", "compare", "history")


@pytest.fixture(name="maker", scope="module")
def _maker() -> Any:
    """The script that writes the schemas."""
    file = Path(__file__).parents[3] / "docs" / "reference" / "make_schemas.py"
    spec = importlib.util.spec_from_file_location("make_schemas", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_files_are_fresh(maker: Any) -> None:
    """Whoever changes a record runs `python docs/reference/make_schemas.py`."""
    made = maker.schema_files()

    assert {path: path.read_text(encoding="utf-8") for path in made} == made
    assert {path.name for path in made} == {path.name for path in SCHEMAS.glob("*.json")}
    assert {*maker.KINDS} == {*KINDS}


@pytest.mark.parametrize("name", KINDS)
def test_it_is_a_schema_of_draft_2020_12(name: str) -> None:
    content = read_schema(name)

    Draft202012Validator.check_schema(content)
    assert content["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("name", KINDS)
def test_every_field_is_described(name: str) -> None:
    content = read_schema(name)
    records = {f"{name}.json": content} | content["$defs"]

    bare = [
        f"{name}.{key}"
        for name, record in records.items()
        for key, field in record.get("properties", {}).items()
        if "description" not in field and "$ref" not in field
    ]
    assert bare == []


def test_comparison_and_history_satisfy_their_schemas() -> None:
    compared = compare_runs([candidate("a", 60), candidate("b", 70)])
    past = history_of(*FOUR)

    for name, record in (("compare", compared), ("history", past)):
        Draft202012Validator(read_schema(name)).validate(json.loads(record_json(record)))


def test_it_refuses_what_is_no_verdict(judge: Any, columns: Any, record_factory: Any) -> None:
    suite = columns(
        [Gate(metric="m", kind="gain", margin=0.1)], {"m": record_factory.pairs(5, 0, 0, 0)}
    )
    good = json.loads(record_json(judge(suite)))
    validator = Draft202012Validator(read_schema("verdict"))

    validator.validate(good)
    without = {key: value for key, value in good.items() if key != "sentence"}
    for bad in ({**good, "extra": 1}, {**good, "verdict": "OK"}, without):
        with pytest.raises(ValidationError):
            validator.validate(bad)
