"""The record of a calibration: what it leaves room for, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.records.calibration import (
    ArmErrors,
    Calibration,
    CanaryResult,
    LabelledPair,
    RateEstimate,
    calibration_binding,
    read_calibration,
)
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.files import record_json, write_atomic
from tunegate.harness.records.labels import Label, refuse_one_arm


def rate(estimate: float, low: float, high: float, n: int = 60) -> RateEstimate:
    """Return an estimate with its interval."""
    return RateEstimate(estimate=estimate, low=low, high=high, n=n)


def calibration(**changes: Any) -> Calibration:
    """Return a good calibration, or one with the given changes."""
    given: dict[str, Any] = {
        "metric": "tone",
        "judge": {"spec": "scripted:j.json"},
        "binding": "b",
        "labels": "labels.jsonl",
        "labels_sha256": "l",
        "good_from": 0.5,
        "n_labels": 120,
        "n_unscored": 0,
        "agreement": rate(0.9, 0.8, 0.95),
        "baseline": 0.5,
        "balanced_accuracy": rate(0.9, 0.8, 0.95),
        "kappa": rate(0.8, 0.7, 0.9),
        "arms": {"tuned": ArmErrors(n=60, sensitivity=rate(0.9, 0.8, 1))},
        "differential": rate(0.01, -0.03, 0.05),
        "answers": {},
        "pairs": (
            LabelledPair(base_label=0, tuned_label=1, base_score=0, tuned_score=1, n=30),
            LabelledPair(base_label=1, tuned_label=1, base_score=1, tuned_score=1, n=30),
        ),
        "canaries": CanaryResult(asked=4),
    }
    return Calibration(**(given | changes))


def test_the_least_margin_is_twice_the_farther_limit() -> None:
    """[-.03, .05] needs a margin of .10; without labelled pairs nothing is known."""
    assert calibration().least_margin == pytest.approx(0.1)
    assert calibration(differential=None).least_margin is None


def test_a_good_judge_has_no_reason_against_it() -> None:
    assert calibration().why_not() == ()


def test_every_reason_is_told() -> None:
    poor = ArmErrors(n=9, sensitivity=rate(0.55, 0, 1), specificity=rate(0.54, 0, 1))
    found = calibration(
        kappa=rate(0.1, -0.1, 0.3), differential=rate(0, -0.1, 0.1, n=9), arms={"base": poor}
    ).why_not()

    assert [reason.split()[0] for reason in found] == ["9", "kappa", "on"]


def test_a_calibration_must_hold_its_pairs() -> None:
    (without,) = calibration(pairs=None).why_not()
    (alike,) = calibration(pairs=calibration().pairs[:1]).why_not()
    (whose,) = calibration(answers=None).why_not()

    assert "repeat `tunegate judge calibrate`" in without
    assert "whose answers were labelled" in whose
    assert "the same difference on all pairs" in alike


def test_near_guessing_starts_below_one_tenth_above_a_coin() -> None:
    """.55 and .55 make 1.10 and stay; .55 and .54 do not; an arm without a "no" is unknown."""

    def errors(no: RateEstimate | None) -> bool:
        return ArmErrors(n=9, sensitivity=rate(0.55, 0, 1), specificity=no).near_guessing

    assert not errors(rate(0.55, 0, 1))
    assert errors(rate(0.54, 0, 1))
    assert not errors(None)


def test_the_binding_is_of_prompt_and_models() -> None:
    """Another prompt or model is another judge; the order of a jury is not."""
    assert calibration_binding("p", ["a", "b"]) == calibration_binding("p", ["b", "a"])
    assert (
        len(
            {
                calibration_binding("p", ["a"]),
                calibration_binding("q", ["a"]),
                calibration_binding("p", ["b"]),
            }
        )
        == 3
    )


def test_it_survives_the_disk(tmp_path: Path) -> None:
    """What is written is read back; a missing or other file is one line."""
    path = tmp_path / "calibration.json"
    write_atomic(path, record_json(calibration()))

    assert read_calibration(path) == calibration()
    with pytest.raises(UsageError, match="no such calibration"):
        read_calibration(tmp_path / "gone.json")
    write_atomic(path, "{}")
    with pytest.raises(UsageError, match=r"calibration\.json"):
        read_calibration(path)


def test_labels_of_one_arm_are_refused() -> None:
    """They say nothing of a difference; both arms, or none named, do."""

    def label(arm: str | None) -> Label:
        return Label(id="a", arm=arm, completion="x", label=1)

    with pytest.raises(UsageError, match=r"^l\.jsonl: all 2 labels .* tuned.*; label base's"):
        refuse_one_arm(Path("l.jsonl"), [label("tuned"), label(None), label("tuned")])
    refuse_one_arm(Path("l.jsonl"), [label("tuned"), label("base")])
    refuse_one_arm(Path("l.jsonl"), [label(None)])
