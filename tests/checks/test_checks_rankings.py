"""What a suite may ask of a reranker or embedder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.checks.comparability import check_answerable
from tunegate.harness.checks.liveness import check_liveness
from tunegate.harness.models.majority import MajorityArm
from tunegate.harness.models.scripted import ModelScript, ScriptedArm
from tunegate.harness.records.answers import CellKind
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
