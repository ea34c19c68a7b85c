"""What a suite may ask of a reranker or embedder."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tunegate.harness.checks.answerable import refuse_unusable_scores
from tunegate.harness.checks.comparability import check_answerable
from tunegate.harness.checks.liveness import check_liveness
from tunegate.harness.models.majority import MajorityArm
from tunegate.harness.models.scripted import ModelScript, ScriptedArm
from tunegate.harness.records.answers import Cell, CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import NotComparable, UsageError
from tunegate.harness.suite import Suite, load_suite


@dataclass
class Ranker:
    """Stands in for a reranker, whose library need not be installed."""

    fingerprint: str = "a"
    probe_scores: tuple[tuple[float, ...], ...] = ((0.5, 0.25),)
    kinds: frozenset[CellKind] = frozenset({CellKind.GENERATE, CellKind.LATENCY})

    @property
    def identity(self) -> dict[str, Any]:
        return {}

    def cannot(self, kind: CellKind) -> str:
        return f"no {kind.value}"

    prompt = complete = cannot


def load(folder: Path, *metrics: str) -> Suite:
    row = '{"prompt": "q", "expected": "x", "positive": ["a"], "negative": ["b", "c"]}\n'
    (folder / "cases.jsonl").write_text(row, encoding="utf-8")
    used = "".join(f'[[metrics]]\nuse = "{name}"\n' for name in metrics)
    (folder / "suite.toml").write_text(
        f'name = "s"\ncases = "cases.jsonl"\n{used}', encoding="utf-8"
    )
    return load_suite(folder)


def refusal(suite: Suite, arm: Any) -> str:
    with pytest.raises(UsageError) as caught:
        check_answerable([suite], {"tuned": arm})
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_metrics_of_rankings_and_times_are_accepted(tmp_path: Path) -> None:
    arm: Any = Ranker()
    check_answerable([load(tmp_path, "ndcg", "mrr", "latency")], {"base": arm, "tuned": arm})


@pytest.mark.parametrize("name", ["exact_match", "tokens", "loops", "classification"])
def test_metrics_of_other_answers_are_refused(tmp_path: Path, name: str) -> None:
    assert f"metric {name!r} does not score a ranking, and tuned ranks candidates" in refusal(
        load(tmp_path, name), Ranker()
    )


def test_judges_are_refused(tmp_path: Path) -> None:
    assert "'toxicity' asks a judge" in refusal(load(tmp_path, "toxicity"), Ranker())


@pytest.mark.parametrize(
    "arm",
    [ScriptedArm("scripted:x", ModelScript(default="a")), MajorityArm("majority:x", {"x": 1.0})],
    ids=["writes", "classifies"],
)
def test_other_arms_give_no_ranking(tmp_path: Path, arm: Any) -> None:
    assert refusal(load(tmp_path, "ndcg"), arm) == (
        "s: metric 'ndcg' scores a ranking, which tuned does not give; write reranker:PATH or "
        "embedder:PATH"
    )


def test_liveness_needs_other_scores_than_bases() -> None:
    base: Any = Ranker()
    moved: Any = Ranker("b", ((0.5, 0.5001),))

    proof = check_liveness({"base": base, "tuned": moved})["tuned"]
    assert proof == {"status": "proven", "probes": 1, "largest_score_change": 0.25}
    with pytest.raises(NotComparable, match="tuned computes base's scores exactly"):
        check_liveness({"base": base, "tuned": Ranker("b")})  # type: ignore[dict-item]


def test_scores_that_are_no_numbers_are_not_comparable() -> None:
    base: Any = Ranker()
    with pytest.raises(NotComparable, match="tuned: its scores of probe texts are NaN"):
        check_liveness({"base": base, "tuned": Ranker("b", ((0.5, float("nan")),))})  # type: ignore[dict-item]


def test_a_model_that_scores_all_texts_alike_is_not_comparable() -> None:
    base: Any = Ranker()
    with pytest.raises(NotComparable, match="scores all pairs of probe texts alike"):
        check_liveness({"base": base, "tuned": Ranker("b", ((1.0, 1.0),))})  # type: ignore[dict-item]


def ranked(
    scores: Callable[[random.Random], list[float]], *, cases: int = 60, text: str = "r"
) -> str:
    """Return why the recorded scores of an arm are refused; empty if they are not."""
    draw = random.Random(1)
    suite: Any = SimpleNamespace(
        name="s",
        metrics=[SimpleNamespace(requires=("positive", "negative"))],
        cases=[
            Case(id=f"q{i}", prompt="q", positive=("a",), negative=tuple("bcdef"))
            for i in range(cases)
        ],
    )
    answers = [
        StoredAnswer.of(
            Cell(suite="s", case=case.id, arm="tuned", kind=CellKind.GENERATE, key=case.id),
            Completion(text=text, candidate_scores=tuple(scores(draw))),
            None,
            0.0,
        )
        for case in suite.cases
    ]
    try:
        refuse_unusable_scores([suite], {"tuned": None}, answers)  # type: ignore[dict-item]
    except NotComparable as refusal:
        return str(refusal)
    return ""


def noise(draw: random.Random) -> list[float]:
    return [draw.random() for _ in range(6)]


def test_scores_of_a_good_and_of_a_random_ranker_are_compared() -> None:
    assert ranked(noise) == ""
    assert ranked(lambda draw: [2.0, *noise(draw)[1:]]) == ""
    assert ranked(lambda draw: [1.0, 0.0, 0.0, 0.0, 0.0, draw.choice((0.0, 0.5))]) == ""


def test_sorted_scores_are_not_comparable() -> None:
    for reverse, offset in ((True, 0.0), (False, 0.0), (True, 5.0)):
        told = ranked(
            lambda draw, r=reverse, o=offset: sorted((o + x for x in noise(draw)), reverse=r)
        )
        assert "candidate_scores of tuned are sorted in 60 of 60 cases" in told
    # Three lists of five random candidates are sorted one time in 1.7 million; two are not enough.
    assert "sorted in 4" in ranked(lambda draw: sorted(noise(draw)), cases=4)
    assert ranked(lambda draw: sorted(noise(draw)), cases=2) == ""


def test_equal_scores_of_all_candidates_are_not_comparable() -> None:
    assert "are all equal in 60 of 60 cases" in ranked(lambda draw: [0.0] * 6)
    assert ranked(lambda draw: [0.0] * 6 if draw.random() < 0.5 else noise(draw)) == ""


def test_scores_against_the_ranking_in_words_are_not_comparable() -> None:
    words = "n1 > p1 > n2 = n3 > n4 > n5"
    assert ranked(lambda draw: [0.8, 0.9, 0.5, 0.5, 0.4, 0.3], text=words) == ""
    told = ranked(lambda draw: [0.9, 0.8, 0.5, 0.5, 0.4, 0.3], text=words)
    assert "and its completion rank the candidates of 'q0' differently" in told
