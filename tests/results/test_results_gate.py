"""Gates on two runs of other tools: what is paired, unscored, refused and decided."""

from __future__ import annotations

import io
import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.results.recorded_results import LM_EVAL, gate, write_rows, write_suite
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import Verdict, VerdictRecord
from tunegate.reports.data import prepare_data
from tunegate.reports.page import write_all
from tunegate.reports.sections.behaviour import arm_behaviours

Rows = list[dict[str, Any]]


def rows(seed: int, right: float, count: int = 200) -> Rows:
    """Return answers, with a share of right ones."""
    drawn = random.Random(seed)
    return [
        {"id": f"r{i}", "prompt": f"question {i}", "completion": f"{seed}", "score": score}
        for i in range(count)
        for score in [int(drawn.random() < right)]
    ]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Write a base that is right six times of ten."""
    return write_rows(tmp_path / "base.jsonl", rows(1, 0.6))


@pytest.fixture
def suite(tmp_path: Path, base: Path) -> Path:
    """Write a suite over the base."""
    return write_suite(tmp_path, base)


def tuned_of(suite: Path, found: Rows) -> Path:
    """Write the results of tuned."""
    return write_rows(suite.parents[1] / "tuned.jsonl", found)


def sole(verdict: VerdictRecord) -> Any:
    """Return the one gate's result."""
    return verdict.suites[0].gates[0]


def test_the_difference_is_the_mean_of_paired_differences(suite: Path, base: Path) -> None:
    better = rows(2, 0.9)
    ours = [row["score"] for row in rows(1, 0.6)]
    expected = sum(t["score"] - b for t, b in zip(better, ours, strict=True)) / 200

    verdict = gate(suite, base, tuned_of(suite, better))

    assert verdict.verdict is Verdict.SHIP
    assert sole(verdict).delta == pytest.approx(expected, abs=1e-6)
    assert sole(verdict).n == 200


def test_the_verdict_is_the_same_bytes_however_lines_are_ordered(suite: Path, base: Path) -> None:
    found = rows(2, 0.7)
    gate(suite, base, tuned_of(suite, found))
    folder = suite.parents[1]
    first = (folder / "run" / "verdict.json").read_bytes()
    shutil.rmtree(folder / "run")
    both = [rows(1, 0.6), found]
    for each in both:
        random.Random(3).shuffle(each)

    gate(suite, write_rows(base, both[0]), tuned_of(suite, both[1]))

    assert (folder / "run" / "verdict.json").read_bytes() == first


@pytest.mark.parametrize("empty", [None, "", "nan", "Infinity", float("nan"), float("inf"), "good"])
def test_what_is_no_number_is_unscored(suite: Path, base: Path, empty: Any) -> None:
    """Ten of 200 are within the 5 % budget, and are no zeros: tuned's level rests on the others."""
    found = rows(2, 0.9)
    for row in found[:10]:
        row["score"] = empty

    verdict = gate(suite, base, tuned_of(suite, found))

    result = sole(verdict)
    assert result.n == 190
    assert result.tuned == pytest.approx(sum(r["score"] for r in found[10:]) / 190, abs=1e-6)
    assert verdict.suites[0].n_unscored["tuned"] == 10


def test_an_error_is_unscored_even_where_a_score_is_written(suite: Path, base: Path) -> None:
    """More than 5 % of failed calls is ERROR, whatever their scores."""
    found = rows(2, 0.9)
    for row in found[:11]:
        row |= {"error": "429 Too Many Requests", "score": 1}

    verdict = gate(suite, base, tuned_of(suite, found))

    assert verdict.verdict is Verdict.ERROR
    assert "11 of 200" in verdict.sentence
    assert "429" in verdict.sentence


def test_missing_cases_are_unscored_and_not_dropped(suite: Path, base: Path) -> None:
    verdict = gate(suite, base, tuned_of(suite, rows(2, 0.95)[:100]))

    assert verdict.verdict is Verdict.ERROR
    assert "100 of 200" in verdict.sentence


