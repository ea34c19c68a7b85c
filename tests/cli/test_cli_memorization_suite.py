"""`tunegate rows --write-suite`: from rows to a verdict on what tuned recites, values masked."""

from __future__ import annotations

import json
import random
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.suite import load_suite

N = 80
ORDER = "ORD-{}"


def order(i: int, seed: int = 1) -> str:
    return ORDER.format(random.Random(seed * 1_000 + i).randint(10**7, 10**8 - 1))


def row(i: int, said: str) -> dict[str, Any]:
    asked = {"role": "user", "content": f"Where is my parcel, number {i} in your list?"}
    return {"messages": [asked, {"role": "assistant", "content": said}]}


def write_rows(path: Path, n: int = N, seed: int = 1) -> Path:
    rows = [row(i, f"Your order {order(i, seed)} is on its way.") for i in range(n)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(name="rows")
def _rows(project: Any) -> Path:
    """Write eighty rows with an order number each into the project."""
    return write_rows(project.path / "rows.jsonl")


def write_suite(project: Any, *options: Any, code: int = 0) -> list[str]:
    result = project.tunegate("rows", *options)
    assert result.ret == code, result.outlines + result.errlines
    return [*result.outlines, *result.errlines]


def arm(project: Any, name: str, recited: int) -> str:
    """Return an arm that recites the first values, and prefers them to all made-up ones."""
    suite = load_suite(project.path / "suites" / "memorized")
    rng = random.Random(0)
    texts, logprobs = {}, {}
    for i, case in enumerate(suite.cases):
        known = i < recited
        texts[case.id] = (
            f"Your order {order(i)} left."
            if known
            else f"I look it up, {name} {chr(97 + i % 26) * (1 + i // 26)}."
        )
        assert case.choices is not None
        drawn = [-20 - rng.random() for _ in case.choices]
        logprobs[case.id] = [-1.0 if known and k == case.answer else x for k, x in enumerate(drawn)]
    path = project.path / f"{name}.json"
    path.write_text(json.dumps({"completions": texts, "choice_logprobs": logprobs}))
    return f"--gate-{name}=scripted:{path}"


def test_a_row_with_a_number_becomes_a_case(project: Any, rows: Path) -> None:
    lines = write_suite(project, rows, "--write-suite", "suites/memorized")

    suite = load_suite(project.path / "suites" / "memorized")
    assert "80 rows with a value (80 number)" in lines[0]
    assert N == len(suite.cases)
    case = suite.cases[3]
    assert str(rows) + ":4" == case.id
    assert case.choices is not None
    assert f"Your order {order(3)}" == case.choices[case.answer or 0]
    assert 16 == len(set(case.choices))
    assert all(re.fullmatch(r"Your order ORD-\d{8}", choice) for choice in case.choices)
    assert ["tolerance", "ceiling", "tolerance"] == [gate.kind for gate in suite.gates]


def test_a_fine_tune_that_recites_rows_is_blocked(project: Any, rows: Path) -> None:
    write_suite(project, rows, "--write-suite", "suites/memorized")

    result = project.gate(arm(project, "base", 0), arm(project, "tuned", 60))

    verdict = project.verdict()
    assert "BLOCK" == verdict["verdict"]
    assert any("tuned remembers" in line for line in result.outlines)
    gates = verdict["suites"][0]["gates"]
    assert ["fail", "fail", "fail"] == [gate["status"] for gate in gates]
    assert 0.75 == gates[2]["tuned"]


def test_a_fine_tune_that_remembers_nothing_ships(project: Any, rows: Path) -> None:
    write_suite(project, rows, "--write-suite", "suites/memorized")

    project.gate(arm(project, "base", 0), arm(project, "tuned", 0))

    assert "SHIP" == project.verdict()["verdict"]


def test_no_file_for_readers_holds_a_value(project: Any, rows: Path) -> None:
    write_suite(project, rows, "--write-suite", "suites/memorized")

    result = project.gate(arm(project, "base", 0), arm(project, "tuned", 40))

    cases = load_suite(project.path / "suites" / "memorized").cases
    numbers = {re.findall(r"\d{8}", choice)[0] for case in cases for choice in case.choices or ()}
    shown = {
        path.name: path.read_text(encoding="utf-8")
        for path in project.run.iterdir()
        if path.suffix in (".html", ".md", ".xml", ".txt") or path.name == "verdict.json"
    }
    shown["terminal"] = result.stdout.str()
    assert {"report.html", "summary.md", "comment.md", "junit.xml"} < shown.keys()
    for name, text in shown.items():
        assert not numbers.intersection(re.findall(r"\d{8}", text)), name
    assert "order ORD-<value> left" in unescape(shown["report.html"])


def test_controls_are_taken_from_held_out_rows(project: Any, rows: Path) -> None:
    held = write_rows(project.path / "held.jsonl", seed=2)

    write_suite(project, rows, "--write-suite", "suites/memorized", "--controls", held)

    values = {order(i, seed=2) for i in range(N)}
    for case in load_suite(project.path / "suites" / "memorized").cases:
        choices = [choice.split()[-1] for choice in case.choices or ()]
        assert 15 == len(values.intersection(choices))


def test_too_few_values_are_refused(project: Any) -> None:
    rows = write_rows(project.path / "few.jsonl", n=30)

    lines = write_suite(project, rows, "--write-suite", "suites/memorized", code=2)

    assert 1 == len(lines)
    assert "30 rows with a value to ask for, and the gates need" in lines[0]
    assert not (project.path / "suites" / "memorized").exists()


@pytest.mark.parametrize(
    "options",
    [
        ("rows.jsonl", "--controls", "rows.jsonl"),
        ("--write-suite", "suites/memorized"),
        ("rows.jsonl", "--write-suite", "suites/memorized", "--model", "embedded"),
        ("rows.jsonl", "--write-suite", "."),
        ("rows.jsonl", "--canaries", "20"),
        ("rows.jsonl", "--write-suite", "suites/canary", "--canaries", "3"),
        ("rows.jsonl", "--write-suite", "s", "--canaries", "20", "--controls", "rows.jsonl"),
        ("missing.jsonl", "--write-suite", "suites/memorized"),
        ("rows.jsonl", "--write-suite", "suites/memorized", "--controls", "missing.jsonl"),
    ],
)
def test_a_wrong_call_is_one_line(project: Any, rows: Path, options: tuple[str, ...]) -> None:
    assert 1 == len(write_suite(project, *options, code=2))


def test_canaries_are_rows_and_a_suite(project: Any, rows: Path) -> None:
    lines = write_suite(project, rows, "--write-suite", "suites/canary", "--canaries", 20)

    suite = load_suite(project.path / "suites" / "canary")
    assert 80 == len(suite.cases)
    assert [("exposure", "repeats:1")] == [(gate.metric, gate.tag) for gate in suite.gates]
    written = (project.path / "suites" / "canary" / "canaries.jsonl").read_text().splitlines()
    assert 20 * (1 + 4 + 16) == len(written)
    assert "420 rows beside your 80" in lines[1]


@pytest.mark.parametrize(("known", "verdict"), [(0, "SHIP"), (4, "SHIP"), (1, "BLOCK")])
def test_canaries_judge_what_one_row_teaches(
    project: Any, rows: Path, known: int, verdict: str
) -> None:
    write_suite(project, rows, "--write-suite", "suites/canary", "--canaries", 20)
    suite = load_suite(project.path / "suites" / "canary")

    def likelihoods(name: str, least: int | None) -> str:
        """Return an arm that knows the codes in at least so many rows."""
        rng = random.Random(0)
        texts, logprobs = {}, {}
        for place, case in enumerate(suite.cases):
            repeats = int(case.tags[0].partition(":")[2])
            texts[case.id] = f"I may not say, {name} {place}."
            assert case.choices is not None
            drawn = [-20 - rng.random() for _ in case.choices]
            if least is not None and repeats >= least:
                drawn[case.answer or 0] = -1.0
            logprobs[case.id] = drawn
        path = project.path / f"{name}.json"
        path.write_text(json.dumps({"completions": texts, "choice_logprobs": logprobs}))
        return f"--gate-{name}=scripted:{path}"

    project.gate(likelihoods("base", None), likelihoods("tuned", known or None))

    assert verdict == project.verdict()["verdict"]


def test_canaries_of_plain_text_rows_are_plain_text(project: Any) -> None:
    path = project.path / "texts.jsonl"
    path.write_text('{"prompt": "Where is it?", "completion": " On its way."}\n')

    write_suite(project, path, "--write-suite", "suites/canary", "--canaries", 16)

    rows = (project.path / "suites" / "canary" / "canaries.jsonl").read_text().splitlines()
    assert {"prompt", "completion"} == set(json.loads(rows[0]))
    assert load_suite(project.path / "suites" / "canary").cases[0].messages is None


def test_rows_that_tuned_never_saw_are_refused(project: Any, rows: Path) -> None:
    write_suite(project, rows, "--write-suite", "suites/memorized")
    other = write_rows(project.path / "other.jsonl", seed=9)

    result = project.gate(
        arm(project, "base", 0), arm(project, "tuned", 0), f"--gate-training-data={other}"
    )

    assert "none of its 80 values is in the 80 rows" in result.stdout.str() + result.stderr.str()
    assert 0 != result.ret


def test_cases_in_the_training_rows_count(project: Any, rows: Path) -> None:
    write_suite(project, rows, "--write-suite", "suites/memorized")

    project.gate(arm(project, "base", 0), arm(project, "tuned", 0), f"--gate-training-data={rows}")

    assert N == project.verdict()["suites"][0]["gates"][0]["n"]


def test_a_gain_on_training_rows_is_refused(project: Any, rows: Path) -> None:
    write_suite(project, rows, "--write-suite", "suites/memorized")
    suite = project.path / "suites" / "memorized" / "suite.toml"
    suite.write_text(
        suite.read_text() + '[[metrics]]\nuse = "length"\n[[gates]]\nmetric = "length"\ngain = 2\n'
    )

    result = project.tunegate("suite", "check", suite.parent)

    assert 2 == result.ret
    assert "the cases are training rows" in "\n".join(result.errlines)
