"""`tunegate judge calibrate` and `label`: from labels to a judge that may gate, or may not."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tunegate.harness.cli import app
from tunegate.harness.records.calibration import read_calibration
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.jsonl import read_records
from tunegate.harness.records.labels import Label
from tunegate.harness.records.run_folder import Run

SUITE = """\
name = "civil"
cases = "cases.jsonl"
[[metrics]]
use = "rubric"
name = "apology"
criteria = "Apologises."
[[gates]]
metric = "apology"
gain = 0.1
expected_gain = 0.3
"""
HONEST = {
    "rules": [{"contains": "yes\n<</completion", "reply": {"score": 5}}],
    "default": {"score": 1},
}
N = 100


def invoke(*args: object) -> Any:
    """Run the command in this process."""
    return CliRunner().invoke(app, ["judge", *map(str, args)], catch_exceptions=False)


def refused(*args: object) -> str:
    """Return the one line that a command is refused with."""
    with pytest.raises(UsageError) as caught:
        invoke(*args)
    return str(caught.value)


@pytest.fixture(name="judge")
def _judge(project: Any) -> str:
    """Write the suite and a judge that gives 5 to `yes` and 1 to everything else."""
    cases = [{"id": f"c{i:03}", "prompt": f"q{i}", "expected": "yes"} for i in range(N)]
    project.raw_suite(SUITE, cases, "civil")
    path = Path("judge.json")
    path.write_text(json.dumps(HONEST), encoding="utf-8")
    return f"scripted:{path}"


@pytest.fixture(name="labels")
def _labels(project: Any) -> Callable[..., Path]:
    """Return a function that writes labels: base says yes to 30 of 100, tuned to 95."""

    def write(cases: int = N, **more: Any) -> Path:
        rows = [
            {"id": f"c{i:03}", "arm": arm, "completion": "yes" if i < right else "no",
             "label": int(i < right), **more}
            for i in range(cases)
            for arm, right in (("base", 30), ("tuned", 95))
        ]  # fmt: skip
        path = Path("labels.jsonl")
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


def calibrated(judge: str, labels: Path, *more: object) -> Any:
    """Calibrate on the suite."""
    return invoke("calibrate", labels, "--judge", judge, "--suite", "suites/civil", *more)


def test_a_calibrated_judge_gates(project: Any, judge: str, labels: Callable[..., Path]) -> None:
    models = (*project.models(), f"--gate-judge={judge}")
    before = project.gate(*models)
    assert before.ret == 10
    assert "never calibrated" in project.verdict()["suites"][0]["notes"][0]

    result = calibrated(judge, labels(by="anna"))
    assert result.exit_code == 0
    assert "It may gate where the margin is" in result.output
    assert "kappa" in result.output
    assert "labels.jsonl, labelled by anna" in result.output
    known = read_calibration(Path("calibration.json"))
    assert (known.kappa.estimate, known.canaries.attacks, known.canaries.fooled) == (1.0, 26, ())

    after = project.gate(*models, "--gate-calibration=calibration.json")
    assert after.ret == 0
    (gate,) = project.verdict()["suites"][0]["gates"]
    assert not gate["advisory"]
    assert "kappa 1.00" in gate["judge_basis"]
    Path("calibration.json").unlink()
    record = Run.load(project.run).manifest.suites[0].metrics[0].judge
    assert record is not None
    assert record.calibration == known


def test_another_judge_is_not_the_calibrated_one(
    project: Any, judge: str, labels: Callable[..., Path]
) -> None:
    calibrated(judge, labels(cases=5))
    other = Path("other.json")
    other.write_text(json.dumps({**HONEST, "default": {"score": 2}}), encoding="utf-8")
    options = (*project.models(), "--gate-calibration=calibration.json")

    result = project.gate(*options, f"--gate-judge=scripted:{other}")
    assert result.ret == 4
    assert f"it calibrates another judge model ({judge}) than the run's" in result.stdout.str()

    toml = project.path / "suites" / "civil" / "suite.toml"
    toml.write_text(SUITE.replace("Apologises.", "Is kind."), encoding="utf-8")
    result = project.gate(*options, f"--gate-judge={judge}")
    assert result.ret == 4
    assert "with another prompt or other options" in result.stdout.str()


def test_labels_on_the_run_correct_it(
    project: Any, judge: str, labels: Callable[..., Path]
) -> None:
    """20 labelled pairs do not make the judge count; 60 of the run do, and it is decided again."""
    calibrated(judge, labels(cases=20))
    options = (*project.models(), f"--gate-judge={judge}", "--gate-calibration=calibration.json")
    assert project.gate(*options).ret == 10

    written = invoke("label", project.run, "--n", 60)
    sheet = project.run / "label-apology.jsonl"
    rows = [json.loads(line) for line in sheet.read_text(encoding="utf-8").splitlines()]
    assert "60 cases, drawn at random, blind" in written.output
    assert len({row["id"] for row in rows}) == 60
    assert {"base", "tuned", "arm"} & set().union(*rows) == set()
    filled = [{**row, "label": int(row["completion"] == "yes")} for row in rows]
    sheet.write_text("".join(json.dumps(row) + "\n" for row in filled), encoding="utf-8")
    scores = (project.run / "scores.jsonl").read_bytes()

    result = invoke("label", project.run, "--read", sheet)

    assert "60 cases of civil have labels now" in result.output
    assert "SHIP" in result.output
    assert "labels on 60 of 100 pairs correct it (PPI++)" in result.output
    run = Run.load(project.run)
    assert len(run.labels) == 120
    assert run.verdict.suites[0].gates[0].method.startswith("PPI++")
    assert "PPI++" in (project.run / "report.html").read_text(encoding="utf-8")
    assert (project.run / "scores.jsonl").read_bytes() == scores


def test_a_resumed_run_keeps_its_labels(
    project: Any, judge: str, labels: Callable[..., Path]
) -> None:
    calibrated(judge, labels(cases=20))
    options = (*project.models(), f"--gate-judge={judge}", "--gate-calibration=calibration.json")
    project.gate(*options)
    filled = [
        Label(suite="civil", metric="apology", id=f"c{i:03}", arm=arm, label=float(i < right),
              completion="yes" if i < right else "no")
        for i in range(60) for arm, right in (("base", 30), ("tuned", 95))
    ]  # fmt: skip
    lines = "".join(label.model_dump_json(exclude_none=True) + "\n" for label in filled)
    (project.run / "labels.jsonl").write_text(lines, encoding="utf-8")

    assert project.gate(*options).ret == 0
    assert len(read_records(project.run / "labels.jsonl", Label)) == 120


def test_a_sheet_of_another_run_is_refused(project: Any, judge: str) -> None:
    project.gate(*project.models(), f"--gate-judge={judge}")
    row = {"suite": "civil", "metric": "apology", "id": "c001", "completion": "perhaps"}
    Path("sheet.jsonl").write_text(json.dumps({**row, "label": 1}) + "\n", encoding="utf-8")

    message = refused("label", project.run, "--read", "sheet.jsonl")

    assert "the answer to 'c001' is not in this run" in message
    assert not (project.run / "labels.jsonl").exists()


def test_an_empty_sheet_is_refused(project: Any, judge: str) -> None:
    project.gate(*project.models(), f"--gate-judge={judge}")
    invoke("label", project.run, "--n", 3)

    assert "no label" in refused(
        "label", project.run, "--read", project.run / "label-apology.jsonl"
    )


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--judge", "none"), "needs a judge"),
        (("--judge", "scripted:gone.json"), "scripted:gone.json: cannot be read"),
        (("--judge", "scripted:judge.json", "--metric", "tone"), "unknown metric 'tone'"),
        (("--judge", "scripted:judge.json", "--out", "suites"), "cannot be written"),
    ],
)
def test_mistakes_are_one_line(
    project: Any, judge: str, labels: Callable[..., Path], args: tuple[str, ...], said: str
) -> None:
    message = refused("calibrate", labels(cases=3), "--suite", "suites/civil", *args)

    assert said in message
    assert "\n" not in message


def test_labels_of_unknown_cases_are_refused(project: Any, judge: str) -> None:
    row = {"id": "x", "completion": "yes", "label": 1}
    Path("l.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    message = refused("calibrate", "l.jsonl", "--judge", judge, "--suite", "suites/civil")
    assert "has no case 'x'" in message

    Path("l.jsonl").write_text(json.dumps({**row, "prompt": "Hm?"}) + "\n", encoding="utf-8")
    assert calibrated(judge, Path("l.jsonl")).exit_code == 0

    Path("l.jsonl").write_text(json.dumps({**row, "suite": "other"}) + "\n", encoding="utf-8")
    message = refused("calibrate", "l.jsonl", "--judge", judge, "--suite", "suites/civil")
    assert "none of 1 labels is on civil: apology" in message


def test_a_calibration_that_is_none_is_refused(project: Any, judge: str) -> None:
    result = project.gate(
        *project.models(), f"--gate-judge={judge}", "--gate-calibration=gone.json"
    )

    assert result.ret == 4
    assert "gone.json: no such calibration" in result.stdout.str()
    assert project.stored() == {}


def _recorded(labels: Path, path: Path = Path("judged.jsonl"), **changed: float) -> str:
    """Write a judgement of every labelled answer, as people judged it; return the judge's spec."""
    rows = map(json.loads, labels.read_text(encoding="utf-8").splitlines())
    lines = [
        {"id": r["id"], "arm": r["arm"], "value": changed.get(r["id"], float(r["label"]))}
        for r in rows
    ]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return f"replay:{path}"


