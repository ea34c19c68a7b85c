"""json_schema: strict JSON that satisfies a schema, without fetching and without hanging."""

from __future__ import annotations

import json
import socket
import time
import urllib.request
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunegate.harness.contracts import child_process
from tunegate.harness.metrics import _json_schema
from tunegate.harness.metrics import json_schema as module
from tunegate.harness.metrics.json_schema import check_schema, json_schema
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

TICKET = {
    "type": "object",
    "additionalProperties": False,
    "required": ["urgency", "order"],
    "properties": {
        "urgency": {"enum": ["low", "high"]},
        "order": {"type": ["string", "null"], "pattern": "^[A-Z]{2}-[0-9]{4}$"},
    },
}
DRAFT_7 = "http://json-schema.org/draft-07/schema#"
RIGHT = '{"urgency": "low", "order": "AB-1234"}'
DRAFTS = [
    "http://json-schema.org/draft-04/schema#",
    "http://json-schema.org/draft-06/schema#",
    "http://json-schema.org/draft-07/schema#",
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema",
]


def score(text: str | None, own: dict[str, Any] | None = TICKET, **options: Any) -> Score:
    """Score `text` without the safety net of Metric.__call__; `own` is the case's schema."""
    case = Case(id="c", prompt="p", answer_schema=own)
    return json_schema.score(case, Completion(text=text), **options)


@pytest.mark.parametrize("text", [RIGHT, f" \n{RIGHT}\n", '{"order": null, "urgency": "high"}'])
def test_valid_answers_score_one(text: str) -> None:
    assert score(text) == Score(value=1.0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"urgency": "low"}', "$: 'order' is a required property"),
        (
            '{"urgency": "urgent", "order": null}',
            "$.urgency: 'urgent' is not one of ['low', 'high']",
        ),
        ('{"urgency": "low", "order": 7}', "$.order: 7 is not of type 'string', 'null'"),
        (
            '{"urgency": "low", "order": "x"}',
            "$.order: 'x' does not match '^[A-Z]{2}-[0-9]{4}$'",
        ),
        (
            '{"urgency": "low", "order": null, "x": 1}',
            "$: Additional properties are not allowed ('x' was unexpected)",
        ),
        ("[]", "$: [] is not of type 'object'"),
    ],
)
def test_the_reason_names_the_violation_and_its_place(text: str, reason: str) -> None:
    """A violation is 0, with its JSON path and the words of jsonschema."""
    assert score(text) == Score(value=0.0, reason=reason)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (RIGHT + " done", "Extra data"),
        (f"```json\n{RIGHT}\n```", "line 1 column 1"),
        ('{"urgency": "low", "order": null, "urgency": "low"}', "twice"),
        ("[" * 100_000, "deeply"),
    ],
)
def test_what_is_not_strict_json_scores_zero(text: str, words: str) -> None:
    """The model was asked for JSON and failed: 0 with the reason."""
    result = score(text)

    assert result.value == 0.0
    assert str(result.reason).startswith("not JSON: ")
    assert words in str(result.reason)


def test_extraction_is_asked_for_and_recorded() -> None:
    fenced, prose = f"Sure!\n```json\n{RIGHT}\n```", f"Here: {RIGHT} Bye."
    wrong = "Here: {} Bye."

    assert score(fenced, extract="prose") == Score(value=1.0, reason="JSON taken from a ``` fence")
    assert score(prose, extract="prose").reason == "JSON taken from the text around it"
    assert score(fenced, extract="fence").value == 1.0
    assert score(prose, extract="fence").value == 0.0
    assert score(RIGHT, extract="prose") == Score(value=1.0)
    assert score(wrong, extract="prose").value == 0.0
    assert str(score(wrong, extract="prose").reason).startswith(
        "$: 'urgency' is a required property"
    )


def test_the_schema_of_the_case_wins(tmp_path: Path) -> None:
    """The suite's schema is read from its file; a case's own replaces it."""
    path = tmp_path / "s.json"
    path.write_text('\ufeff{"type": "array"}', encoding="utf-8")

    assert score("[]", None, schema=path).value == 1.0
    assert score("{}", None, schema=path).value == 0.0
    assert score("{}", {"type": "object"}, schema=path).value == 1.0


