"""suite.toml and its cases: every problem, all at once, each with its place."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from tunegate.harness.gates.contract.registry import gate_kinds
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import SuiteError, UnknownName
from tunegate.harness.records.files import record_json
from tunegate.harness.records.jsonl import record_lines
from tunegate.harness.suite import load_suite

MARGINS = ", ".join(key for kind in gate_kinds() for key in kind.keys_of_margin)
"""Keys of the margin; a gate needs one of them."""

Refused = Callable[..., list[str]]
Written = Callable[..., Path]

GATE = '[[gates]]\nmetric = "exact_match"\n'


def test_a_suite_in_order(written: Written, head: str) -> None:
    suite = load_suite(written(head + GATE + 'floor = 1\ntolerance = "2%"\n'))

    assert ("s", 1, "primary", 0.05) == (
        suite.name, len(suite.cases), suite.goal_rule, suite.max_unscored,
    )  # fmt: skip
    assert [(g.id, g.margin) for g in suite.gates] == [
        ("exact_match::floor", 1.0),
        ("exact_match::tolerance", "2%"),
    ]
    assert suite.gates[0].where.endswith("suite.toml:7")
    assert suite.metric("exact_match").binary
    assert [m.name for m in suite.gated_metrics] == ["exact_match"]
    with pytest.raises(UnknownName, match="did you mean 'exact_match'"):
        suite.metric("exact_mach")
    assert suite.record().metrics[0].use == "exact_match"


@pytest.mark.parametrize(
    ("value", "forms"),
    [('"empty"', ("empty",)), ('["empty", "HTTP 503"]', ("empty", "HTTP 503"))],
)
def test_a_suite_says_what_base_may_answer(
    written: Written, head: str, value: str, forms: tuple[str, ...]
) -> None:
    plain = load_suite(written(head + GATE + "floor = 1\n"))
    suite = load_suite(written(f"{head}{GATE}floor = 1\n[base]\nexpect = {value}\n"))

    assert suite.record().base_expects == forms
    assert plain.record().base_expects == ()
    assert suite.hash != plain.hash


@pytest.mark.parametrize("value", ["true", '""', "[]"])
def test_base_may_not_answer_just_anything(refused: Refused, head: str, value: str) -> None:
    (problem,) = refused(f"{head}{GATE}floor = 1\n[base]\nexpect = {value}\n")

    assert problem.startswith("suite.toml:9: base.expect")


def test_the_folder_and_the_file_are_both_names_of_a_suite(written: Written) -> None:
    """A suite is found by its folder or its suite.toml; a missing one is named."""
    folder = written()

    assert load_suite(folder).hash == load_suite(folder / "suite.toml").hash
    with pytest.raises(SuiteError, match="no such suite; `tunegate suite new nowhere` makes one"):
        load_suite(folder / "nowhere")


def test_a_quick_look_keeps_the_suites_hash(written: Written, head: str, case_line: str) -> None:
    folder = written(head, case_line + case_line.replace('"a"', '"b"'))

    assert [len(load_suite(folder).cases), len(load_suite(folder, max_cases=1).cases)] == [2, 1]
    assert load_suite(folder).hash == load_suite(folder, max_cases=1).hash


BAD_LINES = [
    ("[1]", 'a line must be an object such as {"prompt": "…"}'),
    ("nope", "broken JSON at column 1: Expecting value"),
    ('{"prompt": "p"', "broken JSON at column 15: Expecting ',' delimiter"),
    ('{"prompt": "a", "prompt": "b"}', "the key 'prompt' occurs twice; remove one"),
    ('{"prompt": NaN}', "NaN is not a finite number, which JSON does not allow"),
    ('{"prompt": -Infinity}', "-Infinity is not a finite number, which JSON does not allow"),
    ('{"prompt": 1e400}', "1e400 is not a finite number, which JSON does not allow"),
    ('{"prompt": ' + "9" * 5000 + "}", "a number with thousands of digits"),
    ('{"x": ' + "[" * 1000 + "]" * 1000 + "}", "nested too deeply to be a case"),
    (
        '{"prompt": "p", "schema": {"a": ' + "[" * 120 + "]" * 120 + "}}",
        "nested too deeply to be a case; at most 100 levels are read",
    ),
    ("{}", "a case needs either 'prompt' or 'messages', and only one of them"),
    (
        '{"prompt": "p", "messages": [{"role": "user"}]}',
        "a case needs either 'prompt' or 'messages', and only one of them",
    ),
    ('{"prompt": 1}', "prompt: 1 must be a text"),
    ('{"prompt": "p", "promt": 1}', "unknown key 'promt'; did you mean 'prompt'?"),
    ('{"prompt": "p", "id": ""}', 'id: "" must not be empty'),
    ('{"prompt": "p", "tags": "x"}', 'tags: "x" must be a list'),
    (
        '{"messages": [{"role": "usr"}]}',
        "messages.0.role: \"usr\" must be one of 'system', 'user', 'assistant', 'tool'; "
        "did you mean 'user'?",
    ),
    ('{"messages": [{"content": "c"}]}', "messages.0: the key 'role' is missing"),
    ('{"prompt": "p", "expected": 3}', "expected: 3 must be a text or a list"),
    ('{"prompt": "p", "answer": 0}', "'answer' needs 'choices' next to it"),
    (
        '{"prompt": "p", "choices": ["a", "b"], "answer": 2}',
        "answer=2 names no choice: there are 2",
    ),
    (
        '{"prompt": "p", "choices": ["a", "b"], "answer": "C"}',
        "answer='C' names no choice: there are 2",
    ),
    (
        '{"prompt": "p", "choices": ["a", "b"], "answer": "A\\n"}',
        'answer: "A\\n" must be a whole number or a capital letter',
    ),
    (
        '{"prompt": "p", "choices": ["a", "b"], "answer": true}',
        "answer: true must be a whole number or a capital letter",
    ),
]


@pytest.mark.parametrize(("line", "what"), BAD_LINES)
def test_a_broken_line(refused: Refused, head: str, case_line: str, line: str, what: str) -> None:
    """The line is named, and what is wrong with it; blank lines count."""
    assert refused(head, case_line + "\n" + line + "\n") == [f"cases.jsonl:3: {what}"]


def test_broken_lines_are_reported_together(refused: Refused, head: str) -> None:
    lines = "".join(line + "\n" for line, _ in BAD_LINES)

    assert refused(head, lines) == [
        f"cases.jsonl:{number}: {what}" for number, (_, what) in enumerate(BAD_LINES, start=1)
    ]


BAD_KEYS = [
    ("[generation]\ntop_p = 7\n", 6, "generation.top_p: 7 must be at most 1"),
    ("[generation]\nsamples = 0\n", 6, "generation.samples: 0 must be at least 1"),
    ('[generation]\nstop = ""\n', 6, 'generation.stop: "" must be a list'),
    (
        "[generation]\nmax_tokens = 5\n", 6,
        "generation: unknown key 'max_tokens'; did you mean 'max_new_tokens'?",
    ),
    (
        "[generation]\nsamples = 3\n", 6,
        "samples=3 of greedy decoding are all the same; set a temperature, or samples = 1",
    ),
    ("[[metrics]]\n", 5, "metrics.1: the key 'use' is missing"),
    (
        '[[metrics]]\nuse = "exact_mach"\n', 6,
        "unknown metric 'exact_mach'; did you mean 'exact_match'?",
    ),
    (
        '[[metrics]]\nuse = "exact_match"\n', 6,
        "the metric 'exact_match' is already there; give this one another name = …",
    ),
    (
        '[[metrics]]\nuse = "exact_match"\nname = "a b"\n', 7,
        'metrics.1.name: "a b" must be a name of at most 80 letters, digits, \'.\', \'_\' and '
        "'-' for gates and reports",
    ),
    (
        "ignore_cas = true\n", 4,
        "metric 'exact_match': unknown option 'ignore_cas'; did you mean 'ignore_case'?",
    ),
    (
        "ignore_case = 1\n", 4,
        "metric 'exact_match': ignore_case=1: Input should be a valid boolean",
    ),
    (
        '[[metrics]]\nuse = "json_schema"\nschema = "no.json"\n', 6,
        "metric 'json_schema': schema='no.json': no such file: no.json; paths start at the "
        "suite's folder",
    ),
    (
        '[[metrics]]\nuse = "json_schema"\n', 6,
        "metric 'json_schema' has no schema for case 'a'; give the metric the option "
        "schema = \"FILE\", or the case a 'schema'",
    ),
    (
        '[[metrics]]\nuse = "choice_accuracy"\n', None,
        "case 'a' has no 'answer', which the metric 'choice_accuracy' needs",
    ),
    (GATE, 5, f"gates.0: a gate needs at least one of {MARGINS}"),
    (GATE + "flor = 1\nfloor = 1\n", 7, "gates.0: unknown key 'flor'; did you mean 'floor'?"),
    (GATE + 'floor = "high"\n', 7, 'gates.0.floor: "high" must be a number'),
    (
        GATE + "floor = 90\n", 7,
        "floor=90: scores of 'exact_match' are between 0 and 1; did you mean 0.9?",
    ),
    (GATE + "floor = -1\n", 7, "floor=-1: scores of 'exact_match' are between 0 and 1"),
    (
        GATE + "gain = 10\n", 7,
        "gain=10: scores of 'exact_match' are between 0 and 1, so no difference is that large; "
        "did you mean 0.1?",
    ),
    (GATE + "gain = -0.1\n", 7, "gates.0.gain: -0.1 must be at least 0"),
    (
        GATE + "tolerance = 0\n", 7,
        'gates.0.tolerance: 0 must be a number above 0 or a share of base above zero such as "2%"',
    ),
    (
        GATE + 'tolerance = "0%"\n', 7,
        'gates.0.tolerance: "0%" must be a number above 0 or a share of base above zero such as '
        '"2%"',
    ),
    (
        GATE + 'tolerance = "100%"\n', 7,
        "tolerance='100%' lets tuned lose all it has; allow less",
    ),
    (
        GATE + "gain = 0.1\nexpected_gain = 0.05\n", 7,
        "expected_gain=0.05 is below gain=0.1; what would be worth having is at least what must "
        "be proven",
    ),
    (
        GATE + "gain = 0.1\nexpected_gain = 1.5\n", 7,
        "expected_gain=1.5: scores of 'exact_match' are between 0 and 1, so no difference is that "
        "large",
    ),
    (
        GATE + "tolerance = 0.1\nexpected_gain = 0.5\n", 8,
        "expected_gain without gain does nothing; add one, or remove expected_gain",
    ),
    (
        GATE + 'gain = 0.1\nfloor_mode = "certified"\n', 8,
        "floor_mode without floor or ceiling does nothing; add one, or remove floor_mode",
    ),
    (
        GATE + 'floor = 0.5\nfloor_mode = "certfied"\n', 8,
        "gates.0.floor_mode: \"certfied\" must be one of 'observed', 'certified', "
        "'zero_tolerance'; did you mean 'certified'?",
    ),
    (
        GATE + "severe_drop = 0.1\n", 7,
        "severe_drop on 'exact_match', whose scores are 0 or 1, so every loss is total; use "
        "a tolerance",
    ),
    (
        '[[metrics]]\nuse = "json_fields"\n[[gates]]\nmetric = "json_fields"\n'
        "severe_drop = 0.1\ndrop = 2\n",
        9, "drop=2: scores of 'json_fields' are between 0 and 1, so no drop is that large",
    ),
    (
        GATE + "gain = 0.1\ndrop = 0.5\n", 8,
        "drop without severe_drop does nothing; add one, or remove drop",
    ),
    (GATE + "gain = 0.1\nconfidence = 0.5\n", 8, "gates.0.confidence: 0.5 must be at least 0.8"),
    (
        '[[gates]]\nmetric = "exact_mach"\ngain = 0.1\n', 7,
        "unknown metric 'exact_mach'; did you mean 'exact_match'?",
    ),
    (
        (GATE + "gain = 0.1\n") * 2, 10,
        "a second gain on 'exact_match'; remove one",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("more", "line", "what"), BAD_KEYS)
def test_a_bad_key(refused: Refused, head: str, more: str, line: int | None, what: str) -> None:
    """The key's line, what is wrong and what is allowed; a place in the cases where that helps."""
    found = refused(head + more)

    assert any(
        p.endswith(what) and (line is None or p.startswith(f"suite.toml:{line}: ")) for p in found
    ), found