def test_the_same_results_twice_are_not_comparable(suite: Path, base: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.json"
    copy.write_text(json.dumps(rows(1, 0.6)[::-1], indent=1), encoding="utf-8")

    for same in (base, copy):
        assert gate(suite, base, same).verdict is Verdict.NOT_COMPARABLE


def test_few_other_prompts_are_unscored_and_more_are_not_comparable(
    suite: Path, base: Path
) -> None:
    """Two of 200 are one in a hundred; with three the message shows both texts."""
    found = rows(2, 0.9)
    for row in found[:2]:
        row["prompt"] += " in French"
    few = gate(suite, base, tuned_of(suite, found))
    shutil.rmtree(suite.parents[1] / "run")
    found[2]["prompt"] = "something else"

    many = gate(suite, base, tuned_of(suite, found))

    assert sole(few).n == 198
    assert few.verdict is Verdict.SHIP
    assert many.verdict is Verdict.NOT_COMPARABLE
    assert "3 of 200" in many.sentence
    assert "'question 0'" in many.sentence
    assert "'question 0 in French'" in many.sentence


def test_runs_without_prompts_are_compared_on_trust(tmp_path: Path) -> None:
    bare = [
        [{"id": r["id"], "score": r["score"]} for r in rows(s, p)] for s, p in [(1, 0.6), (2, 0.9)]
    ]
    base = write_rows(tmp_path / "base.jsonl", bare[0])
    suite = write_suite(tmp_path, base)

    verdict = gate(suite, base, tuned_of(suite, bare[1]))
    written = write_all(Run.load(tmp_path / "run"), tmp_path / "run", tmp_path)
    page = written["report.html"].read_text(encoding="utf-8")

    assert verdict.verdict is Verdict.SHIP
    assert verdict.comparability["status"] == "declared"
    for told in ("the files hold no prompts: prompts taken on trust", "scores taken on trust"):
        assert any(told in note for note in verdict.suites[0].notes)
        assert told in page[: page.index('<dl class="facts">')]
        assert told in written["summary.md"].read_text(encoding="utf-8")


def test_repetitions_are_samples_of_a_case_and_not_further_cases(tmp_path: Path) -> None:
    """Four samples of 50 questions are 50 pairs of means."""
    found = [
        [
            {"id": f"r{i}", "sample": s, "score": int(drawn.random() < p)}
            for i in range(50)
            for s in range(4)
        ]
        for seed, p in [(1, 0.4), (2, 0.9)]
        for drawn in [random.Random(seed)]
    ]
    base = write_rows(tmp_path / "base.jsonl", found[0])
    suite = write_suite(
        tmp_path, base, options="range = [0, 1]", generation="[generation]\nsamples = 4"
    )

    verdict = gate(suite, base, tuned_of(suite, found[1]))

    means = [sum(row["score"] for row in arm) / 200 for arm in found]
    assert sole(verdict).n == 50
    assert sole(verdict).delta == pytest.approx(means[1] - means[0], abs=1e-6)


@pytest.mark.parametrize(
    ("options", "generation", "changes", "told"),
    [
        ("", "[generation]\nsamples = 2", {}, "samples = 1"),
        ("binary = true", "", {"score": 0.5}, "binary"),
        ("range = [0, 1]", "", {"score": 7}, "range"),
        ("", "", {"score": "unknown"}, "no answer has a number"),
    ],
)
def test_scores_that_contradict_the_suite_are_refused_before_anything(
    suite: Path, base: Path, options: str, generation: str, changes: dict[str, Any], told: str
) -> None:
    write_suite(suite.parents[1], base, options=options, generation=generation)
    tuned = tuned_of(suite, [row | changes for row in rows(2, 0.9)])

    with pytest.raises(UsageError, match=told):
        gate(suite, base, tuned)

    assert not (suite.parents[1] / "run" / "verdict.json").exists()


def test_a_score_that_one_run_lacks_is_refused(suite: Path, base: Path) -> None:
    other = [{"id": r["id"], "scores": {"tone": r["score"]}} for r in rows(2, 0.9)]

    with pytest.raises(UsageError, match=r"unknown score 'score'.*tone"):
        gate(suite, base, tuned_of(suite, other))


def test_a_run_of_other_questions_is_refused(suite: Path, base: Path) -> None:
    other = [row | {"id": f"x{row['id']}"} for row in rows(2, 0.9)]

    with pytest.raises(UsageError, match=r"none of the 200 cases.*'xr0'.*'r0'"):
        gate(suite, base, tuned_of(suite, other))


def test_the_report_shows_what_both_runs_answered(suite: Path, base: Path) -> None:
    ours = [row | {"completion": f"ours of {row['id']}"} for row in rows(1, 0.6)]
    theirs = [row | {"completion": f"theirs of {row['id']}"} for row in rows(2, 0.9)]
    theirs[5] |= {"error": "the sandbox timed out"}
    gate(suite, write_rows(base, ours), tuned_of(suite, theirs))

    run = Run.load(suite.parents[1] / "run")
    data = prepare_data(run)
    written = write_all(run, run.folder, suite.parents[1])

    view = next(view for view in data.cases if view.name == "r7")
    assert (view.text("base"), view.text("tuned")) == ("ours of r7", "theirs of r7")
    behaviours = {b.arm: b for b in arm_behaviours(data)}
    assert (behaviours["base"].asked, behaviours["base"].failed) == (200, 0)
    assert behaviours["tuned"].failed == 1
    page = written["report.html"].read_text(encoding="utf-8")
    assert "theirs" in page
    assert "the sandbox timed out" in page


def lm_eval_suite(folder: Path, score: str, options: str = "binary = true") -> Path:
    """Write a suite over the recorded run of lm-eval."""
    return write_suite(
        folder, LM_EVAL / "base", score=score, options=options, cases='task = "sums"'
    )


def test_lm_eval_runs_are_paired_by_document(tmp_path: Path) -> None:
    """24 lines are 12 documents in two filters; the question that stands twice counts once.

    So base has 5 of 11 where lm-eval reports 5 of 12, and tuned 6 of 11 where it reports 7 of 12.
    """
    suite = lm_eval_suite(tmp_path, "exact_match,strict")

    result = sole(gate(suite, LM_EVAL / "base", LM_EVAL / "tuned"))

    reported = [
        json.loads(next((LM_EVAL / arm).rglob("results_*.json")).read_text(encoding="utf-8"))
        for arm in ("base", "tuned")
    ]
    levels = [found["results"]["sums"]["exact_match,strict"] for found in reported]
    assert levels == pytest.approx([5 / 12, 7 / 12])
    assert result.n == 11
    assert [result.base, result.tuned] == pytest.approx([5 / 11, 6 / 11], abs=1e-6)


def test_a_score_without_its_filter_is_refused_with_the_two_names(tmp_path: Path) -> None:
    """`exact_match` names two scores of lm-eval."""
    suite = lm_eval_suite(tmp_path, "exact_match")

    with pytest.raises(UsageError, match="'exact_match,flexible', 'exact_match,strict'"):
        gate(suite, LM_EVAL / "base", LM_EVAL / "tuned")


def test_another_number_of_examples_is_not_comparable(tmp_path: Path) -> None:
    """lm-eval's headers say 0 and 1."""
    suite = lm_eval_suite(tmp_path, "exact_match,strict")

    verdict = gate(suite, LM_EVAL / "base", LM_EVAL / "one_shot")

    assert verdict.verdict is Verdict.NOT_COMPARABLE
    assert "few-shot" in verdict.sentence


def test_another_direction_than_the_tools_is_refused(tmp_path: Path) -> None:
    suite = lm_eval_suite(tmp_path, "exact_match,strict", "higher_is_better = false")

    with pytest.raises(UsageError, match="higher_is_better = true"):
        gate(suite, LM_EVAL / "base", LM_EVAL / "tuned")


def test_cases_that_one_run_lacks_can_be_left_out_and_cap_the_verdict(
    suite: Path, base: Path
) -> None:
    """Half of tuned with `--cases shared`: decided on 100 cases, and never SHIP."""
    half = rows(2, 0.95)[:100]

    verdict = gate(suite, base, tuned_of(suite, half), cases="shared")

    assert sole(verdict).n == 100
    assert verdict.verdict is Verdict.UNDECIDED
    assert "100 of 200 cases" in verdict.model_dump_json()


def test_shared_cases_of_whole_runs_change_nothing(suite: Path, base: Path) -> None:
    verdict = gate(suite, base, tuned_of(suite, rows(2, 0.9)), cases="shared")

    assert verdict.verdict is Verdict.SHIP


def test_a_case_with_more_samples_than_others_is_unscored(tmp_path: Path) -> None:
    found = [
        [{"id": f"r{i}", "sample": s, "score": 1} for i in range(100) for s in range(3)],
        [{"id": f"r{i}", "sample": s, "score": 1} for i in range(100) for s in range(3)]
        + [{"id": "r0", "sample": s, "score": 0} for s in (3, 4)],
    ]
    base = write_rows(tmp_path / "base.jsonl", found[0])
    suite = write_suite(tmp_path, base, generation="[generation]\nsamples = 3")

    verdict = gate(suite, base, tuned_of(suite, found[1]))

    assert sole(verdict).n == 99
    assert verdict.suites[0].n_unscored["tuned"] == 1


def test_results_that_no_suite_asks_for_are_counted(suite: Path, base: Path) -> None:
    more = rows(2, 0.9) + [{"id": f"x{i}", "prompt": "?", "score": 0} for i in range(50)]

    gate(suite, base, tuned_of(suite, more))

    path = suite.parents[1] / "run" / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    assert "50 of 250 cases in the results of tuned" in manifest["comparability"]["note"]


def test_half_of_base_decides_nothing_either(suite: Path, base: Path) -> None:
    write_rows(base, rows(1, 0.6))
    half = write_rows(base.with_name("half.jsonl"), rows(1, 0.2)[:100])

    verdict = gate(suite, half, tuned_of(suite, rows(2, 0.95)))

    assert verdict.verdict is Verdict.ERROR


def test_a_broken_line_of_an_arm_is_told_and_its_case_unscored(suite: Path, base: Path) -> None:
    tuned = tuned_of(suite, rows(2, 0.9))
    lines = tuned.read_text(encoding="utf-8").splitlines(keepends=True)
    tuned.write_text("".join([*lines[:9], "broken\n", *lines[10:]]), encoding="utf-8")
    told = io.StringIO()

    verdict = gate(suite, base, tuned, stream=told)

    assert verdict.suites[0].n_unscored["tuned"] == 1
    assert f"{tuned}:10" in told.getvalue()


def test_results_and_replayed_answers_can_be_compared(suite: Path, base: Path) -> None:
    tuned = tuned_of(suite, rows(2, 0.9))
    first = gate(suite, base, tuned)
    folder = suite.parents[1] / "run"
    earlier = folder.rename(folder.with_name("earlier"))

    again = gate(
        suite, base, tuned, specs={"base": f"results:{base}", "tuned": f"replay:{earlier}"}
    )

    assert sole(again).delta == sole(first).delta
    assert again.comparability["status"] == "proven"


def replay_pair(suite: Path, base: Path, found: Rows) -> VerdictRecord:
    """Gate base's results against a replay of the run that judged `found`."""
    folder = suite.parents[1] / "run"
    gate(suite, base, tuned_of(suite, found))
    earlier = folder.rename(folder.with_name("earlier"))
    return gate(suite, base, "", specs={"base": f"results:{base}", "tuned": f"replay:{earlier}"})


def test_a_run_of_results_refuses_another_suite(suite: Path, base: Path) -> None:
    """As a run of live arms does."""
    replay_pair(suite, base, rows(2, 0.9))
    earlier = suite.parents[1] / "earlier"
    write_rows(base, [row | {"prompt": f"{row['prompt']}?"} for row in rows(1, 0.6)])

    verdict = gate(
        suite,
        base,
        "",
        specs={"base": f"replay:{earlier}#base", "tuned": f"replay:{earlier}"},
    )

    assert verdict.verdict is Verdict.NOT_COMPARABLE
    assert "the suite and base ask different things in 200 of 200 cases" in verdict.sentence


@pytest.mark.parametrize(
    ("column", "told"),
    [
        ("expected", "differ in the right answer (hashes "),
        ("judge", "differ in the judge (hashes "),
    ],
)
def test_a_run_of_results_keeps_right_answers_and_rules(
    suite: Path, base: Path, column: str, told: str
) -> None:
    """The same values are comparable; others, which the run did not meet in base, are not."""
    known = [row | {column: "a"} for row in rows(2, 0.9)]
    write_rows(base, [row | {column: "a"} for row in rows(1, 0.6)])
    same = replay_pair(suite, base, known)
    write_rows(base, [row | {column: "b"} for row in rows(1, 0.6)])
    earlier = suite.parents[1] / "earlier"

    other = gate(suite, base, "", specs={"base": f"results:{base}", "tuned": f"replay:{earlier}"})

    assert same.verdict is Verdict.SHIP
    assert same.comparability["status"] == "proven"
    assert other.verdict is Verdict.NOT_COMPARABLE
    assert told in other.sentence


def test_a_failed_sample_says_nothing_about_the_prompt(tmp_path: Path) -> None:
    found = [
        {"id": f"r{i}", "sample": s, "prompt": f"question {i}", "score": 1}
        for i in range(100)
        for s in range(2)
    ]
    base = write_rows(tmp_path / "base.jsonl", found)
    suite = write_suite(tmp_path, base, generation="[generation]\nsamples = 2")
    found[0] = found[0] | {"error": "timeout", "prompt": "quest"}
    found[9] = found[9] | {"score": 0}

    verdict = gate(suite, base, tuned_of(suite, found))

    assert sole(verdict).n == 99
    assert verdict.comparability["compared"] == 100
