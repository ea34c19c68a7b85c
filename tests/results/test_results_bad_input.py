"""Bad input of recorded results, one row for each kind: counted and told, or refused.

Base is right in 120 of 200 answers and tuned in the same ones, so that a difference of any other
size than 0 comes from the damage.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.results.recorded_results import RECORDED, gate, write_rows, write_suite
from tunegate.harness.contracts.result_set import read_results
from tunegate.harness.records.errors import SuiteError, UsageError
from tunegate.harness.records.verdict import Verdict

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class BadInput:
    """What happens to a kind of damage."""

    change: Callable[[Rows], Rows | str]
    verdict: Verdict | None
    """The verdict; None where it is refused before one."""
    pairs: int = 0
    """Cases that the difference rests on."""
    told: str = ""
    """What the terminal or the refusal says."""
    arm: str = "tuned"


def renamed(rows: Rows, count: int) -> Rows:
    """Give the last rows ids that the other run lacks."""
    return [*rows[:-count], *({**row, "id": f"z{row['id']}"} for row in rows[-count:])]


def scored(rows: Rows, count: int, value: Any) -> Rows:
    """Give the first rows another score."""
    return [{**row, "score": value} if at < count else row for at, row in enumerate(rows)]


def text(rows: Rows) -> str:
    """Return the lines of a file."""
    return "".join(json.dumps(row) + "\n" for row in rows)


WRONG_FIRST = 3
"""Rows whose score is not a number; tuned would be wrong there if they counted as 0."""

TABLE = {
    "nothing is wrong": BadInput(lambda rows: rows, Verdict.SHIP, 200),
    "few ids without a partner": BadInput(
        lambda rows: renamed(rows, 3), Verdict.SHIP, 197, "3 of 200 cases have no result in tuned"
    ),
    "ids beyond the suite": BadInput(
        lambda rows: [*rows, *renamed(rows, 5)[-5:]], Verdict.SHIP, 200,
        "5 of 205 cases in the results of tuned are in no suite",
    ),
    "no id has a partner": BadInput(
        lambda rows: renamed(rows, 200), None, told="has none of the 200 cases"
    ),
    "an id twice": BadInput(lambda rows: [*rows, rows[5]], None, told="tuned.jsonl:201"),
    "an id twice with another score": BadInput(
        lambda rows: [*rows, {**rows[5], "score": 1 - rows[5]["score"]}], None, told="'r5'"
    ),
    "an id twice in base": BadInput(
        lambda rows: [*rows, rows[5]], None, told="base.jsonl:201", arm="base"
    ),
    "an id twice with another prompt, as a further sample": BadInput(
        lambda rows: [{**row, "sample": 0} for row in rows]
        + [{**rows[5], "sample": 1, "prompt": "another"}],
        None, told="another prompt",
    ),
    "half of the samples": BadInput(lambda rows: rows[:100], Verdict.ERROR, 100, "100 of 200"),
    "half of the samples of base": BadInput(
        lambda rows: rows[:100], Verdict.ERROR, 100, "100 of 200", arm="recorded base"
    ),
    "the metric is missing": BadInput(
        lambda rows: [{"id": row["id"], "prompt": row["prompt"], "other": 1} for row in rows],
        None, told="no column 'score'",
    ),
    "numbers as texts": BadInput(
        lambda rows: [{**row, "score": f" {row['score']}.0 "} for row in rows], Verdict.SHIP, 200
    ),
    "words for right and wrong": BadInput(
        lambda rows: [{**row, "score": "pass" if row["score"] else "FAIL"} for row in rows],
        Verdict.SHIP, 200,
    ),
    "few texts that are not a number": BadInput(
        lambda rows: scored(rows, WRONG_FIRST, "good"), Verdict.SHIP, 197,
        "3 of 200 results of tuned lack a score (the score is 'good', which is not a number)",
    ),
    "many texts that are not a number": BadInput(
        lambda rows: scored(rows, 30, "good"), Verdict.ERROR, 170, "30 of 200"
    ),
    "NaN, Infinity and nothing": BadInput(
        lambda rows: scored(scored(scored(rows, 3, float("nan")), 2, float("inf")), 1, ""),
        Verdict.SHIP, 197, "3 of 200 results of tuned lack a score",
    ),
    "a score beyond 0 and 1": BadInput(
        lambda rows: scored(rows, 1, 2), None, told="binary = true allows 0 and 1"
    ),
    "a log that broke off in its last line": BadInput(
        lambda rows: text(rows)[:-40], Verdict.SHIP, 199, "tuned.jsonl:200: broken JSON"
    ),
    "a log that broke off in the middle": BadInput(
        lambda rows: text(rows[:120])[:-40], Verdict.ERROR, 119, "tuned.jsonl:120: broken JSON"
    ),
    "lines that are not objects": BadInput(
        lambda rows: text(rows[:-2]) + "[1, 2]\nnull\n", Verdict.SHIP, 198,
        "2 lines cannot be read",
    ),
    "an empty file": BadInput(lambda rows: "", None, told="tuned.jsonl"),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_bad_input_is_told_or_refused_and_never_a_false_difference(
    tmp_path: Path, name: str
) -> None:
    """The verdict rests on the pairs there are, their difference is 0, and the rest is told."""
    bad = TABLE[name]
    rows = [{"id": f"r{i}", "prompt": f"question {i}", "completion": "base", "score": int(i < 120)}
            for i in range(200)]  # fmt: skip
    files = {"base": rows, "tuned": [{**row, "completion": "tuned"} for row in rows]}
    write_rows(tmp_path / "cases.jsonl", rows)
    for arm, found in files.items():
        changed = bad.change(found) if bad.arm.endswith(arm) else found
        path = tmp_path / f"{arm}.jsonl"
        path.write_text(changed if isinstance(changed, str) else text(changed), encoding="utf-8")
    pinned = tmp_path / ("base.jsonl" if bad.arm == "base" else "cases.jsonl")
    suite = write_suite(tmp_path, pinned, gates="tolerance = 0.2")
    stream = io.StringIO()

    def run() -> tuple[Verdict, int, float | None]:
        paths = [tmp_path / f"{arm}.jsonl" for arm in files]
        found = gate(suite, *paths, stream=stream)
        sole = found.suites[0].gates[0]
        return found.verdict, sole.n, sole.delta

    if bad.verdict is None:
        with pytest.raises((UsageError, SuiteError)) as refused:
            run()
        assert bad.told in str(refused.value)
        assert not (tmp_path / "run" / "verdict.json").exists()
        return
    verdict, pairs, difference = run()
    assert verdict is bad.verdict
    if verdict is Verdict.SHIP:
        assert (pairs, difference) == (bad.pairs, 0.0)
    said = stream.getvalue() + (tmp_path / "run" / "verdict.json").read_text(encoding="utf-8")
    assert bad.told in said


def test_several_scorers_of_one_name_are_told_apart() -> None:
    """Inspect and DeepEval number them; neither hides the other."""
    twice = read_results(str(RECORDED / "inspect" / "twice"))
    assert len({s.key for s in twice.scores}) == len(twice.scores) >= 2
    deepeval = {s.key for s in read_results(str(RECORDED / "deepeval" / "base")).scores}
    assert {key.partition("#")[2] for key in deepeval} >= {"1", "2"}


def test_a_csv_that_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    """With two columns of one name, one score would be hidden."""
    path = tmp_path / "scores.csv"
    path.write_text("id,score,score\nr1,1,0\n", encoding="utf-8")
    with pytest.raises(UsageError, match="two columns are called 'score'"):
        read_results(str(path))


def test_a_broken_archive_is_refused_in_a_line(tmp_path: Path) -> None:
    log = next((RECORDED / "inspect" / "base").glob("*.eval"))
    path = tmp_path / log.name
    shutil.copy(log, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UsageError, match="not a complete zip archive") as refused:
        read_results(str(path))
    assert "\n" not in str(refused.value)
