"""A gate on corpus BLEU from suite.toml to verdict, and the verdict again from the run's files."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from sacrebleu.metrics import BLEU

from tunegate.harness.decision.verdict.decide import decide_run
from tunegate.harness.records.files import record_json
from tunegate.harness.records.run_folder import Run
from tunegate.harness.stats.corpus_jackknife import jackknife_interval

TOML = """
name = "translations"
cases = "cases.jsonl"
[[metrics]]
use = "bleu"
{more}
[[gates]]
metric = "bleu"
{gates}
"""
WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "bird",
    "sat",
    "ran",
    "flew",
    "on",
    "under",
    "over",
    "mat",
    "tree",
    "house",
    "red",
    "old",
]
N = 60


def sentence(index: int) -> str:
    """Return eight to eleven words, another text for every case."""
    return " ".join(
        WORDS[(index * 7 + k * (1 + index % 5)) % len(WORDS)] for k in range(8 + index % 4)
    )


def worse(text: str, index: int, every: int) -> str:
    """Return the text with every so many-th word replaced, at a place that the case decides."""
    words = text.split()
    return " ".join("x" if (k + index) % every == 0 else word for k, word in enumerate(words))


BASE = [worse(sentence(i), i, 3) for i in range(N)]
TUNED = [worse(sentence(i), i, 6) for i in range(N)]


@pytest.fixture(name="suite")
def _suite(project: Any) -> Any:
    """Return a function that writes a suite of translations, each with two references."""

    def write(gates: str, *, more: str = "", n: int = N) -> None:
        cases = [
            {"id": f"c{i:03}", "prompt": f"q{i}", "expected": [sentence(i), f"not {sentence(i)}"]}
            for i in range(n)
        ]
        project.raw_suite(TOML.format(gates=gates, more=more), cases, "translations")

    return write


@pytest.fixture(name="arms")
def _arms(project: Any) -> Any:
    """Return a function from two lists of texts to the options that replay them."""

    def replay(base: list[str], tuned: list[str]) -> list[str]:
        options = []
        for arm, texts in (("base", base), ("tuned", tuned)):
            path = project.path / f"{arm}.jsonl"
            rows = [{"id": f"c{i:03}", "completion": text} for i, text in enumerate(texts)]
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            options.append(f"--gate-{arm}=replay:{path}")
        return options

    return replay


def corpus(texts: list[str]) -> float:
    """Return sacrebleu's own corpus score."""
    references = [[sentence(i) for i in range(N)], [f"not {sentence(i)}" for i in range(N)]]
    return float(BLEU().corpus_score(texts, references).score)


def test_a_gain_in_corpus_bleu_ships(project: Any, suite: Any, arms: Any) -> None:
    """Levels are sacrebleu's corpus scores of all texts, not means of the cases' own."""
    suite('gain = 2.0\ntolerance = "5%"\nfloor = 40')

    result = project.gate(*arms(BASE, TUNED))

    gates = {gate["kind"]: gate for gate in project.verdict()["suites"][0]["gates"]}
    gain = gates["gain"]
    assert result.ret == 0
    assert [gate["status"] for gate in gates.values()] == ["pass"] * 3
    assert gain["base"] == pytest.approx(corpus(BASE), rel=1e-5)
    assert gain["tuned"] == pytest.approx(corpus(TUNED), rel=1e-5)
    assert gain["delta"] == pytest.approx(corpus(TUNED) - corpus(BASE), rel=1e-4)
    assert gain["method"] == "jackknife t and Hall envelope"


def test_the_interval_is_made_of_the_stored_counts(project: Any, suite: Any, arms: Any) -> None:
    suite("tolerance = 6.0")
    project.gate(*arms(BASE, TUNED))

    run = Run.load(project.run)
    columns = {
        arm: [list(row.counts or ()) for row in run.scores if row.arm == arm]
        for arm in ("base", "tuned")
    }

    def formula(sums: Any) -> float:
        return float(BLEU()._compute_score_from_stats(list(sums)).score)

    # A total failure of six cases' weight takes six times the arm's BLEU, and never less than 100.
    before, after = corpus(BASE), corpus(TUNED)
    reach = max(100.0, 6 * after - (after - before)), max(100.0, 6 * before + (after - before))
    theirs = jackknife_interval(
        columns["base"], columns["tuned"], formula, bound=100.0, reach=reach
    )
    (gate,) = project.verdict()["suites"][0]["gates"]
    assert (gate["low"], gate["high"]) == pytest.approx((theirs.low, theirs.high), rel=1e-5)


def test_a_loss_of_corpus_bleu_blocks(project: Any, suite: Any, arms: Any) -> None:
    """A proven regression; the report lists the cases by their sentence scores."""
    suite("tolerance = 6.0")

    result = project.gate(*arms(TUNED, BASE))

    assert result.ret == 1
    assert project.verdict()["suites"][0]["gates"][0]["reason"] == "regressed"
    row = next(r for r in Run.load(project.run).scores if r.arm == "tuned")
    references = [sentence(0), f"not {sentence(0)}"]
    theirs = BLEU(effective_order=True).sentence_score(BASE[0], references).score
    assert row.value == pytest.approx(theirs)


def test_the_verdict_comes_again_from_the_files_without_the_library(
    project: Any, suite: Any, arms: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bytes, on a machine that has the run folder and no sacrebleu; reports too."""
    suite("gain = 2.0")
    project.gate(*arms(BASE, TUNED))
    run = Run.load(project.run)
    page = (project.run / "report.html").read_text(encoding="utf-8")
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics.bleu", None)

    again = decide_run(run.manifest, run.cases_of, run.scores)
    from tunegate.reports.page import write_all

    write_all(run, project.path / "again")
    assert record_json(again) == (project.run / "verdict.json").read_text(encoding="utf-8")
    assert "nrefs:2|case:mixed|eff:no|tok:13a|smooth:exp|version:" in page
    assert "nrefs:2|case:mixed" in (project.path / "again" / "report.html").read_text()


def test_few_cases_are_shown_and_decide_nothing(project: Any, suite: Any, arms: Any) -> None:
    """30 translations: the gate passes, is advisory, and the run stays undecided."""
    suite("gain = 2.0", n=30)

    result = project.gate(*arms(BASE[:30], TUNED[:30]))

    (gate,) = project.verdict()["suites"][0]["gates"]
    assert (result.ret, gate["status"], gate["advisory"]) == (10, "pass", True)
    result.stdout.fnmatch_lines(["UNDECIDED: translations: bleu: one value over all cases gates*"])


def test_the_mean_of_sentence_scores_decides_with_few(project: Any, suite: Any, arms: Any) -> None:
    """`aggregate = "mean"` gates on the cases' own scores, whatever their number."""
    suite("gain = 2.0", more='aggregate = "mean"', n=30)

    result = project.gate(*arms(BASE[:30], TUNED[:30]))

    (gate,) = project.verdict()["suites"][0]["gates"]
    scores = [r.value for r in Run.load(project.run).scores if r.arm == "tuned"]
    assert (result.ret, gate["advisory"]) == (0, False)
    assert gate["tuned"] == pytest.approx(sum(v or 0 for v in scores) / 30, rel=1e-5)


def test_the_plan_says_it_first(project: Any, suite: Any) -> None:
    suite("gain = 2.0", n=30)

    result = project.tunegate("plan", "suites/translations")

    text = " ".join(result.stdout.str().split())
    assert "bleu: one value over all cases gates from 50 of them on; with 30 cases" in text
