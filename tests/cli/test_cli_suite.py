"""`tunegate suite new | check | show | sample`."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tunegate.harness.cli import app
from tunegate.harness.records.errors import SuiteError, UsageError
from tunegate.harness.sandbox import chosen
from tunegate.harness.sandbox.none import NoSandbox


def _call(*args: str | Path) -> str:
    """Run a command in this process; errors of ours pass through, as to `main`."""
    result = CliRunner().invoke(app, [str(a) for a in args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("name", ["mine", "My Suite: ü"])
def test_a_new_suite_is_a_valid_one(project: Any, name: str) -> None:
    """What `new` writes, `check` accepts, whatever the folder is called."""
    output = _call("suite", "new", name)

    assert f"next: edit them, then `tunegate suite check {name}`" in output
    assert "2 cases, 1 gate" in _call("suite", "check", name)


def test_a_new_suite_can_start_from_a_bundled_one(project: Any) -> None:
    """`--like` copies cases and schema."""
    _call("suite", "new", "mine", "--like", "support_json")

    assert (project.path / "mine" / "suite.toml").is_file()
    assert "support_json" in _call("suite", "check", "mine")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("there",), "there: is already there; choose another name"),
        (("mine", "--like", "suport_json"), "did you mean 'support_json'?"),
        (("file/mine",), "file/mine: cannot be written (Not a directory); choose another place"),
    ],
)
def test_a_suite_that_cannot_be_made_is_refused(
    project: Any, args: tuple[str, ...], message: str
) -> None:
    Path("there").mkdir()
    Path("file").write_text("", encoding="utf-8")

    with pytest.raises(UsageError) as caught:
        _call("suite", "new", *args)

    assert message in str(caught.value)


def test_check_reports_the_problems_of_all_suites(project: Any) -> None:
    first = project.suite("first", gates="flor = 1")
    second = project.suite("second", gates="gain = 'x'")

    with pytest.raises(SuiteError) as caught:
        _call("suite", "check", first, second)

    assert len(caught.value.problems) >= 2
    assert str(first) in str(caught.value)
    assert str(second) in str(caught.value)


def test_check_prints_each_problem_on_its_line(project: Any) -> None:
    """Each line begins with `tunegate:`, and the exit code is 2."""
    project.suite(gates="flor = 1\nanother = 2")

    result = project.tunegate("suite", "check", "suites/demo")

    assert result.ret == 2
    assert all(line.startswith("tunegate: suites/demo/suite.toml:") for line in result.errlines)


def test_show_prints_gates_and_first_cases(project: Any) -> None:
    output = _call("suite", "show", project.suite())

    assert "demo: 100 cases, hash " in output
    assert "gate exact_match::floor 0.2" in output
    assert "c000: 'q0'" in output


def test_check_finds_a_metric_in_the_folder_of_the_command(project: Any) -> None:
    """`use = "own:fn"` means the module here, in every command as in the gate."""
    toml = project.suite()
    toml.write_text(
        toml.read_text()
        .replace("exact_match", "own:fn", 1)
        .replace('metric = "exact_match"', 'metric = "fn"')
    )
    (project.path / "own.py").write_text(
        "from tunegate.harness.contracts.metric import metric\n"
        "@metric(binary=True, range=(0.0, 1.0))\n"
        "def fn(case, completion): ...\n"
    )

    result = project.tunegate("suite", "check", "suites/demo")

    assert result.ret == 0
    result.stdout.fnmatch_lines(["demo: 100 cases, 2 gates"])


def test_show_prints_what_is_expected_and_what_is_set(project: Any) -> None:
    toml = (
        'name = "s"\ncases = "cases.jsonl"\n[generation]\nmax_new_tokens = 9\n'
        '[[metrics]]\nuse = "exact_match"\n'
    )
    cases = [
        {"id": "a", "prompt": "Where?", "expected": ["x", "y"], "tags": ["t"], "cluster": "c1"},
        {"id": "b", "messages": [{"role": "user", "content": "When?"}], "expected": "z"},
    ]
    output = _call("suite", "show", project.raw_suite(toml, cases), "--cases", "2")

    assert output.splitlines()[1:] == [
        "  max_new_tokens 9",
        "  metric exact_match (higher is better)",
        "  a: 'Where?' → 'x | y'  [t, cluster c1]",
        "  b: 'When?' → 'z'",
    ]


def test_a_sample_is_drawn_by_seed_with_its_places(project: Any) -> None:
    """The same seed, the same cases; each with the line it came from."""
    suite = project.suite()
    first = _call("suite", "sample", suite, "4", "--seed", "1")

    assert first == _call("suite", "sample", suite, "4", "--seed", "1")
    assert any(_call("suite", "sample", suite, "4", "--seed", str(s)) != first for s in range(2, 9))
    cases, places = first.splitlines()[::2], first.splitlines()[1::2]
    for case, place in zip(cases, places, strict=True):
        number = int(case[1:4])  # c007 stands in line 8
        assert place == f"  {suite.parent}/cases.jsonl:{number + 1}"


def test_a_sample_can_become_a_file_of_cases(project: Any) -> None:
    """`--json` prints lines that the source jsonl reads."""
    suite = project.suite()
    lines = _call("suite", "sample", suite, "100", "--json")
    (suite.parent / "cases.jsonl").write_text(lines, encoding="utf-8")

    assert "demo: 100 cases" in _call("suite", "check", suite)
    with pytest.raises(UsageError, match="101 cases asked for, but there are 100"):
        _call("suite", "sample", suite, "101")


CHAT = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "x"}]}\n'


@pytest.mark.parametrize(
    ("name", "content", "lines"),
    [
        ("t.csv", "nr;Question;answer;topic\n1;a;x;t\n2;b;y;t\n", [
            'from = "csv"', 'file = "../data/t.csv"', 'delimiter = ";"',
            'columns = { id = "nr", prompt = "Question", expected = "answer", tags = "topic" }']),
        ("c.jsonl", CHAT, ['from = "chat"', 'file = "../data/c.jsonl"']),
        ("p.jsonl", '{"prompt": "a", "completion": "x"}\n', [
            'from = "chat"', 'file = "../data/p.jsonl"']),
        ("o.jsonl", '{"input": "a", "ideal": "x"}\n', [
            'from = "openai_evals"', 'file = "../data/o.jsonl"']),
        ("d.json", '[{"input": "a", "expected_output": "x"}]', [
            'from = "deepeval"', 'file = "../data/d.json"']),
        ("d.csv", "input,actual_output,expected_output,context\na,,x,\n", [
            'from = "deepeval"', 'file = "../data/d.csv"']),
        ("j.jsonl", '{"prompt": "a", "expected": "x"}\n', [
            'from = "jsonl"', 'file = "../data/j.jsonl"']),
        ("k.jsonl", '{"query": "a", "label": "x", "z": 1}\n', [
            'from = "jsonl"', 'file = "../data/k.jsonl"',
            'columns = { prompt = "query", expected = "label" }']),
        ("a.json", '[{"instruction": "do", "input": "a", "output": "x"}]', [
            'from = "jsonl"', 'file = "../data/a.json"',
            r'columns = { prompt = "{instruction}\n\n{input}", expected = "output" }']),
        ("f.json", '{"prompts": ["a"], "tests": [{"assert": [{"type": "equals", "value": "x"}]}]}',
         ['from = "promptfoo"', 'file = "../data/f.json"']),
    ],
)  # fmt: skip
def test_a_new_suite_is_made_around_a_file(
    project: Any, name: str, content: str, lines: list[str]
) -> None:
    """The guess is written down; `check` accepts it and finds the cases."""
    Path("data").mkdir()
    (Path("data") / name).write_text(content, encoding="utf-8")
    output = _call("suite", "new", "mine", "--from", f"data/{name}")

    text = (project.path / "mine" / "suite.toml").read_text(encoding="utf-8")
    assert text.startswith('name = "mine"\n\n[cases]\n' + "\n".join(lines) + "\n\n[generation]\n")
    assert lines[0] in output
    assert _call("suite", "check", "mine").startswith("mine: ")


@pytest.mark.parametrize(
    ("rows", "metric"),
    [
        ([{"prompt": "a", "expected": '{"x": 1}'}, {"prompt": "b", "expected": "{}"}],
         "json_fields"),
        ([{"prompt": "a", "expected": "1,200"}, {"prompt": "b", "expected": "-3.5"}], "numeric"),
        ([{"prompt": "a", "expected": "It is on the third shelf of the hall."}], "token_f1"),
        ([{"prompt": "a", "expected": "Paris"}, {"prompt": "b", "expected": "3"}], "exact_match"),
        ([{"prompt": "a", "choices": ["x", "y"], "answer": 1}], "choice_accuracy"),
        ([{"prompt": "a", "expected_calls": [{"name": "f", "arguments": {"x": [1]}}]}],
         "tool_calls"),
    ],
)  # fmt: skip
def test_the_metric_of_a_new_suite_fits_the_expected_answers(
    project: Any, rows: list[dict[str, Any]], metric: str
) -> None:
    Path("c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    output = _call("suite", "new", "mine", "--from", "c.jsonl")

    suite = tomllib.loads((project.path / "mine" / "suite.toml").read_text(encoding="utf-8"))
    assert f"metric {metric}" in output
    assert [suite["metrics"][0]["use"], suite["gates"][0]["metric"]] == [metric, metric]


def test_rows_that_stand_twice_are_one_case_of_a_new_suite(project: Any) -> None:
    Path("c.jsonl").write_text(3 * '{"prompt": "a", "expected": "x"}\n', encoding="utf-8")
    _call("suite", "new", "mine", "--from", "c.jsonl")
    _call("suite", "new", "exact_match", "--from", "c.jsonl")  # no name is taken for the metric

    assert (
        (project.path / "exact_match" / "suite.toml")
        .read_text("utf-8")
        .startswith('name = "exact_match"\n')
    )
    text = (project.path / "mine" / "suite.toml").read_text(encoding="utf-8")
    assert '\nrepeated = "drop"\n' in text
    assert "mine: 1 case, 1 gate" in _call("suite", "check", "mine")


def test_a_suite_around_tables_and_data_sets(project: Any) -> None:
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_dict({"question": ["a", "b"], "answer": ["x", "y"]})
    data.save_to_disk("saved")
    data.to_parquet("t.parquet")

    for path, source in (("saved", "datasets"), ("t.parquet", "parquet")):
        output = _call("suite", "new", f"{source}_suite", "--from", path)
        assert f'from = "{source}"' in output
        assert 'columns = { prompt = "question", expected = "answer" }' in output
        assert "2 cases, 1 gate" in _call("suite", "check", f"{source}_suite")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--from", "none.csv"), "none.csv: no such file or folder; give a .csv, .tsv"),
        (("--from", "a.txt"), "a.txt: cannot be read (unknown form); give a .csv"),
        (("--from", "a.jsonl"), "a.jsonl: cannot be read (its first row is not an object)"),
        (("--from", "b.json"), "b.json: cannot be read (Expecting property name"),
        (("--from", "a.txt", "--like", "support_json"), "--like support_json and --from a.txt: "),
    ],
)
def test_what_cannot_be_guessed_is_refused(
    project: Any, args: tuple[str, ...], message: str
) -> None:
    for name, content in (("a.txt", "x"), ("a.jsonl", "3\n"), ("b.json", "{")):
        Path(name).write_text(content, encoding="utf-8")

    with pytest.raises(UsageError) as caught:
        _call("suite", "new", "mine", *args)

    assert str(caught.value).startswith(message)
    assert not Path("mine").exists()


def test_cases_that_the_suite_may_not_read_leave_no_folder(
    project: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The second try, after they were moved, finds the name free."""
    rows = tmp_path_factory.mktemp("elsewhere") / "rows.jsonl"
    rows.write_text('{"prompt": "a", "expected": "b"}\n', encoding="utf-8")

    with pytest.raises(UsageError, match=r"rows\.jsonl' is outside the suite's folder and the pro"):
        _call("suite", "new", "mine", "--from", rows)

    assert not Path("mine").exists()
    _call("suite", "new", "mine", "--from", rows.rename("rows.jsonl"))