def test_all_problems_come_at_once(refused: Refused, head: str) -> None:
    toml = (
        head
        + '[[metrics]]\nuse = "exact_mach"\n'
        + "[generation]\ntop_p = 7\n"
        + GATE
        + "floor = 90\n"
        + '[[gates]]\nmetric = "exact_match"\nflor = 1\n'
    )
    cases = '{"prompt": "p"}\n{"prompt": 1}\n'

    assert [re.sub("case '.*?'", "case", p) for p in refused(toml, cases)] == [
        "suite.toml:8: generation.top_p: 7 must be at most 1",
        "suite.toml:14: gates.1: unknown key 'flor'; did you mean 'floor'?",
        "cases.jsonl:2: prompt: 1 must be a text",
        "suite.toml:6: unknown metric 'exact_mach'; did you mean 'exact_match'?",
        "cases.jsonl:1: case has no 'expected', which the metric 'exact_match' needs",
        "suite.toml:11: floor=90: scores of 'exact_match' are between 0 and 1; did you mean 0.9?",
    ]


def test_an_empty_suite_file_says_what_it_needs(refused: Refused) -> None:
    assert refused("", "") == [
        f"suite.toml:1: the key {key!r} is missing" for key in ("name", "cases", "metrics")
    ]


@pytest.mark.parametrize("cases", ["", "\n \n"])
def test_an_empty_cases_file_is_refused(refused: Refused, head: str, cases: str) -> None:
    assert refused(head, cases) == ["suite.toml:2: no cases; a suite needs at least one"]