def _gated(project: Any, judge: str) -> Any:
    """Gate recorded answers on the judge, as it is calibrated."""
    for arm, right in (("base", 30), ("tuned", 95)):
        lines = ({"id": f"c{i:03}", "completion": "yes" if i < right else "no"} for i in range(N))
        Path(f"{arm}.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    arms = ["--gate-base=replay:base.jsonl", "--gate-tuned=replay:tuned.jsonl"]
    return project.gate(*arms, f"--gate-judge={judge}", "--gate-calibration=calibration.json")


def test_a_recorded_judge_earns_its_gate(
    project: Any, judge: str, labels: Callable[..., Path]
) -> None:
    """It agrees with people on both arms; what it was never asked is not made up."""
    spec = _recorded(labels())

    said = calibrated(spec, labels()).output

    known = read_calibration(Path("calibration.json"))
    assert (known.kappa.estimate, known.recorded, known.why_not()) == (1.0, True, ())
    assert (known.canaries.asked, known.canaries.failed, known.repeat_flips) == (0, (), None)
    assert said.count("not asked: the judgements are recorded") == 3
    assert _gated(project, spec).ret == 0
    (gate,) = project.verdict()["suites"][0]["gates"]
    assert (gate["status"], gate["advisory"]) == ("pass", False)
    assert "never asked about known bad answers" in gate["judge_basis"]


def test_recorded_judgements_may_come_in_any_order(
    project: Any, judge: str, labels: Callable[..., Path]
) -> None:
    spec = _recorded(labels())
    calibrated(spec, labels())
    path, first = Path("judged.jsonl"), Path("calibration.json").read_bytes()
    lines = path.read_text(encoding="utf-8").splitlines()

    for order in (lines[::-1], random.Random(0).sample(lines, len(lines))):
        path.write_text("\n".join(order), encoding="utf-8")
        calibrated(spec, labels())
        assert Path("calibration.json").read_bytes() == first
    assert _gated(project, spec).ret == 0


def test_labels_without_arms_do_not_fit_judgements_by_arm(
    project: Any, judge: str, labels: Callable[..., Path]
) -> None:
    """Whose answer was labelled is not guessed; the remedy is named."""
    spec, rows = _recorded(labels()), labels(40).read_text(encoding="utf-8").splitlines()
    unnamed = [json.dumps({**json.loads(row), "arm": None}) for row in rows[::2]]
    Path("labels.jsonl").write_text("\n".join(unnamed), encoding="utf-8")
    assert "name the label's arm" in refused(
        "calibrate", "labels.jsonl", "--judge", spec, "--suite", "suites/civil"
    )


def test_a_run_s_judgements_do_not_fit_other_answers(
    project: Any, judge: str, labels: Callable[..., Path]
) -> None:
    options = [f"--gate-judge={judge}"]
    assert project.gate(*project.models(30, 95), *options).ret in (0, 10)
    project.run.rename("before")
    said = {f"c{i:03}": "yes" if i < 40 else "perhaps" if i < 60 else "no" for i in range(N)}
    changed = project.models(30, 95, completions=said)
    assert project.gate(*changed, "--gate-judge=replay:before").ret in (10, 13)
    rows = [json.loads(x) for x in (project.run / "judgements.jsonl").read_text().splitlines()]
    failed = {row["case"]: row["reason"] for row in rows if row["status"] == "judge_error"}
    assert failed.keys() == {f"c{i:03}" for i in range(40, 60)}
    assert all("judged a different answer" in reason for reason in failed.values())