@pytest.mark.parametrize(("schema", "value"), [("true", 1.0), ("false", 0.0)])
def test_a_schema_may_be_true_or_false(tmp_path: Path, schema: str, value: float) -> None:
    path = tmp_path / "s.json"
    path.write_text(schema)

    assert check_schema(path) == ()
    assert score("[1]", None, schema=path).value == value


@pytest.mark.parametrize(
    "schema",
    [
        {"category": "billing", "priority": 3},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "ticket"},
        {"format": "pdf", "pages": 3},
        {},
    ],
)
def test_an_example_answer_is_no_schema(tmp_path: Path, schema: dict[str, Any]) -> None:
    """It would accept every JSON, so that the suite is refused when it is loaded."""
    path = tmp_path / "s.json"
    path.write_text(json.dumps(schema))

    (problem,) = check_schema(path)

    assert problem.startswith(f"{path}: it accepts any JSON")
    assert json_schema.check is not None
    (of_case,) = json_schema.check({}, [Case(id="a", prompt="p", answer_schema=schema)])
    assert of_case.startswith("case 'a': schema: it accepts any JSON")


@pytest.mark.parametrize(
    "schema", [{"required": ["a"]}, {"format": "email"}, {"$ref": "#/$defs/a"}]
)
def test_one_rule_makes_a_schema(tmp_path: Path, schema: dict[str, Any]) -> None:
    path = tmp_path / "s.json"
    path.write_text(json.dumps({**schema, "$defs": {"a": {"type": "object"}}}))

    assert check_schema(path) == ()


def test_missing_data_is_unscored(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_bytes(b"\xff\xfe")
    results = [
        score(None),
        score("{}", None),
        score("{}", None, schema=tmp_path / "gone.json"),
        score("{}", None, schema=broken),
    ]

    assert [result.value for result in results] == [None] * 4
    assert all(result.reason for result in results)


@pytest.mark.parametrize("dialect", DRAFTS)
def test_the_draft_is_the_schemas_own(dialect: str) -> None:
    """`$schema` picks the draft: `prefixItems` means something in 2020-12 only."""
    schema = {"$schema": dialect, "prefixItems": [{"type": "string"}]}

    assert score("[1]", schema).value == float("2020-12" not in dialect)


def test_without_a_dialect_it_is_the_newest() -> None:
    """A schema that names no draft is read as 2020-12."""
    assert score("[1]", {"prefixItems": [{"type": "string"}]}).value == 0.0


FORMATS = [
    (2, "date", "2024-02-29", "2023-02-29"),
    (0, "date-time", "2024-02-29T10:00:00Z", "2024-02-29 10:00"),
    (0, "email", "a@b.org", "a.b.org"),
    (0, "ipv4", "127.0.0.1", "256.0.0.1"),
    (0, "uri", "https://a.org/x", "not a uri"),
    (2, "iri", "https://ä.org/x", "not an iri"),
    (2, "iri", "https://[::1]/é?ö#ü", "ä/ö"),
    (2, "iri-reference", "ä/ö", "ä ö"),
    (2, "iri-reference", "", "\ud800"),
    (0, "hostname", "a.org", "-a.org"),
    (1, "json-pointer", "/a/0", "a"),
    (1, "uri-template", "/a/{b}", "/a/{b"),
    (0, "regex", "^a+$", "("),
    # RFC 3339, appendix A, where ISO 8601 allows more
    *((3, "duration", "P1Y2M3DT4H5M6S", bad) for bad in ("P", "P1YT", "P1D2H", "P1Y2W", "4D")),
    *((3, "duration", "P2W", bad) for bad in ("PT0.5S", "-P1D", "P1Y2D", "PT1H2S", "P1WT1H")),
    *((3, "duration", good, "P২Y") for good in ("PT36H", "P1M", "PT1M", "P1M2D", "PT0S")),
]
"""Place in `DRAFTS` of the first draft with the format, its name, a right value, a wrong one."""


@pytest.mark.parametrize(
    ("dialect", "name", "good", "bad"),
    [(dialect, *rest) for first, *rest in FORMATS for dialect in DRAFTS[first:]],
)
def test_formats_are_checked(dialect: str, name: str, good: str, bad: str) -> None:
    """The checkers are installed and on: an unchecked format passes all."""
    schema = {"$schema": dialect, "format": name}

    assert score(json.dumps(good), schema).value == 1.0
    assert score(json.dumps(bad), schema).value == 0.0


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ('{"type": "objekt"}', "'objekt'"),
        ('{"pattern": "("}', "'(' is not a 'regex'"),
        ('{"$schema": "http://json-schema.org/draft-03/schema#"}', "is not supported"),
        ('{"$schema": 7}', "is not supported"),
        (
            '{"$schema": "http://json-schema.org/draft-04/schema#",'
            ' "items": {"patternProperties": {"(": {}}}}',
            "'(' is not a 'regex'",
        ),
        ("[]", "must be an object"),
        ("{", "not JSON"),
        ('{"minimum": NaN}', "not JSON"),
        ('{"type": "object", "type": "array"}', "twice"),
        ('{"$ref": "#/$defs/gone"}', "'#/$defs/gone' does not point inside"),
        ('{"items": {"$ref": "other.json"}}', "'other.json' does not point inside"),
        ("", "not JSON"),
    ],
)
def test_an_unusable_schema_is_unscored_and_found_at_load(
    tmp_path: Path, schema: str, words: str
) -> None:
    """`check_schema` names file and fault; the case is unscored, not 0."""
    path = tmp_path / "s.json"
    path.write_text(schema, encoding="utf-8")
    (problem,) = check_schema(path)
    result = score("{}", None, schema=path)

    assert problem.startswith(f"{path}: ")
    assert words in problem
    assert result.value is None
    assert words in str(result.reason)


