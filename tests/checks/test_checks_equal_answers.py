"""Equal answers with unequal scores reveal different rules that no file mentions."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.results.recorded_results import gate, write_rows, write_suite
from tunegate.harness.checks.equal_answers import ArmAnswers, find_unequal_scores
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.verdict import Verdict, VerdictRecord

Rows = list[dict[str, Any]]


def answers(right: int, count: int = 200) -> Rows:
    """Return the same answers each time; the first `right` of them score 1."""
    return [
        {"id": f"r{i:03}", "prompt": f"{i}?", "completion": f"it is {i}", "score": int(i < right)}
        for i in range(count)
    ]


def judge(folder: Path, base: Rows, tuned: Rows, options: str = "binary = true") -> VerdictRecord:
    """Gate two tables that have neither right answers nor a rule."""
    paths = [write_rows(folder / f"{n}.jsonl", rows) for n, rows in enumerate((base, tuned))]
    return gate(write_suite(folder, paths[0], options=options), *paths)


@pytest.mark.parametrize(("more", "refused"), [(2, False), (3, True)])
def test_more_than_one_case_in_a_hundred_is_refused(
    tmp_path: Path, more: int, refused: bool
) -> None:
    verdict = judge(tmp_path, answers(100), answers(100 + more))

    assert (verdict.verdict is Verdict.NOT_COMPARABLE) is refused
    if refused:
        assert "in 3 of 200 cases" in verdict.sentence
        for case in ("r100", "r101", "r102"):
            assert f"'{case}', answer 'it is {case[1:]}', has 0 in base and 1 in tuned" in (
                verdict.sentence
            )


@pytest.mark.parametrize(
    ("better", "worse", "refused"),
    [(4, 0, False), (5, 0, True), (0, 5, True), (5, 1, False), (5, 5, False), (9, 1, True)],
)
def test_few_unequal_scores_may_not_all_favor_one_arm(
    better: int, worse: int, refused: bool
) -> None:
    """One case in a hundred at most, counted by hand: 6 of 64 ways are as one-sided as 5 to 1."""
    scores = [(0, 1)] * better + [(1, 0)] * worse + [(0, 0)] * (1000 - better - worse)
    cases = enumerate_cases(
        [{"base": completions(base), "tuned": completions(tuned)} for base, tuned in scores]
    )

    assert find_unequal_scores(cases, "tuned", "score").too_many is refused


def test_equal_answers_alone_never_prove_a_gain(tmp_path: Path) -> None:
    """Ten of a thousand are one in a hundred, and by the sign test a gain."""
    paths = [
        write_rows(tmp_path / f"{right}.jsonl", answers(right, 1000)) for right in (500, 505, 510)
    ]
    suite = write_suite(tmp_path, paths[0], gates="gain = 0.0")

    for tuned in paths[1:]:
        assert gate(suite, paths[0], tuned).verdict is Verdict.NOT_COMPARABLE


def test_one_noisy_case_does_not_excuse_the_others() -> None:
    """Two samples a case; only in the first does an arm score one text twice."""
    noisy: ArmAnswers = {"base": completions(0, 1), "tuned": completions(1, 1)}
    changed: ArmAnswers = {"base": completions(0, 0), "tuned": completions(1, 1)}
    same: ArmAnswers = {"base": completions(0, 0), "tuned": completions(0, 0)}
    by_rule = [noisy, *[changed] * 20, *[same] * 179]
    by_judge = [*[noisy] * 3, *[changed] * 20, *[same] * 177]

    for cases, refused in ((by_rule, True), (by_judge, False)):
        found = find_unequal_scores(enumerate_cases(cases), "tuned", "score")
        assert found.too_many is refused


def enumerate_cases(cases: list[ArmAnswers]) -> list[tuple[str, ArmAnswers]]:
    return [(str(number), answered) for number, answered in enumerate(cases)]


def test_a_gain_by_another_rule_is_refused_and_by_other_answers_is_not(tmp_path: Path) -> None:
    """The same scores twice: with base's answers, and with answers of its own."""
    same, other = answers(150), [row | {"completion": "so"} for row in answers(150)]
    for name in ("same", "other"):
        (tmp_path / name).mkdir()

    assert judge(tmp_path / "same", answers(100), same).verdict is Verdict.NOT_COMPARABLE
    assert judge(tmp_path / "other", answers(100), other).verdict is Verdict.SHIP


