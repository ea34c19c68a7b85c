"""promptfoo: tests, variables and asserts of its configuration, as its documentation has them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import MissingExtra
from tunegate.harness.suite.sources._promptfoo import TYPES
from tunegate.harness.suite.sources.promptfoo import ANSWERS, SCHEMAS

pytest.importorskip("yaml")
Load = Callable[[str], list[Case]]
Refused = Callable[[str], list[str]]

TABLE = 'from = "promptfoo"\nfile = "p.yaml"\n'
CAPITALS = """\
    prompts:
      - 'What is the capital of {{country}}?'
    providers: [openai:gpt-5-mini]
    tests:
      - vars: {country: France}
        assert:
          - type: equals
            value: Paris
      - vars: {country: Norway}
        metadata: {region: cold}
        assert:
          - type: equals
            value: Oslo
"""


@pytest.fixture(name="write")
def _write(tmp_path: Path) -> Callable[..., None]:
    def write(content: str, name: str = "p.yaml") -> None:
        (tmp_path / name).write_text(dedent(content), encoding="utf-8")

    return write


def _with(asserts: str, variables: str = "{q: a, gold: g}", prompt: str = "'{{q}}'") -> str:
    return f"prompts: [{prompt}]\ntests:\n  - vars: {variables}\n    assert: {asserts}\n"


def test_tests_become_cases(write: Callable[..., None], cases: Load) -> None:
    """The prompt with its variables, the value of the assert, and columns of the metadata."""
    write(CAPITALS)
    found = cases(TABLE + 'columns = { id = "country", tags = ["metadata.region"] }')

    assert found == [
        Case(id="France", prompt="What is the capital of France?", expected="Paris"),
        Case(id="Norway", prompt="What is the capital of Norway?", expected="Oslo", tags=("cold",)),
    ]


@pytest.mark.parametrize(
    ("asserts", "field", "value"),
    [
        ("[{type: equals, value: x}]", "expected", "x"),
        ("[{type: equals, value: '{{gold}}!'}]", "expected", "g!"),
        ("[{type: equals, value: {k: 1}}]", "expected", '{"k": 1}'),
        ("[{type: contains, value: x}]", "expected", "x"),
        ("[{type: icontains, value: x}]", "expected", "x"),
        ("[{type: contains, value: 0}]", "expected", "0"),  # numbers become text there as well
        ("[{type: contains, value: 2.0}]", "expected", "2"),  # and JavaScript prints no point
        ("[{type: contains-any, value: [x, y]}]", "expected", ("x", "y")),
        ("[{type: icontains-all, value: [x, y]}]", "expected", ("x", "y")),
        (r"[{type: regex, value: '\d{4}'}]", "expected", r"\d{4}"),
        ("[{type: is-json, value: {type: object}}]", "answer_schema", {"type": "object"}),
        ("[{type: is-json}]", "answer_schema", None),
        ("[{type: contains-json, value: '{\"type\": \"object\"}'}]", "answer_schema",
         {"type": "object"}),
        ("[{type: equals, value: x}, {type: equals, value: x}]", "expected", "x"),
        ("[]", "expected", None),
        ("[{type: equals, value: no}]", "expected", "no"),  # YAML 1.2: not False
        ("[{type: equals, value: 12:30}]", "expected", "12:30"),  # and no 750 seconds
        ("[{type: equals, value: 2024-02-29}]", "expected", "2024-02-29"),
        ("[{type: equals, value: true}]", "expected", "true"),
        ("[{type: equals, value: -1.5e3}]", "expected", "-1500"),
    ],
)  # fmt: skip
def test_asserts_become_fields(
    write: Callable[..., None], cases: Load, asserts: str, field: str, value: object
) -> None:
    """One field each, in the text that promptfoo compares with."""
    write(_with(asserts))

    (case,) = cases(TABLE)
    assert getattr(case, field) == value


@pytest.mark.parametrize(
    ("prompt", "variables", "expected"),
    [
        ("'{{ q }} and {{q}}'", "{q: a}", "a and a"),
        ("'{{q}}'", "{q: 3}", "3"),
        ("'{{user.name}}'", "{user: {name: Ann}}", "Ann"),
        ("'{{q}}'", "{q: '{{x}} {% if %}'}", "{{x}} {% if %}"),  # a value is not a template
        ("'{q} {{q}}'", "{q: a}", "{q} a"),
        ("{label: short, raw: 'Q: {{q}}'}", "{q: a}", "Q: a"),
    ],
)
def test_templates(
    write: Callable[..., None], cases: Load, prompt: str, variables: str, expected: str
) -> None:
    """Variables are put in as they are."""
    write(_with("[]", variables, prompt))

    assert [c.prompt for c in cases(TABLE)] == [expected]


def test_a_chat_is_a_conversation(write: Callable[..., None], cases: Load) -> None:
    chat = '[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "{{q}}"}]'
    expected = (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": 'say "hi"'},
    )
    for prompt in (f"'{chat}'", "file://chat.json"):
        write(_with("[]", "{q: 'say \"hi\"'}", prompt))
        write(chat, "chat.json")
        assert [c.messages for c in cases(TABLE)] == [expected]


def test_prompts_of_a_file_and_the_choice_among_several(
    write: Callable[..., None], cases: Load, problems: Refused
) -> None:
    """A text file holds several with a line of dashes between; a suite has one."""
    write(_with("[]", "{q: a}", "file://prompts.txt"))
    write("First: {{q}}\n---\nSecond: {{q}}\n", "prompts.txt")

    assert problems(TABLE) == [
        "p.yaml:1: 2 prompts, and a suite has one; set prompt to a number from 1 to 2"
    ]
    assert [c.prompt for c in cases(TABLE + "prompt = 2")] == ["Second: a"]


def test_lists_of_values_and_what_all_tests_share(write: Callable[..., None], cases: Load) -> None:
    """Every combination is a case; `defaultTest` gives variables and asserts."""
    write(
        """\
        prompts: ['{{tone}} {{q}} in {{lang}}']
        defaultTest:
          vars: {lang: fr}
          assert: [{type: icontains, value: '{{q}}'}]
        tests:
          - vars: {tone: [kind, curt], q: [a, b]}
          - vars: {tone: kind, q: c, lang: de}
        """
    )
    found = [(c.prompt, c.expected) for c in cases(TABLE)]

    assert found == [
        ("kind a in fr", "a"),
        ("kind b in fr", "b"),
        ("curt a in fr", "a"),
        ("curt b in fr", "b"),
        ("kind c in de", "c"),
    ]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("Paris", "Paris"),
        ("equals:Paris", "Paris"),
        ("note: Paris", "note: Paris"),  # no type of assert
        ("contains:Paris", "Paris"),
        ('"contains-any:Paris, Lyon"', ("Paris", "Lyon")),
        ("levenshtein(5):Paris", "Paris"),
        ("", None),
    ],
)
def test_read_tests_a_csv_file(
    write: Callable[..., None], cases: Load, cell: str, expected: object
) -> None:
    """`__expected` has promptfoo's short form of an assert (its src/csv.ts)."""
    write("prompts: ['{{q}}']\ntests: file://t.csv\n")
    write(f"q,__expected,__description,__metadata:topic\na,{cell},d,geo\n", "t.csv")

    (case,) = cases(TABLE + 'columns = { tags = ["metadata.topic", "description"] }')
    assert (case.prompt, case.expected, case.tags) == ("a", expected, ("geo", "d"))