@pytest.mark.parametrize(
    "schema",
    [
        TICKET,
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "object"}}},
        {"$id": "http://x.test/s.json", "$ref": "s.json#/$defs/a", "$defs": {"a": True}},
        {"$ref": "#here", "$defs": {"a": {"$anchor": "here"}}},
        {"$ref": "a.json", "$defs": {"a": {"$id": "a.json", "type": "object"}}},
        {"properties": {"schema": {"$ref": "https://json-schema.org/draft/2020-12/schema"}}},
        {"const": {"$ref": "http://data.test/not-a-reference"}},
        {"properties": {"$ref": {"type": "string"}}},
        {"$schema": DRAFTS[3], "properties": {"a": {"$recursiveRef": "#"}}},
        {"$dynamicRef": "#node", "$defs": {"a": {"$dynamicAnchor": "node"}}},
        {"properties": {"a": {"$ref": "#"}}},
    ],
)
def test_references_inside_the_schema_work(tmp_path: Path, schema: dict[str, Any]) -> None:
    path = tmp_path / "s.json"
    path.write_text(json.dumps(schema), encoding="utf-8")

    assert check_schema(path) == ()
    assert score("{}", None, schema=path).value is not None


def test_check_schema_reports_a_missing_file(tmp_path: Path) -> None:
    """A file that cannot be read is a problem, not a traceback."""
    assert "cannot be read" in check_schema(tmp_path / "gone.json")[0]


