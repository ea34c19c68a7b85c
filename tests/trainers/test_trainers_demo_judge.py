"""The demo's judge: its suite, its labels and its calibration belong together."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tunegate.harness import suite as suites
from tunegate.harness.cli import app
from tunegate.harness.cli.demo import is_calibrated
from tunegate.harness.records.calibration import read_calibration
from tunegate.harness.records.labels import labels_hash, read_labels

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "trainers" / "demo" / "judge"


def test_the_calibration_is_of_this_suite_and_these_labels() -> None:
    (metric,) = suites.load_suite(FOLDER).metrics
    known = read_calibration(FOLDER / "calibration.json")

    assert metric.judge is not None
    assert known.judge["prompt_sha256"] == metric.judge.prompt_sha256
    assert known.labels_sha256 == labels_hash(read_labels(FOLDER / "labels.jsonl"))
    assert "the authors" in known.labels


def test_the_judge_is_found_wanting() -> None:
    known = read_calibration(FOLDER / "calibration.json")

    assert known.near_guessing
    assert known.why_not()


def test_the_labels_are_balanced() -> None:
    """One good and one bad answer to each of 40 tickets, the good ones not always first."""
    labels = read_labels(FOLDER / "labels.jsonl")
    by_case: dict[str, list[float]] = {}
    for label in labels:
        by_case.setdefault(label.id, []).append(label.label)

    assert len(by_case) == 40
    assert all(sorted(values) == [0.0, 1.0] for values in by_case.values())
    assert sum(values[0] == 1.0 for values in by_case.values()) == 20


def test_no_machine_is_named() -> None:
    text = (FOLDER / "calibration.json").read_text(encoding="utf-8")

    assert not re.search(r'": "(/|[A-Z]:)', text)


def test_another_judge_is_known_as_uncalibrated(tmp_path: Path) -> None:
    (tmp_path / "judge.json").write_text("{}", encoding="utf-8")

    assert not is_calibrated(f"scripted:{tmp_path / 'judge.json'}", FOLDER)


@pytest.mark.slow
def test_the_real_judge_is_calibrated_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole path with the real model: on six answers it says what it said before.

    Of the attacks it is asked three; which of them fool it decides nothing here.
    """
    from tunegate.harness.judges.calibrating import canaries
    from tunegate.harness.models.demo_model import make_demo_model

    monkeypatch.setattr(canaries, "ATTACKS", dict(list(canaries.ATTACKS.items())[:3]))
    base = make_demo_model()
    monkeypatch.chdir(tmp_path)
    rows = (FOLDER / "labels.jsonl").read_text(encoding="utf-8").splitlines()[:6]
    (tmp_path / "few.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    args = ["judge", "calibrate", "few.jsonl", "--judge", str(base), "--suite", str(FOLDER)]
    result = CliRunner().invoke(app, [*args, "--repeats", "0"], catch_exceptions=False)

    assert result.exit_code == 0
    again = json.loads((tmp_path / "calibration.json").read_text(encoding="utf-8"))
    known = read_calibration(FOLDER / "calibration.json")
    assert again["binding"] == known.binding
    assert again["n_unscored"] == 0
    assert "It may not gate" in result.output
    assert is_calibrated(str(base), FOLDER)