def test_read_tests_other_files(write: Callable[..., None], cases: Load) -> None:
    write("prompts: ['{{q}}']\ntests:\n  - vars: {q: a}\n  - file://t.yaml\n  - file://t.jsonl\n")
    write("- vars: {q: b}\n", "t.yaml")
    write('{"vars": {"q": "c"}}\n', "t.jsonl")

    assert [c.prompt for c in cases(TABLE)] == ["a", "b", "c"]


def test_a_json_configuration(write: Callable[..., None], cases: Load, problems: Refused) -> None:
    """It needs no YAML; places are paths."""
    table = TABLE.replace("p.yaml", "p.json")
    write('{"prompts": ["{{q}}"], "tests": [{"vars": {"q": "a"}}]}', "p.json")
    assert [c.prompt for c in cases(table)] == ["a"]

    write('{"prompts": ["{{q}}"], "tests": [{"vars": {"q": "a"}}, {"vars": {}}]}', "p.json")
    assert problems(table) == ["p.json: tests.2: unknown variable 'q'; there are: none"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (_with("[{type: llm-rubric, value: kind}, {type: equals, value: x}]"),
         "p.yaml:4: 1 assert 'llm-rubric' (first one here): no field of a case can hold it; let "
         'a metric of the suite judge it, and set asserts = ["equals"]'),
        (_with("[{type: not-equals, value: x}]"), "p.yaml:4: 1 assert 'not-equals' (first"),
        (_with("[{type: contains-all, value: [x, y]}, {type: contains-any, value: [x, y]}]"),
         "p.yaml: 1 assert 'contains-all', 1 assert 'contains-any': a suite's metric reads"),
        (_with("[{type: equals, value: x, transform: 'output.a'}]"), "p.yaml:4: 1 assert "
         "'transform'"),
        (_with("[{type: equals, value: x}, {type: equals, value: y}]"),
         "p.yaml:3: two asserts give its expected, the second one 'equals' at p.yaml:4, and both"),
        (_with("[{type: equals, value: x}, {type: regex, value: y}]"),
         "p.yaml: 1 assert 'equals', 1 assert 'regex': a suite's metric reads expected in one way; "
         'make a suite of each, with asserts = ["equals"] and so on'),
        (_with("[{type: is-json, value: file://s.json}]"), "p.yaml:3: the value 'file://s.json'"),
        (_with("[{value: x}]"), "p.yaml:4: an assert must have a type, written out here"),
        (_with("[]", "{query: a}", "'{{qeury}}'"),
         "p.yaml:3: unknown variable 'qeury'; did you mean 'query'?"),
        (_with("[]", prompt="'{{ q | upper }}'"), "p.yaml:3: {{ q | upper }} is more than a "
         "variable; put the value itself there"),
        (_with("[]", prompt="'{% if q %}{{q}}{% endif %}'"), "p.yaml:3: the template '{% if q %}"),
        (_with("[]", prompt="file://p.py"), "p.yaml:1: prompts of 'file://p.py' are not read"),
        (_with("[]", prompt="3"), "p.yaml:1: a prompt must be a text"),
        (_with("[]", "file://v.yaml"), "p.yaml:3: vars='file://v.yaml' must be a table"),
        ("prompts: [a]\ntests: [{options: {transform: x}}]\n",
         "p.yaml:2: options.transform is not supported here; remove it"),
        ("prompts: [a]\ntests: [{options: 3}]\n", "p.yaml:2: options=3 must be a table of names"),
        ("prompts: [a]\ntests: [{assert: 3}]\n", "p.yaml:2: assert=3 must be a list"),
        ("prompts: [a]\ntests: huggingface://datasets/x/y\n", "p.yaml:2: 'huggingface://datasets/"
         "x/y' is not read; tests come from YAML, JSON or CSV"),
        ("prompts: [a]\ntests: [3]\n", "p.yaml:2: a test must have vars and assert"),
        ("prompts: [a]\ntests: 3\n", "p.yaml:2: tests must be a list, or a file of tests"),
        ("prompts: [a]\n", "p.yaml:1: tests must be a list, or a file of tests"),
        ("prompts: [a]\nscenarios: []\ntests: [{}]\n", "p.yaml:2: scenarios are not read; write"),
        ("prompts: [a]\ntests: [{}]\ntests: [{}]\n", "p.yaml:3: key 'tests' is already in line 2"),
        ("prompts: [a]\ntests: [{}, {}]\n", "p.yaml:2: the same as p.yaml:2; remove them"),
        ("prompts: [a\n", "p.yaml:2: broken YAML (expected ',' or ']', but got '<stream end>')"),
        ("a: !!python/object:os.system {}\n", "p.yaml:1: broken YAML (could not determine a "),
        ("", "p.yaml: the file is empty; expected is promptfoo's configuration"),
        ("[a]\n", "p.yaml: expected is promptfoo's configuration, with prompts and tests"),
        ("[" * 100_000, "p.yaml: nested too deeply"),
    ],
)  # fmt: skip
def test_what_has_no_plain_mapping_is_refused(
    write: Callable[..., None], problems: Refused, content: str, problem: str
) -> None:
    """With its line, and the number of its kind; nothing is left out in silence."""
    write(content)

    assert problems(TABLE)[0].startswith(problem)