def test_check_schema_is_bounded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A schema whose check does not end in time is a problem, not a hang."""
    path = tmp_path / "s.json"
    many = {f"p{i}": {"type": "object"} for i in range(20_000)}  # takes seconds to check
    path.write_text(json.dumps({"properties": many}), encoding="utf-8")
    monkeypatch.setattr(module, "LIMIT_S", 0.01)

    assert "cannot be checked: not done after 0.01 s" in check_schema(path)[0]


def test_nothing_is_ever_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text('{"enum": ["TOP-SECRET"]}')

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("something was fetched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    references = [
        "http://127.0.0.1:9/s.json",
        "https://example.org/s.json#/$defs/a",
        "ftp://127.0.0.1/s.json",
        f"file://{secret}",
        str(secret),
        "secret.json",
    ]
    for reference in references:
        for schema in (
            {"$ref": reference},
            {"$id": f"file://{tmp_path}/s.json", "properties": {"a": {"$ref": reference}}},
            {"$schema": DRAFT_7, "items": {"$ref": reference}},
        ):
            (problem,) = _json_schema.schema_problems(json.dumps(schema))
            assert _json_schema.schema_violation(json.dumps(schema), '{"a": 1}') == {
                "problem": problem
            }
            assert "TOP-SECRET" not in problem


def test_the_validator_cannot_fetch_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[Any] = []
    monkeypatch.setattr(urllib.request, "urlopen", lambda *args, **_: fetched.append(args))
    monkeypatch.setattr(_json_schema, "_unusable_parts", lambda *_: iter(()))
    with pytest.raises(Exception, match="Unresolvable"):
        _json_schema.schema_violation(
            json.dumps({"$ref": f"file://{tmp_path}/unchecked.json"}), "1"
        )

    assert fetched == []


EVIL = "(a|a)*$"
LONG = "a" * 60 + "!"


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        ({"pattern": "^(a+)+$"}, LONG),
        ({"patternProperties": {EVIL: True}}, {LONG: 1}),
        ({"patternProperties": {EVIL: True}, "unevaluatedProperties": False}, {LONG: 1}),
        # a nested $schema must not lead around the limit
        ({"items": {"$schema": DRAFT_7, "pattern": EVIL}}, [LONG]),
        # no pattern at all: every level tries the next one twice, 2^40 ways
        (
            {
                "$ref": "#/$defs/40",
                "$defs": {
                    str(n): {"oneOf": [{"$ref": f"#/$defs/{max(n - 1, 0)}"}] * 2 if n else [False]}
                    for n in range(41)
                },
            },
            1,
        ),
        # objects cannot be sorted, so jsonschema compares each with each
        ({"uniqueItems": True}, [{"n": n} for n in range(20_000)]),
    ],
    ids=["pattern", "patternProperties", "unevaluated", "nested-dialect", "branches", "unique"],
)
def test_a_check_that_runs_away_is_unscored(
    schema: dict[str, Any], answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever takes too long, the case is unscored as `check_error` and the run goes on."""
    assert score("1", {"type": "integer"}).value == 1.0  # the child is up
    monkeypatch.setattr(module, "LIMIT_S", 0.3)
    start = time.monotonic()
    result = score(json.dumps(answer), schema)
    elapsed = time.monotonic() - start

    assert result.value is None
    assert str(result.reason).startswith("check_error: ")
    assert elapsed < 3


@pytest.mark.parametrize(
    ("schema", "answer", "value"),
    [
        ({"minimum": 5, "exclusiveMinimum": True}, "5", 0.0),  # a number since draft 6
        ({"minimum": 5}, "5", 1.0),
        ({"id": "http://x.test/a", "$ref": "#/definitions/b", "definitions": {"b": {}}}, "5", 1.0),
        ({"definitions": {"a": {"id": "#here", "type": "null"}}, "$ref": "#here"}, "5", 0.0),
        ({"const": 1}, "2", 1.0),  # unknown before draft 6
        ({"items": [{"type": "null"}], "additionalItems": False}, "[null, 1]", 0.0),
    ],
)
def test_draft_4_is_read_as_draft_4(schema: dict[str, Any], answer: str, value: float) -> None:
    """Its `id`, its `exclusiveMinimum` that is true or false, and no keyword of later drafts."""
    assert score(answer, {"$schema": DRAFTS[0], **schema}).value == value


