"""The sheet that people label: random, blind, and the same each time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.decision.verdict.decide import decide_run
from tunegate.harness.judges.calibrating.labelling import (
    BLOCK,
    LabellingSubject,
    draw_rows,
    read_back,
)
from tunegate.harness.records.answers import Cell, CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import SuiteError, UsageError
from tunegate.harness.records.labels import Label
from tunegate.harness.records.manifest import JudgeRecord, Manifest, MetricRecord, SuiteRecord
from tunegate.harness.records.run_folder import Run, RunCase


@pytest.fixture(name="run")
def _run() -> Run:
    """Return a run of 40 cases; on every fourth both arms say the same."""
    return make_run(40)


def make_run(n: int, **generation: Any) -> Run:
    cells = [
        StoredAnswer(
            cell=Cell(suite="s", case=f"c{i}", arm=arm, kind=CellKind.GENERATE, key=f"{i}{arm}"),
            status="ok",
            completion=Completion(text=f"same {i}" if i % 4 == 0 else f"{arm[0]} says {i}"),
        )
        for i in range(n)
        for arm in ("base", "tuned")
    ]
    judge = JudgeRecord(name="rubric", prompt_sha256="p")
    metric = MetricRecord(
        name="tone", use="rubric", needs=CellKind.GENERATE, higher_is_better=True,
        range=(0.0, 1.0), binary=False, judge=judge,
    )  # fmt: skip
    suite = SuiteRecord(
        name="s", path="suite.toml", hash="h", n_cases=n, goal_rule="primary", max_unscored=0.05,
        metrics=(metric,), gates=(), generation=generation,
    )  # fmt: skip
    manifest = Manifest(
        run_id="r", created="2026-01-01", command=(), arms={}, suites=(suite,), plan=(), seed=0,
        versions={}, comparability={}, liveness={}, attempts={},
    )  # fmt: skip
    cases = {
        ("s", f"c{i}"): RunCase(suite="s", case=Case(id=f"c{i}", prompt=f"q{i}"), where="x")
        for i in range(n)
    }
    verdict = decide_run(manifest, {"s": [row.case for row in cases.values()]}, [])
    return Run(Path("r"), manifest, cases, tuple(cells), (), verdict)


def test_both_answers_are_asked_about_and_equal_ones_once(run: Run) -> None:
    """40 cases are 70 rows: ten of them have one answer."""
    rows = draw_rows(LabellingSubject.of(run, "tone"), 100)

    assert len(rows) == 70
    assert len({(row.id, row.completion) for row in rows}) == 70
    assert all(row.label is None for row in rows)


def test_no_row_tells_whose_answer_it_is(run: Run) -> None:
    rows = draw_rows(LabellingSubject.of(run, "tone"), 40)
    first = {}
    for row in rows:
        first.setdefault(row.id, row.completion)
    led_by_base = sum(text.startswith("b") for text in first.values())

    assert 5 <= led_by_base <= 25  # of 30 pairs with two answers
    assert set(rows[0].model_dump()) == {
        "suite", "metric", "id", "prompt", "context", "completion", "label", "by",
    }  # fmt: skip


def test_stopping_early_leaves_whole_cases(run: Run) -> None:
    rows = draw_rows(LabellingSubject.of(run, "tone"), 40)
    cases = list(dict.fromkeys(row.id for row in rows))[:BLOCK]
    block = [row for row in rows if row.id in cases]

    assert rows[: len(block)] == block
    assert [row.id for row in rows] != sorted(row.id for row in rows)


def test_the_draw_is_the_runs_own(run: Run) -> None:
    """The same run draws the same rows; labelled cases are not drawn again."""
    subject = LabellingSubject.of(run, "tone")
    assert draw_rows(subject, 10) == draw_rows(subject, 10)

    known = tuple(
        Label(suite="s", metric="tone", id=row.id, arm="base", completion="x", label=1.0)
        for row in draw_rows(subject, 10)
    )
    later = draw_rows(LabellingSubject.of(replace(run, labels=known), "tone"), 30)
    assert len({row.id for row in later}) == 30
    assert {row.id for row in later} & {label.id for label in known} == set()


def test_labels_find_their_arms(run: Run, tmp_path: Path) -> None:
    """By the text of the answer; an answer that both gave is labelled for both."""
    subject = LabellingSubject.of(run, "tone")
    rows = [json.loads(row.model_dump_json(exclude_none=True)) for row in draw_rows(subject, 40)]
    for row in rows:
        row["label"] = "yes" if row["completion"].startswith("t") else "no"
    rows[0]["label"] = None
    path = tmp_path / "filled.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = read_back(subject, path)

    left_out = 2 if rows[0]["completion"].startswith("same") else 1
    assert len(found) == 80 - left_out
    for label in found:
        expected = float(label.arm == "tuned" and int(label.id[1:]) % 4 > 0)
        assert label.label == expected
    assert {label.arm for label in found} == {"base", "tuned"}


def test_a_second_sheet_adds_and_corrects(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "filled.jsonl"

    def read(run: Run, *rows: tuple[str, str, int]) -> Run:
        lines = [json.dumps({"id": i, "completion": c, "label": v}) + "\n" for i, c, v in rows]
        path.write_text("".join(lines), encoding="utf-8")
        return replace(run, labels=read_back(LabellingSubject.of(run, "tone"), path))

    once = read(run, ("c1", "b says 1", 1), ("c1", "t says 1", 1))
    twice = read(once, ("c1", "b says 1", 0), ("c2", "b says 2", 1))

    found = {(x.id, x.arm): x.label for x in twice.labels}
    assert found == {("c1", "base"): 0.0, ("c1", "tuned"): 1.0, ("c2", "base"): 1.0}


def test_other_answers_are_refused(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "filled.jsonl"
    path.write_text('{"id": "c1", "completion": "?", "label": 1}\n', encoding="utf-8")

    with pytest.raises(SuiteError, match="'c1' is not in this run"):
        read_back(LabellingSubject.of(run, "tone"), path)


def test_the_metric_is_found_by_name(run: Run) -> None:
    """By its name, with its suite, or as the only judge metric; otherwise all are listed."""
    assert LabellingSubject.of(run, "").metric.name == "tone"
    assert LabellingSubject.of(run, "s::tone").suite == "s"
    with pytest.raises(
        UsageError, match="'nope' is not a metric of the run; name one with --metric"
    ):
        LabellingSubject.of(run, "nope")


def test_several_samples_a_case_are_not_labelled() -> None:
    with pytest.raises(UsageError, match="no unlabelled cases left"):
        draw_rows(LabellingSubject.of(make_run(4, samples=3), "tone"), 4)