def test_duplicate_ids_name_both_lines(refused: Refused, head: str, case_line: str) -> None:
    same = '{"prompt": "q", "expected": "x"}\n'

    assert refused(head, case_line + same + case_line + same) == [
        'cases.jsonl:4: the same as cases.jsonl:2; remove them, give ids, or set repeated = "drop"',
        "cases.jsonl:3: id 'a' is already used at cases.jsonl:1",
    ]


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "x" * 81, "a\\n", "../up", "a\\u0000"])
def test_names_that_files_and_ids_cannot_carry(refused: Refused, head: str, name: str) -> None:
    """A suite's name is letters, digits, dots, underscores and dashes; no line break at its end."""
    found = refused(head.replace('"s"', f'"{name}"'))

    assert "must be a name of at most 80 letters" in found[0]


def test_bytes_that_are_no_utf8(refused: Refused, head: str) -> None:
    assert refused(head, b'{"prompt": "a"}\n{"prompt": "caf\xe9"}') == [
        "cases.jsonl:2: not UTF-8 (byte 0xe9); save it as UTF-8: iconv -f WINDOWS-1252 -t UTF-8 "
        "cases.jsonl > new"
    ]
    assert refused(b'name = "\xff"') == ["suite.toml: not UTF-8 at byte 8; save it as UTF-8"]