def test_draft_6_is_read_as_draft_6() -> None:
    """`const`, `contains` and a numeric `exclusiveMinimum` are new in it, `if` in draft 7."""
    for schema, answer, value in (
        ({"const": 1}, "2", 0.0),
        ({"exclusiveMinimum": 5}, "5", 0.0),
        ({"contains": {"const": 1}}, "[2]", 0.0),
        ({"if": {}, "then": False}, "1", 1.0),
    ):
        assert score(answer, {"$schema": DRAFTS[1], **schema}).value == value


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        {"allOf": [{"$ref": "#"}]},
        {"$dynamicAnchor": "n", "$dynamicRef": "#n"},
    ],
)
def test_references_without_an_end_are_refused_at_load(
    tmp_path: Path, schema: dict[str, Any]
) -> None:
    path = tmp_path / "s.json"
    path.write_text(json.dumps(schema), encoding="utf-8")
    (problem,) = check_schema(path)
    result = score("1", schema)

    assert "references form an endless loop" in problem
    assert result.value is None
    assert "endless loop" in str(result.reason)


def test_a_reference_without_an_end_in_a_part_is_unscored_where_it_is_met() -> None:
    """An answer without that part is validated; one with it ends in an error, not in a hang."""
    schema = {"properties": {"a": {"$ref": "#/$defs/l"}}, "$defs": {"l": {"$ref": "#/$defs/l"}}}

    assert score('{"b": 1}', schema).value == 1.0
    assert score('{"a": 1}', schema).value is None


def test_schemas_of_cases_are_checked_when_the_suite_is_loaded() -> None:
    assert json_schema.check is not None
    deep: dict[str, Any] = {}
    for _ in range(90):
        deep = {"not": deep}
    schemas = {"good": TICKET, "odd": {"type": "objekt"}, "lost": {"$ref": "#/no"}, "deep": deep}
    cases = [Case(id=name, prompt="p", answer_schema=one) for name, one in schemas.items()]
    problems = list(json_schema.check({}, [*cases, cases[1].model_copy(update={"id": "odd2"})]))

    assert [problem.partition(": schema: ")[0] for problem in problems] == [
        "case 'odd'",
        "case 'lost'",
        "case 'odd2'",
    ]
    assert "'objekt'" in problems[0]
    assert "does not point inside" in problems[1]


def test_deep_answers_are_scored_or_explained() -> None:
    text = '{"a":' * 500 + "1" + "}" * 500
    result = score(text, {"properties": {"a": {"$ref": "#"}}})

    assert result.value == 1.0 or "check_error" in str(result.reason)


def test_reasons_can_be_written_to_a_file() -> None:
    result = score('{"\\ud800 x": "\\udfff"}', {"additionalProperties": {"type": "null"}})

    assert result.value == 0.0
    assert str(result.reason).encode()


def test_the_first_violation_does_not_depend_on_chance() -> None:
    """The library walks over sets; the child fixes their order: the reason repeats."""
    schema = {"additionalProperties": {"type": "null"}}
    answer = json.dumps({f"key{n}": n for n in range(50)})
    first = score(answer, schema).reason
    child_process.end_child()

    assert score(answer, schema).reason == first


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=8,
)
SCHEMAS = st.sampled_from(
    [
        {"type": "object", "required": ["a"]},
        {"type": ["array", "null"], "uniqueItems": True},
        {"properties": {"a": {"type": "integer"}}, "additionalProperties": False},
        {"anyOf": [{"type": "string", "pattern": "^a"}, {"type": "number", "minimum": 0}]},
        {"items": {"not": {"type": "null"}}, "maxItems": 2},
        {"patternProperties": {"a|b": {"type": "boolean"}}, "unevaluatedProperties": False},
        {"if": {"type": "object"}, "then": {"minProperties": 1}, "else": {"const": 1}},
        {"properties": {"a": {"$ref": "#"}}, "maxProperties": 1},
    ]
)


@settings(deadline=None)
@given(SCHEMAS, JSON)
def test_agrees_with_jsonschema(schema: dict[str, Any], value: Any) -> None:
    """On strict JSON the score is the verdict of the library itself."""
    valid = jsonschema.Draft202012Validator(schema).is_valid(value)

    assert score(json.dumps(value), schema).value == float(valid)
