"""The source contract: rows become cases, or sentences."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tunegate.harness.contracts.json_schema import read_schema, schema_problems
from tunegate.harness.contracts.source import make_case
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import SuiteError
from tunegate.harness.suite.file_schema import suite_validator
from tunegate.harness.suite.sources.jsonl import jsonl


def test_a_row_becomes_a_case() -> None:
    """Letters become indices, `schema` is the case's own schema, a missing id is made."""
    case = make_case(
        {"prompt": "p", "choices": ["a", "b"], "answer": "B", "schema": {"type": "object"}}
    )

    assert (case.answer, case.answer_schema, len(case.id)) == (1, {"type": "object"}, 12)


def test_the_schema_of_a_file_names_the_fields_of_the_record() -> None:
    """By their names in a file; the schema adds what a row may leave out or write otherwise."""
    made_here = {"variant_of", "without_system"}  # by [variants], never by a file
    fields = [f.alias or name for name, f in Case.model_fields.items() if name not in made_here]

    schema = read_schema("case")

    assert list(schema["properties"]) == fields
    assert [n for n, form in schema["properties"].items() if not form.get("description")] == []
    assert "null" not in json.dumps(schema)
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"prompt": ""}, 'prompt: "" must not be empty'),
        ({"prompt": None}, "prompt: null must be a text"),
        ({"messages": [{"role": "bot"}]}, "messages.0.role: "),
        ({"prompt": "p", "choices": ["a"]}, "choices: "),
        ({"prompt": "p", "expected": []}, "expected: [] must be a text or a list"),
        ({"prompt": "p", "answer": 0}, "'answer' needs 'choices' next to it"),
        ({"prompt": "p", "choices": ["a", "b"], "answer": "b"}, 'answer: "b" must be '),
        ({"prompt": "p", "expected_calls": [{"name": "f"}]}, "expected_calls.0: the key "),
        ({"prompt": "p", "rules": {}}, "rules: "),
        ({"prompt": "p", "top_p": 0}, "top_p: 0 must be above 0"),
    ],
)
def test_a_file_is_stricter_than_the_record(row: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        make_case(row)


def test_the_row_is_not_changed() -> None:
    row = {"prompt": "p", "choices": ["a", "b"], "answer": "B"}
    make_case(row)

    assert row == {"prompt": "p", "choices": ["a", "b"], "answer": "B"}


def test_problems_of_a_row_are_one_sentence() -> None:
    with pytest.raises(
        ValueError, match=r"unknown key .promt.; did you mean .prompt.\?; id: 3 must be a text"
    ):
        make_case({"promt": "p", "prompt": "q", "id": 3})


def test_tables_are_reported_in_their_order() -> None:
    gates = [{"metric": "m", "floor": "x"} for _ in range(11)]
    found = schema_problems(
        {"name": "s", "cases": "c", "metrics": [{"use": "m"}], "gates": gates}, suite_validator()
    )

    assert [p.split(".")[1] for p in found] == [str(i) for i in range(11)]


def test_jsonl_keeps_the_places(tmp_path: Path) -> None:
    """Each case knows its file and line; blank lines count and yield nothing."""
    (tmp_path / "c.jsonl").write_text('{"prompt": "a"}\n\n{"prompt": "b"}', encoding="utf-8")
    found = list(jsonl(tmp_path, file="c.jsonl"))

    assert [isinstance(s, Case) for s in found] == [True, True]
    assert [s.where for s in found] == [f"{tmp_path}/c.jsonl:1", f"{tmp_path}/c.jsonl:3"]


def test_unicode_line_ends_are_no_line_ends(tmp_path: Path) -> None:
    """U+2028 and a form feed inside a text do not split a case."""
    (tmp_path / "c.jsonl").write_text('{"prompt": "a\u2028b\x85c"}\n', encoding="utf-8")

    assert [s.prompt for s in jsonl(tmp_path, file="c.jsonl")] == ["a\u2028b\x85c"]


def test_good_lines_come_before_the_complaint(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text('1\n{"prompt": "a"}\n2\n', encoding="utf-8")
    cases: list[Case] = []
    with pytest.raises(SuiteError) as caught:
        cases.extend(jsonl(tmp_path, file="c.jsonl"))

    assert len(cases) == 1
    assert [p.split(":")[1] for p in caught.value.problems] == ["1", "3"]


def test_folders_and_devices_are_no_files(tmp_path: Path) -> None:
    """A device would be read for ever."""
    for path in (tmp_path, Path("/dev/zero")):
        with pytest.raises(SuiteError, match="not a file"):
            list(jsonl(tmp_path, file=str(path)))


def test_every_source_takes_a_folder_first(suite_folder: Callable[..., Path]) -> None:
    import inspect

    from tunegate.harness.contracts import lookup

    for name in lookup.available_names("tunegate.harness.suite.sources"):
        function = lookup.find_object("tunegate.harness.suite.sources", name, what="case source")
        assert next(iter(inspect.signature(function).parameters)) == "folder"