def test_case_sources(refused: Refused, head: str) -> None:
    """A source is looked up by name and its options are checked like a metric's."""
    rest = head.partition("\n")[2].partition("\n")[2]
    for given, problem in (
        (
            '"no.jsonl"',
            "no.jsonl: cannot be read (No such file or directory); write one case a line",
        ),
        ('"."', ": not a file; write one case a line"),
        (
            '{ from = "json" }',
            "suite.toml:2: unknown case source 'json'; did you mean 'jsonl'?",
        ),
        (
            '{ from = "jsonl", file = 3 }',
            "suite.toml:2: case source 'jsonl': file=3: Input should be a valid string",
        ),
        (
            '{ from = "jsonl", fil = "cases.jsonl" }',
            "suite.toml:2: case source 'jsonl': unknown option 'fil'; did you mean 'file'?",
        ),
        ("{ }", "suite.toml:2: cases: the key 'from' is missing"),
        ("3", "suite.toml:2: cases: 3 must be a text or an object"),
    ):
        found = refused(f'name = "s"\ncases = {given}\n{rest}')
        assert any(p.endswith(problem) for p in found), found


def test_a_path_with_nul_is_no_crash(refused: Refused, head: str) -> None:
    found = refused(head.replace("cases.jsonl", "cases\\u0000"))

    assert "cannot be read (embedded null byte)" in found[0]