def test_what_to_take_is_named(write: Callable[..., None], cases: Load, problems: Refused) -> None:
    write(
        """\
        prompts: ['{{q}}']
        tests:
          - {vars: {q: a}, assert: [{type: equals, value: x}, {type: llm-rubric, value: kind}]}
          - {vars: {q: b}, assert: [{type: llm-rubric, value: kind}]}
          - {vars: {q: c}, assert: [{type: icontains, value: y}]}
        """
    )

    assert len(problems(TABLE)) == 2
    assert "2 asserts 'llm-rubric'" in problems(TABLE)[0]
    found = cases(TABLE + 'asserts = ["equals"]')
    assert [(c.prompt, c.expected) for c in found] == [("a", "x")]
    assert problems(TABLE + 'asserts = ["equal"]')[0] == (
        "p.yaml: unknown assert 'equal'; did you mean 'equals'?"
    )


def test_the_types_that_are_mapped_are_promptfoos() -> None:
    """A misspelt one would never match."""
    assert {*ANSWERS, *SCHEMAS} <= set(TYPES)


def test_the_extra_is_named(
    write: Callable[..., None], cases: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(CAPITALS)
    monkeypatch.setitem(sys.modules, "yaml", None)

    with pytest.raises(MissingExtra, match=r"pip install 'tunegate\[sources\]'"):
        cases(TABLE)
