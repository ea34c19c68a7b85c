"""From cells to score rows: samples are averaged, what a corpus metric sums is summed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.decided_suites import SuiteOfColumns
from tunegate.harness.decision.score_table import tables_of
from tunegate.harness.decision.scoring import score_suite
from tunegate.harness.records.answers import Cell, CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import PLAIN, Case
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.scores import Score, ScoreRow
from tunegate.harness.suite import Suite, load_suite


def sentences(case: Case, completion: Completion) -> Score:
    """Score a text of words with sub-scores and counts; an empty one is unscored."""
    if not completion.text:
        return Score.unscored("empty")
    words = completion.text.split()
    hit = float(words[0] == "yes")
    return Score.of(hit, parts={"first": hit, "words": float(len(words))}, counts=(hit, 1))


def suite(folder: Path) -> Suite:
    """Return a suite of one case scored by `sentences`, two samples a case."""
    (folder / "cases.jsonl").write_text('{"id": "c", "prompt": "p"}\n')
    (folder / "suite.toml").write_text(
        'name = "s"\ncases = "cases.jsonl"\n[generation]\nsamples = 2\ntemperature = 1.0\n'
        '[[metrics]]\nuse = "length"\n'
    )
    loaded = load_suite(folder)
    object.__setattr__(loaded.metrics[0], "score", sentences)
    object.__setattr__(loaded.metrics[0], "options", {})
    return loaded


def cell(sample: int, text: str, *, of: str = "s") -> StoredAnswer:
    """Return what base answered in one sample."""
    place = Cell(
        suite=of, case="c", arm="base", kind=CellKind.GENERATE, sample=sample, key=str(sample)
    )
    return StoredAnswer(cell=place, status="ok", completion=Completion(text=text))


def test_samples_average_their_parts_and_sum_their_counts(tmp_path: Path) -> None:
    (row,) = score_suite(suite(tmp_path), [cell(0, "yes it is"), cell(1, "no")], ["base"])

    assert row.value == 0.5
    assert row.parts == {"first": 0.5, "words": 2.0}
    assert row.counts == (1.0, 2.0)


def test_an_unscored_sample_leaves_no_parts(tmp_path: Path) -> None:
    (row,) = score_suite(suite(tmp_path), [cell(0, "yes"), cell(1, "")], ["base"])

    assert (row.value, row.parts, row.counts, row.reason) == (None, None, None, "empty")


def test_programs_run_only_for_answers_of_the_suite(tmp_path: Path) -> None:
    asked = suite(tmp_path)
    started: list[str] = []
    object.__setattr__(asked.metrics[0], "job", lambda case, answer: started.append(answer.text))

    list(score_suite(asked, [cell(0, "yes", of="other"), cell(0, "yes it is")], ["base"]))

    assert started == ["yes it is"]


def test_the_variants_of_a_case_that_is_left_out_are_left_out(record_factory: Any) -> None:
    plain = [Case(id=name, prompt=name, tags=(PLAIN,), cluster=name) for name in "ab"]
    worded = [
        Case(id=f"{name}#x", prompt=name, tags=("variant:x",), cluster=name, variant_of=name)
        for name in "ab"
    ]
    rows = [
        ScoreRow(suite="s", metric="m", case=case.id, arm=arm, value=1.0)
        for case in (*plain, *worded)
        for arm in ("base", "tuned")
    ]
    gate = Gate(metric="m", kind="gain", margin=0.0)
    suite = SuiteOfColumns([gate], {"m": ([1.0] * 4, [1.0] * 4)})
    manifest = record_factory.manifest([suite])
    cases = {"s": [*plain, *worded]}
    (table,) = tables_of(manifest, cases, rows, {}, without={"s": frozenset("b")})
    metric = table.suite.metrics[0]

    assert table.pairs(metric).cases == ("a",)
    assert table.on_tag(PLAIN).pairs(metric).cases == ("a",)
    assert table.on_tag("variant:x").pairs(metric).cases == ("a#x",)