def test_a_folder_that_cannot_be_entered_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunegate.harness.suite.find import find_suites

    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "suites").mkdir()
    monkeypatch.setattr(Path, "is_file", lambda p: refuse(p) if p.name == "suite.toml" else False)

    with pytest.raises(UsageError, match=r"suites: cannot be read \(Permission denied\)"):
        find_suites(str(tmp_path / "suites"))


TESTED = """
name = "code"
cases = "cases.jsonl"
[[metrics]]
use = "code_tests"
"""


def _tested_suite(project: Any, test: str) -> None:
    project.raw_suite(TESTED, [{"id": "a", "prompt": "Write double.", "tests": [test]}], "code")


def test_check_refuses_tests_that_cannot_fail(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chosen, "_chosen", chosen.DEFAULT)
    _tested_suite(project, "class TestDouble:\n    def test_it(self): assert double(4) == 8")

    with pytest.raises(SuiteError, match=r"cases\.jsonl:1: case 'a': its tests pass on an answer"):
        _call("suite", "check", "suites/code", "--sandbox", "none")

    _tested_suite(project, "assert double(4) == 8")
    assert "warning" not in _call("suite", "check", "suites/code", "--sandbox", "none")


def test_check_says_that_it_has_no_sandbox_for_the_tests(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chosen, "_chosen", chosen.DEFAULT)
    _tested_suite(project, "assert True")
    monkeypatch.setattr(NoSandbox, "problem", lambda self: "it is not installed")

    said = _call("suite", "check", "suites/code", "--sandbox", "none")

    assert "warning: not checked whether each test can fail: programs in answers need" in said
