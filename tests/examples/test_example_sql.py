"""The example of SQL questions, and Spider and BIRD as the guide reads them."""

from __future__ import annotations

import json
import re
import runpy
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.checks.contamination.check import check_contamination
from tunegate.harness.checks.contamination.training_rows import find_training_files
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.contamination import ContaminationMode
from tunegate.harness.records.training_card import TrainingSummary
from tunegate.harness.suite import load_suite
from tunegate.trainers import sft
from tunegate.trainers.arguments import parse_arguments
from tunegate.trainers.train import method_parser

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/sql"
GUIDE = (ROOT / "docs/guides/sql.md").read_text(encoding="utf-8")


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_script_writes_what_is_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "questions").mkdir()
    script = runpy.run_path(str(EXAMPLE / "make.py"))
    monkeypatch.setitem(script["main"].__globals__, "HERE", tmp_path)

    script["main"]()

    for name in ("train.jsonl", "questions/cases.jsonl"):
        assert (tmp_path / name).read_bytes() == (EXAMPLE / name).read_bytes()


def test_training_and_cases_share_no_question_and_no_query() -> None:
    rows = read_lines(EXAMPLE / "train.jsonl")
    cases = read_lines(EXAMPLE / "questions/cases.jsonl")
    bundled = read_lines(ROOT / "suites/sql/cases.jsonl")
    trained = {turn["content"] for row in rows for turn in (*row["prompt"], *row["completion"])}

    assert (len(rows), len(cases)) == (320, 100)
    assert trained.isdisjoint(case[key] for case in cases for key in ("prompt", "expected"))
    assert trained.isdisjoint(case["expected"] for case in bundled)


def test_no_case_is_found_in_the_training_rows() -> None:
    suites = [load_suite(EXAMPLE / "questions"), load_suite(ROOT / "suites/sql")]
    rows = find_training_files(TrainingSummary(), None, [EXAMPLE / "train.jsonl"])

    found = check_contamination(suites, rows, mode=ContaminationMode.GATE)

    assert [suite.touched for suite in found.suites] == [(), ()]


def test_training_and_suite_show_the_same_tables() -> None:
    suite = load_suite(EXAMPLE / "questions")
    systems = {row["prompt"][0]["content"] for row in read_lines(EXAMPLE / "train.jsonl")}

    assert systems == {suite.generation.system}
    metric = suite.metric("sql_result")
    assert {metric(c, Completion(text=c.expected_texts()[0])).value for c in suite.cases} == {1.0}


@pytest.mark.slow
def test_the_configuration_is_read() -> None:
    config = parse_arguments(method_parser(sft.METHOD), ["--config", str(EXAMPLE / "train.yaml")])

    assert [path for path in config.data.train_files if not Path(path).is_file()] == []


@pytest.mark.slow
@pytest.mark.long  # trains a model and judges it: four minutes of a processor
def test_the_fine_tune_ships(tmp_path: Path) -> None:
    tuned = str(tmp_path / "tuned")
    run_tunegate("train", "sft", "--config", str(EXAMPLE / "train.yaml"), "--output_dir", tuned)

    arms = ("--base", "embedded", "--tuned", tuned, "--run-dir", str(tmp_path / "run"))
    run_tunegate("gate", str(EXAMPLE / "questions"), *arms)

    verdict = json.loads((tmp_path / "run/verdict.json").read_text(encoding="utf-8"))
    assert verdict["verdict"] == "SHIP"


def run_tunegate(*arguments: str) -> None:
    words = [sys.executable, "-m", "tunegate.harness.cli", *arguments]
    done = subprocess.run(words, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("source", ["jsonl", "datasets"])
def test_spider_is_read_as_the_guide_says(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder has the layout of Spider's archive."""
    monkeypatch.chdir(tmp_path)
    Path("spider/database/pets").mkdir(parents=True)
    with closing(sqlite3.connect("spider/database/pets/pets.sqlite")) as connection:
        connection.executescript("CREATE TABLE pet (name TEXT); INSERT INTO pet VALUES ('Rex');")
    rows = [
        {"db_id": "pets", "query": "SELECT name FROM pet", "question": "Which pets are there?"},
        {"db_id": "pets", "query": "SELECT 1 WHERE 0", "question": "Which cats?"},
    ]
    Path("spider/dev.json").write_text(json.dumps(rows))
    (python,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    (table,) = re.findall(r"```toml\n(\[cases\].*?)```", GUIDE, re.DOTALL)
    exec(python, {})
    if source == "datasets":
        table = table.replace('from = "jsonl"', 'from = "datasets"').replace("file =", "path =")
    Path("suite.toml").write_text(f'name = "spider"\n{table}')

    suite = load_suite(tmp_path)

    assert suite.cases[0].prompt == "CREATE TABLE pet (name TEXT)\n\nWhich pets are there?"
    metric = suite.metric("sql_result")
    assert metric(suite.cases[0], Completion(text="SELECT pet.name FROM pet")).value == 1.0
    assert metric(suite.cases[1], Completion(text="SELECT name FROM pet")).value == 0.0