def test_three_cases_of_many_are_shown(tmp_path: Path) -> None:
    verdict = judge(tmp_path, answers(100), answers(150))

    assert "in 50 of 200 cases" in verdict.sentence
    assert verdict.sentence.count("in base and") == 3


def test_a_judge_may_score_equal_answers_differently(tmp_path: Path) -> None:
    """Its noise has no direction: the verdict is the statistics' matter."""
    drawn = random.Random(1)
    noisy = [[row | {"score": drawn.random()} for row in answers(0)] for _ in range(2)]
    (tmp_path / "said").mkdir()
    said = "range = [0, 1]\ndeterministic = false"

    assert judge(tmp_path, *noisy, options="range = [0, 1]").verdict is Verdict.NOT_COMPARABLE
    assert judge(tmp_path / "said", *noisy, options=said).verdict is not Verdict.NOT_COMPARABLE


def test_a_score_without_a_gate_refuses_nothing(tmp_path: Path) -> None:
    """A table with the seconds of each answer, which `suite new` makes a metric."""
    paths = [
        write_rows(
            tmp_path / f"{arm}.jsonl",
            [row | {"scores.seconds": at * arm} for at, row in enumerate(answers(150))],
        )
        for arm in (1, 2)
    ]
    seconds = '[[metrics]]\nuse = "recorded"\nname = "seconds"\nscore = "seconds"'
    suite = write_suite(tmp_path, paths[0], options=f"binary = true\n{seconds}")

    assert gate(suite, *paths).verdict is Verdict.SHIP


def completions(*scores: float | None, text: str = "yes", **fields: Any) -> list[Completion]:
    """Return answers with one text."""
    return [Completion(text=text, scores={"score": value}, **fields) for value in scores]


@pytest.mark.parametrize(
    ("base", "tuned", "found"),
    [
        (completions(0), completions(1), 1),
        (completions(0.1), completions(0.1 + 1e-12), 0),
        (completions(0.8), completions(0.800001), 0),  # batches of single precision
        (completions(0.8), completions(0.801), 1),
        (completions(0), completions(None), 0),
        (completions(0), completions(1, text="no"), 0),
        (completions(0, text=" "), completions(1, text=" "), 0),
        (completions(0, reasoning="a"), completions(1, reasoning="b"), 0),
        (completions(0, beyond_text=True), completions(1, beyond_text=True), 0),
        (completions(0, 0), completions(1, 1), 1),
        (completions(0, 1), completions(1, 1), 0),
    ],
)
def test_what_counts_as_an_equal_answer(
    base: list[Completion], tuned: list[Completion], found: int
) -> None:
    """In the last case one arm has two scores for one answer: its scorer is not deterministic."""
    unequal = find_unequal_scores([("r1", {"base": base, "tuned": tuned})], "tuned", "score")

    assert len(unequal.found) == found


def test_replayed_scores_are_compared_too(tmp_path: Path) -> None:
    arms = {
        arm: [
            {"id": row["id"], "completion": row["completion"], "scores": {"score": row["score"]}}
            for row in answers(right)
        ]
        for arm, right in (("base", 100), ("tuned", 150))
    }
    paths = {arm: write_rows(tmp_path / f"{arm}.jsonl", rows) for arm, rows in arms.items()}
    suite = write_suite(tmp_path, write_rows(tmp_path / "cases.jsonl", answers(100)))

    verdict = gate(suite, "", "", specs={arm: f"replay:{path}" for arm, path in paths.items()})

    assert verdict.verdict is Verdict.NOT_COMPARABLE
    assert "in 50 of 200 cases" in verdict.sentence