def test_a_file_of_two_hundred_megabytes_is_refused(
    written: Written, refused: Refused, tmp_path: Path
) -> None:
    folder = written()
    with (folder / "cases.jsonl").open("r+b") as file:
        file.truncate(200_000_000)

    with pytest.raises(SuiteError, match="200000000 bytes, at most 50000000 are read"):
        load_suite(folder)


def test_long_lines_are_no_problem(written: Written, head: str) -> None:
    """A prompt of 200 KB is a case like any other."""
    folder = written(head, json.dumps({"prompt": "x" * 200_000, "expected": "y"}))

    assert len(load_suite(folder).cases[0].prompt or "") == 200_000


def test_byte_order_marks_and_windows_lines(written: Written, head: str, case_line: str) -> None:
    plain = load_suite(written(head, case_line))
    windows = load_suite(
        written(
            b"\xef\xbb\xbf" + head.replace("\n", "\r\n").encode(),
            b"\xef\xbb\xbf" + case_line.replace("\n", "\r\n").encode(),
        )
    )

    assert plain.hash == windows.hash


def test_letters_are_indices(written: Written) -> None:
    """The answer "B" is the second choice."""
    toml = 'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "choice_accuracy"\n'
    case = {"prompt": "p", "choices": ["x", "y", "z"]}
    lines = [json.dumps({**case, "id": str(a), "answer": a}) for a in ("A", "C", 1)]

    found = load_suite(written(toml, "\n".join(lines)))
    assert [case.answer for case in found.cases] == [0, 2, 1]


def test_ids_are_made_of_the_content(written: Written, head: str) -> None:
    one = '{"prompt": "p", "expected": "x"}\n'
    other = '{"expected": "x", "prompt": "p"}\n'
    more = '{"prompt": "q", "expected": "x"}\n'

    first = load_suite(written(head, one))
    second = load_suite(written(head, more + other))
    assert first.cases[0].id == second.cases[1].id
    assert first.cases[0].id != second.cases[0].id


def test_the_hash_changes_with_what_is_judged(
    written: Written, head: str, case_line: str, tmp_path: Path
) -> None:
    start = load_suite(written(head, case_line)).hash

    assert load_suite(written(head, case_line.replace('"x"', '"y"'))).hash != start
    assert load_suite(written(head + "ignore_case = true\n", case_line)).hash != start
    assert load_suite(written(head + GATE + "gain = 0.1\n", case_line)).hash != start


def test_the_hash_does_not_change_with_what_is_not_judged(
    written: Written, head: str, case_line: str
) -> None:
    start = load_suite(written(head, case_line)).hash
    folder = written("# a comment\n" + head.replace("cases.jsonl", "c.jsonl"), name="elsewhere")
    (folder / "cases.jsonl").rename(folder / "c.jsonl")

    assert load_suite(folder).hash == start
    assert load_suite(written(head, "\n" + case_line)).hash == start


def test_files_of_one_name_are_two_files(written: Written, head: str, case_line: str) -> None:
    metric = '[[metrics]]\nuse = "json_schema"\nname = "{0}"\nschema = "{0}/x.json"\n'
    folder = written(head + metric.format("a") + metric.format("b"), case_line)
    hashes = set()
    for changed in ("", "a", "b"):
        for name in "ab":
            (folder / name).mkdir(exist_ok=True)
            content = '{"type": "%s"}' % ("object" if name == changed else "array")
            (folder / name / "x.json").write_text(content, encoding="utf-8")
        hashes.add(load_suite(folder).hash)

    assert len(hashes) == 3


