"""The source contract: rows become cases, or sentences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tunegate.harness.errors import SuiteError
from tunegate.harness.json_schema import schema_problems
from tunegate.harness.source import SourcedCase, make_case
from tunegate.harness.sources.jsonl import jsonl


def test_a_row_becomes_a_case() -> None:
    """Letters become indices, `schema` is the case's own schema, a missing id is made."""
    case = make_case(
        {"prompt": "p", "choices": ["a", "b"], "answer": "B", "schema": {"type": "object"}}
    )

    assert (case.answer, case.answer_schema, len(case.id)) == (1, {"type": "object"}, 12)


def test_the_row_is_not_changed() -> None:
    """A source may use its row again."""
    row = {"prompt": "p", "choices": ["a", "b"], "answer": "B"}
    make_case(row)

    assert row == {"prompt": "p", "choices": ["a", "b"], "answer": "B"}


def test_problems_of_a_row_are_one_sentence() -> None:
    """Everything wrong with a row is said in its one line."""
    with pytest.raises(
        ValueError, match=r"unknown key .promt.; did you mean .prompt.\?; id: 3 must be a text"
    ):
        make_case({"promt": "p", "prompt": "q", "id": 3})


def test_tables_are_reported_in_their_order() -> None:
    """The tenth gate comes after the second."""
    gates = [{"metric": "m", "floor": "x"} for _ in range(11)]
    found = schema_problems(
        {"name": "s", "cases": "c", "metrics": [{"use": "m"}], "gates": gates}, "suite"
    )

    assert [p.split(".")[1] for p in found] == [str(i) for i in range(11)]


def test_jsonl_keeps_the_places(tmp_path: Path) -> None:
    """Each case knows its file and line; blank lines count and yield nothing."""
    (tmp_path / "c.jsonl").write_text('{"prompt": "a"}\n\n{"prompt": "b"}', encoding="utf-8")
    found = list(jsonl(tmp_path, file="c.jsonl"))

    assert [isinstance(s, SourcedCase) for s in found] == [True, True]
    assert [s.where for s in found] == [f"{tmp_path}/c.jsonl:1", f"{tmp_path}/c.jsonl:3"]


def test_unicode_line_ends_are_no_line_ends(tmp_path: Path) -> None:
    """U+2028 and a form feed inside a text do not split a case."""
    (tmp_path / "c.jsonl").write_text('{"prompt": "a\u2028b\x85c"}\n', encoding="utf-8")

    assert [s.case.prompt for s in jsonl(tmp_path, file="c.jsonl")] == ["a\u2028b\x85c"]


def test_good_lines_come_before_the_complaint(tmp_path: Path) -> None:
    """All good cases are yielded, then every bad line is named in one error."""
    (tmp_path / "c.jsonl").write_text('1\n{"prompt": "a"}\n2\n', encoding="utf-8")
    cases: list[SourcedCase] = []
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
    """The contract of the room: a function of the module's name whose first argument is given."""
    import inspect

    from tunegate.harness import lookup

    for name in lookup.available("tunegate.harness.sources"):
        function = lookup.find("tunegate.harness.sources", name, what="case source")
        assert next(iter(inspect.signature(function).parameters)) == "folder"
