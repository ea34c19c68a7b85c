"""One look: the metric that ranks, and the error that is left at the k-th one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.contracts.model import Arm
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.suite import Suite, load_suite
from tunegate.trainers.checkpoint_evaluation import evaluate_checkpoint, ranking_metric

SUITE = """\
name = "s"
cases = "cases.jsonl"

[[metrics]]
use = "length"
[[metrics]]
use = "exact_match"
"""
GATE = '\n[[gates]]\nmetric = "exact_match"\n{}\n'


@pytest.fixture(name="suite")
def _suite(
    suite_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Suite]:
    """Write a suite of 100 cases with the gates given, and load it."""
    monkeypatch.chdir(tmp_path)
    cases = [{"id": f"c{i:03}", "prompt": f"q{i}", "expected": "yes"} for i in range(100)]

    def make(*gates: str) -> Suite:
        return load_suite(suite_folder(SUITE + "".join(GATE.format(gate) for gate in gates), cases))

    return make


def _arms(scripted: Callable[..., str], base: set[int], tuned: set[int]) -> Mapping[str, Arm]:
    """Open scripted arms that answer the given cases wrongly."""
    specs = {}
    for name, wrong in (("base", base), ("tuned", tuned)):
        answers = {f"c{i:03}": "no" if i in wrong else "yes" for i in range(100)}
        specs[name] = scripted(name, completions=answers)
    return open_arms(specs)


@pytest.mark.parametrize(
    ("gates", "metric"),
    [
        (("tolerance = 0.1", "gain = 0.1"), "exact_match"),
        (("floor = 0.5",), "exact_match"),
        ((), "length"),
    ],
)
def test_what_ranks_is_what_the_suite_wants(
    suite: Callable[..., Suite], gates: tuple[str, ...], metric: str
) -> None:
    assert metric == ranking_metric(suite(*gates))


@pytest.mark.parametrize(("number", "proven"), [(1, True), (20, False)])
def test_the_kth_look_has_one_kth_of_the_error(
    suite: Callable[..., Suite], scripted: Callable[..., str], number: int, proven: bool
) -> None:
    """Nine lost and one won of 100 has a p-value of 11/1024 = 0.011: below .05, above .05/20."""
    arms = _arms(scripted, base={0}, tuned=set(range(1, 10)))

    (found,) = evaluate_checkpoint([suite("tolerance = 0.05")], arms, number=number)

    assert proven is bool(found.forgotten)


def test_every_metric_has_its_paired_delta(
    suite: Callable[..., Suite], scripted: Callable[..., str]
) -> None:
    """30 of 100 right and 80 of 100: 0.3, 0.8 and 0.5 between them; an interval around that."""
    arms = _arms(scripted, base=set(range(70)), tuned=set(range(20)))

    (found,) = evaluate_checkpoint([suite("gain = 0.1")], arms, number=1)

    numbers: dict[str, Any] = {metric.name: metric for metric in found.metrics}
    exact = numbers["exact_match"]
    assert (0.3, 0.8, 0.5, 100) == (exact.base, exact.tuned, exact.delta, exact.n)
    assert 0.3 < exact.low < 0.5 < exact.high < 0.7
    assert "length" in numbers
    assert 1 == found.attempt


def test_a_gain_on_a_tag_ranks_by_the_cases_of_the_tag(
    suite_folder: Callable[..., Path],
    scripted: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """40 of 60 tagged cases are won and the other 40 lost: +2/3 on the tag, 0 on all."""
    monkeypatch.chdir(tmp_path)
    cases = [
        {"id": f"c{i:03}", "prompt": f"q{i}", "expected": "yes", "tags": ["call"] * (i < 60)}
        for i in range(100)
    ]
    text = SUITE + GATE.format('tag = "call"\ngain = 0.1') + GATE.format("tolerance = 0.1")
    loaded = load_suite(suite_folder(text, cases))
    arms = _arms(scripted, base=set(range(40)), tuned=set(range(60, 100)))

    (found,) = evaluate_checkpoint([loaded], arms, number=1)

    assert found.goal == "exact_match[call]"
    assert found.ranked_by is not None
    assert (found.ranked_by.n, found.ranked_by.delta) == (60, pytest.approx(40 / 60))
    pooled = next(metric for metric in found.metrics if metric.name == "exact_match")
    assert (pooled.n, pooled.delta) == (100, 0)
