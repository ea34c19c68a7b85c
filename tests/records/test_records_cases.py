"""Records that reach the disk: frozen, strict, round trip, one text each."""

from __future__ import annotations

import hashlib
import json
import math
import pickle

import pytest
from pydantic import ValidationError

from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.hashing import canonical_json, sha256
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.record import replace_surrogates
from tunegate.harness.records.scores import Score, ScoreRow


def test_canonical_json_is_one_text() -> None:
    assert canonical_json({"b": [1, 2.5], "a": "é"}) == '{"a":"\\u00e9","b":[1,2.5]}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": math.nan})


def test_sha256_is_the_standards() -> None:
    """A text by its UTF-8 bytes (lone surrogates too), anything else by its canonical JSON."""
    assert sha256("é") == hashlib.sha256(b"\xc3\xa9").hexdigest()
    assert sha256({"a": 1}) == hashlib.sha256(b'{"a":1}').hexdigest()
    assert sha256("\ud800") == hashlib.sha256(b"\xed\xa0\x80").hexdigest()


def test_records_are_frozen_and_strict() -> None:
    case = Case(id="a", prompt="p")
    with pytest.raises(ValidationError):
        case.id = "b"  # type: ignore[misc]  # the point of the test
    with pytest.raises(ValidationError):
        Case(id="a", prompt="p", promt="x")  # type: ignore[call-arg]  # the point of the test
    for value in (math.nan, math.inf, 1e101):
        with pytest.raises(ValidationError):
            ScoreRow(suite="s", metric="m", case="c", arm="base", value=value)


def test_the_schema_of_a_case_keeps_its_name_on_disk() -> None:
    """`schema` in the file is `answer_schema` in code, and both names build it."""
    case = Case.model_validate({"id": "a", "prompt": "p", "schema": {"type": "object"}})

    assert case == Case(id="a", prompt="p", answer_schema={"type": "object"})
    assert json.loads(case.model_dump_json(by_alias=True))["schema"] == {"type": "object"}


def test_settings_of_its_own_leave_no_trace_in_a_case_that_has_none() -> None:
    later = {"max_new_tokens": 9, "temperature": 0.5, "top_p": 0.9}
    later |= {"tool_choice": "auto", "response_format": {"type": "json_object"}}

    assert not later.keys() & Case(id="a", prompt="x").model_dump(mode="json").keys()
    assert later.items() <= Case(id="a", prompt="x", **later).model_dump(mode="json").items()


def test_the_conversation_gets_the_suites_system_prompt() -> None:
    system = {"role": "system", "content": "s"}
    user = {"role": "user", "content": "p"}

    assert Case(id="a", prompt="p").input_messages() == (user,)
    assert Case(id="a", prompt="p").input_messages("s") == (system, user)
    own = Case(id="a", messages=(system, user))
    assert own.input_messages("other") == (system, user)


def test_expected_texts_are_a_tuple() -> None:
    assert Case(id="a", prompt="p").expected_texts() == ()
    assert Case(id="a", prompt="p", expected="x").expected_texts() == ("x",)
    assert Case(id="a", prompt="p", expected=("x", "y")).expected_texts() == ("x", "y")


def test_lone_surrogates_become_the_replacement_character() -> None:
    """In every text, in keys and depths of JSON as well; characters are left alone."""
    assert replace_surrogates({"a\ud800": ["\udfff", ("x", 1)]}) == {
        "a\ufffd": ["\ufffd", ("x", 1)]
    }
    assert replace_surrogates("\N{GRINNING FACE}\x00") == "\N{GRINNING FACE}\x00"
    case = Case(id="\ud800", messages=({"role": "user", "content": "\udc00"},), tags=("\ud800",))
    assert case.model_dump_json().count("\ufffd") == 3
    assert Completion(text="a\ud83d").text == "a\ufffd"
    assert Score.unscored("\ud800").reason == "\ufffd"


def test_a_gates_margin_is_a_number_or_a_share() -> None:
    assert Gate(metric="m", kind="floor", margin=1).margin == 1.0
    assert Gate(metric="m", kind="tolerance", margin="2%").margin == "2%"
    assert Gate(metric="m", kind="floor", margin=1).id == "m::floor"


def test_the_place_of_a_case_is_no_part_of_it() -> None:
    case = Case(id="a", prompt="p").with_place("c.jsonl:7")

    assert case.where == "c.jsonl:7"
    assert case.model_copy(update={"cluster": "x"}).where == "c.jsonl:7"
    assert pickle.loads(pickle.dumps(case)).where == "c.jsonl:7"
    assert case == Case(id="a", prompt="p") != Case(id="a", prompt="q")
    assert hash(case) == hash(Case(id="a", prompt="p"))
    assert "c.jsonl" not in case.model_dump_json()
    assert "where" not in Case.model_json_schema()["properties"]
    with pytest.raises(ValidationError):
        Case.model_validate({"id": "a", "prompt": "p", "where": "c.jsonl:7"})
