"""Calibration error, by hand over all cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tunegate.harness.metrics.calibration_error import (
    calibration_error,
    expected_calibration_error,
)
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import SuiteError
from tunegate.harness.suite import load_suite


def score(expected: str, **shares: float) -> Any:
    case = Case(id="a", prompt="p", expected=expected)
    return calibration_error(case, Completion(label_probabilities=shares))


def test_the_level_is_the_weighted_gap_of_the_bins() -> None:
    generator = np.random.default_rng(0)
    sure = generator.uniform(0.5, 1, 200)
    right = generator.uniform(size=200) < 0.7
    scores = [
        score("a" if hit else "b", a=float(p), b=float(1 - p))
        for p, hit in zip(sure, right, strict=True)
    ]
    bins = np.minimum((sure * 15).astype(int), 14)
    wanted = sum(
        abs(sure[bins == b].mean() - right[bins == b].mean()) * (bins == b).sum()
        for b in set(bins.tolist())
    )

    sums = np.sum([one.counts for one in scores], axis=0)
    assert expected_calibration_error(sums.tolist()) == pytest.approx(float(wanted) / 200)


def test_full_confidence_is_in_the_last_bin() -> None:
    assert score("a", a=1.0, b=0.0).counts[-3:] == (1.0, 1.0, 1.0)


def test_sums_without_cases_are_no_error() -> None:
    assert expected_calibration_error([0.0] * 45) == 0.0


def test_probabilities_of_several_labels_are_unscored() -> None:
    found = score("a", a=0.9, b=0.8)

    assert found.value is None
    assert found.reason == "several labels may apply: the probabilities do not add up to 1"


@pytest.mark.parametrize("bins", [0, 101])
def test_bins_have_limits(bins: int) -> None:
    assert calibration_error.check is not None
    assert calibration_error.check({"bins": bins}, ()) == [
        f"metric 'calibration_error': bins={bins}: must be from 1 to 100"
    ]


@pytest.mark.parametrize("gate", ["tolerance = 0.05", "gain = 0.0"])
def test_gates_on_the_difference_are_refused(gate: str, tmp_path: Path) -> None:
    (tmp_path / "cases.jsonl").write_text('{"prompt": "p", "expected": "a"}', encoding="utf-8")
    path = tmp_path / "suite.toml"
    text = 'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "calibration_error"\n[[gates]]\n'
    path.write_text(f'{text}metric = "calibration_error"\n{gate}\n', encoding="utf-8")

    with pytest.raises(SuiteError, match="give it a ceiling, and compare the arms by brier_score"):
        load_suite(path)


def test_300_cases_make_it_too_large_by_5_points() -> None:
    """Calibrated confidences have a true error of 0."""
    generator = np.random.default_rng(1)
    levels = []
    for _ in range(20):
        sure = generator.uniform(0.5, 1, 300)
        right = generator.uniform(size=300) < sure
        pairs = zip(sure.tolist(), right, strict=True)
        counts = [score("a" if hit else "b", a=p, b=1 - p).counts for p, hit in pairs]
        levels.append(expected_calibration_error(np.sum(counts, axis=0).tolist()))

    assert np.mean(levels) == pytest.approx(0.05, abs=0.01)