def test_the_databases_of_queries_are_part_of_the_hash(written: Written, head: str) -> None:
    case = '{"prompt": "p", "expected": "SELECT x FROM t", "database": "d"}\n'
    folder = written(head + '[[metrics]]\nuse = "sql_result"\ndatabases = "dbs"\n', case)
    (folder / "dbs").mkdir()
    hashes = set()
    for value in (1, 2, 1):
        script = f"CREATE TABLE t (x INTEGER); INSERT INTO t VALUES ({value});"
        (folder / "dbs" / "d.sql").write_text(script, encoding="utf-8")
        hashes.add(load_suite(folder).hash)

    assert len(hashes) == 2


def test_a_reference_query_without_a_result_is_a_problem(refused: Refused, head: str) -> None:
    metric = '[[metrics]]\nuse = "sql_result"\ndatabases = "."\n'
    case = '{"prompt": "p", "expected": "SELECT 1", "database": "d"}\n'
    (problem,) = refused(head + metric, case)

    assert "suite.toml:6: cases.jsonl:1: case " in problem
    assert "no database 'd': " in problem


def test_paths_start_at_the_suites_folder(written: Written, head: str) -> None:
    folder = written(head + '[[metrics]]\nuse = "json_schema"\nschema = "t.json"\n')
    (folder / "t.json").write_text('{"type": "object"}', encoding="utf-8")

    assert load_suite(folder).metric("json_schema").options["schema"] == folder / "t.json"


def test_half_characters_become_the_replacement_character(
    written: Written, head: str, tmp_path: Path
) -> None:
    r"""`"\ud800"` and NUL pass from the line of cases to the files of a run without a crash."""
    line = (
        r'{"id": "i\ud800", "messages": [{"role": "user", "content": "m\udfff\u0000"}],'
        r' "expected": "e\ud83d", "tags": ["t\udc00"]}'
    )
    suite = load_suite(written(head, line))
    case = suite.cases[0]

    assert (case.id, case.expected, case.tags) == ("i\ufffd", "e\ufffd", ("t\ufffd",))
    assert case.messages is not None
    assert case.messages[0]["content"] == "m\ufffd\x00"
    assert json.loads("".join(record_lines([case])))["expected"] == "e\ufffd"
    assert "i\ufffd" in record_json(case)
    record_json(suite.record()).encode("utf-8")
    # a whole pair is a character and stays one
    emoji = load_suite(written(head, r'{"prompt": "\ud83d\ude00", "expected": "x"}'))
    assert emoji.cases[0].prompt == "\N{GRINNING FACE}"


def test_the_bundled_suites_are_in_order() -> None:
    from tunegate.harness.decision.planning.unreachable_gates import unreachable_gates

    folder = Path(__file__).parents[2] / "suites"
    files = sorted(folder.glob("*/suite.toml"))

    assert len(files) >= 3
    for file in files:
        if file.parent.name == "charts" and find_spec("PIL") is None:
            continue
        suite = load_suite(file)
        assert suite.name == file.parent.name
        assert {gate.kind for gate in suite.gates} <= {kind.name for kind in gate_kinds()}
        assert suite.gates
        assert unreachable_gates(suite) == []


def test_a_suite_declares_the_range_of_a_metric(written: Written, case_line: str) -> None:
    """Scores of a metric without bounds get those that the suite writes; others are unscored."""
    head = 'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "length"\nrange = [0, 3]\n'
    [metric] = load_suite(written(head, case_line)).metrics
    case = Case(id="a", prompt="p")

    assert (metric.range, metric.bound) == ((0.0, 3.0), 3.0)
    assert metric(case, Completion(text="one two three")).value == 3
    assert "outside its range of 0 to 3" in (
        metric(case, Completion(text="one two three four")).reason or ""
    )


@pytest.mark.parametrize(
    ("metric", "range_", "problem"),
    [
        ("length", "[3, 0]", "range=[3, 0]: write the smallest and largest score"),
        ("length", "[3, 3]", "range=[3, 3]: write the smallest"),
        ("length", "[0]", "range=[0]: write the smallest"),
        ("length", "[0, 1e300]", "range=[0, 1e+300]: write the smallest"),
        ("length", '[0, "a"]', "range=[0, 'a']: write the smallest"),
        ("length", "7", "range: 7 must be a list"),
        ("exact_match", "[0, 2]", "range=[0, 2]: its scores are between 0 and 1; remove range"),
        ("brand_voice", "[0, 2]", "its scores are between 0 and 1; remove range"),
    ],
)
def test_a_range_that_makes_no_sense(
    refused: Refused, case_line: str, metric: str, range_: str, problem: str
) -> None:
    head = f'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "{metric}"\nrange = {range_}\n'

    assert sum(problem in line for line in refused(head, case_line)) == 1


def test_a_whole_file_that_lacks_something_is_told_once(refused: Refused, head: str) -> None:
    (found,) = refused(head, "".join(f'{{"id": "c{i}", "prompt": "p"}}\n' for i in range(25)))

    assert found.startswith(
        "suite.toml:2: 25 of 25 cases have no 'expected', which the metric 'exact_match' needs"
    )
    assert "cases.jsonl:1;" in found
    assert 'columns = { expected = "…" }' in found


def test_a_folder_may_be_a_text(written: Written, head: str, case_line: str) -> None:
    folder = written(head, case_line)

    assert load_suite(str(folder)).hash == load_suite(folder).hash


TAGGED = (
    '{"id": "a", "prompt": "p", "expected": "x", "tags": ["refunds", "short"]}\n'
    '{"id": "b", "prompt": "q", "expected": "x", "tags": ["refunds"]}\n'
)


def test_a_gate_may_rest_on_a_tag(written: Written, head: str) -> None:
    """Each gate of the table has the tag; the same metric may be gated pooled and on two tags."""
    gates = (
        '[[gates]]\nmetric = "exact_match"\ntag = "refunds"\nfloor = 0.5\ngain = 0\n'
        '[[gates]]\nmetric = "exact_match"\ntag = "short"\ngain = 0\n'
        '[[gates]]\nmetric = "exact_match"\ngain = 0\n'
    )
    suite = load_suite(written(head + gates, TAGGED))

    assert [gate.id for gate in suite.gates] == [
        "exact_match::floor[refunds]",
        "exact_match::gain[refunds]",
        "exact_match::gain[short]",
        "exact_match::gain",
    ]


@pytest.mark.parametrize(
    ("tag", "problem"),
    [
        (
            '"refund"',
            "suite.toml:7: tag='refund': no case has this tag; did you mean 'refunds'? there are "
            "'refunds' (2), 'short' (1)",
        ),
        (
            '"zz"',
            "suite.toml:7: tag='zz': no case has this tag; there are 'refunds' (2), 'short' (1)",
        ),
        ("3", "suite.toml:7: gates.0.tag: 3 must be a text"),
        ('["refunds"]', 'suite.toml:7: gates.0.tag: ["refunds"] must be a text'),
        ('""', 'suite.toml:7: gates.0.tag: "" must not be empty'),
    ],
)
def test_a_tag_that_cannot_be_gated(refused: Refused, head: str, tag: str, problem: str) -> None:
    gate = f'[[gates]]\nmetric = "exact_match"\ntag = {tag}\ngain = 0\nfloor = 0.5\n'

    assert refused(head + gate, TAGGED) == [problem]


def test_a_tag_where_no_case_has_one(refused: Refused, head: str) -> None:
    gate = '[[gates]]\nmetric = "exact_match"\ntag = "refunds"\ngain = 0\n'

    assert refused(head + gate) == [
        "suite.toml:7: tag='refunds': no case has this tag, nor any other; give the cases tags, "
        "or remove the key"
    ]


def test_the_same_gate_twice_on_a_tag(refused: Refused, head: str) -> None:
    gate = '[[gates]]\nmetric = "exact_match"\ntag = "short"\ngain = 0\n'

    assert refused(head + gate + gate, TAGGED) == [
        "suite.toml:12: a second gain on 'exact_match' with the tag 'short'; remove one"
    ]


FROM_CSV = 'name = "s"\n[[metrics]]\nuse = "exact_match"\n[cases]\nfrom = "csv"\nfile = {file!r}\n'


@pytest.mark.parametrize("way", ["absolute", "above", "link"])
def test_a_file_outside_of_the_project_is_refused(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cases would be published with the page; where it is allowed it is read."""
    secret = tmp_path / "home" / "secret.csv"
    secret.parent.mkdir()
    secret.write_text("prompt,expected\nhush,x\n", encoding="utf-8")
    folder = tmp_path / "project" / "suites" / "s"
    folder.mkdir(parents=True)
    (tmp_path / "project" / "pyproject.toml").touch()
    (folder / "link.csv").symlink_to(secret)
    named = {"absolute": str(secret), "above": "../../../home/secret.csv", "link": "link.csv"}[way]
    (folder / "suite.toml").write_text(FROM_CSV.format(file=named), encoding="utf-8")

    with pytest.raises(SuiteError) as caught:
        load_suite(folder)
    monkeypatch.setenv("TUNEGATE_ALLOW_OUTSIDE", "1")
    allowed = load_suite(folder)

    (problem,) = caught.value.problems
    assert problem.startswith(f"{folder}/suite.toml:")
    assert "outside the suite's folder and the project" in problem
    assert "hush" not in problem
    assert [case.prompt for case in allowed.cases] == ["hush"]


def test_files_of_the_project_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the suites, where the project has a `.git`, and below the current directory."""
    folder = tmp_path / "project" / "suites" / "s"
    folder.mkdir(parents=True)
    (tmp_path / "project" / "t.csv").write_text("prompt,expected\np,x\n", encoding="utf-8")
    (folder / "suite.toml").write_text(FROM_CSV.format(file="../../t.csv"), encoding="utf-8")

    with pytest.raises(SuiteError, match="outside"):
        load_suite(folder)
    with monkeypatch.context() as here:
        here.chdir(tmp_path / "project")
        assert len(load_suite(folder).cases) == 1
    (tmp_path / "project" / ".git").mkdir()
    assert len(load_suite(folder).cases) == 1


def test_a_metrics_file_outside_of_the_project_is_refused(tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text("{}", encoding="utf-8")
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / "cases.jsonl").write_text('{"id": "a", "prompt": "p"}\n', encoding="utf-8")
    (folder / "suite.toml").write_text(
        'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "json_schema"\n'
        f"schema = {str(tmp_path / 'schema.json')!r}\n",
        encoding="utf-8",
    )

    with pytest.raises(SuiteError, match="outside the suite's folder"):
        load_suite(folder)


class TestReplay:
    """Suites of replayed traffic know which of their metrics judge what answers say."""

    METRICS = """
[[metrics]]
use = "length"
[[metrics]]
use = "tool_calls"
[[metrics]]
use = "json_valid"
"""
    CASES = '{"id": "a", "prompt": "p", "expected": "x", "expected_calls": %s}\n'

    def test_form_is_no_content(self, written: Written, head: str) -> None:
        cases = self.CASES % "[]"
        call = self.CASES % '[{"name": "f", "arguments": {}}]'
        text = "replay = true\n" + head + self.METRICS

        assert load_suite(written(text, cases)).content_metrics == ("exact_match",)
        found = load_suite(written(text, call)).content_metrics
        assert found == ("exact_match", "tool_calls")

    def test_other_suites_have_no_such_list(self, written: Written, head: str) -> None:
        assert load_suite(written(head)).record().content_metrics is None
        assert load_suite(written("replay = false\n" + head)).content_metrics is None


def test_a_spread_of_a_metric_that_is_not_there_is_refused(refused: Refused, head: str) -> None:
    (problem,) = refused(head + "[plan]\nspread = { exact_mach = 0.1 }\n")

    assert "suite.toml:" in problem
    assert "exact_match" in problem
