"""--gate-leakage, --gate-training-data: touched cases stand apart, and too many refuse the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.records import training_card
from tunegate.harness.records.hashing import file_sha256
from tunegate.harness.records.training_card import FILE, TrainingSummary

ASKED = "note: leakage: {touched} of 100 cases are in {rows} training rows"


def prompt(i: int) -> str:
    """Return a prompt of 20 words that no other case has."""
    return " ".join(f"c{i}w{k}" for k in range(20))


def prepare(project: Any, *, n: int = 100, **gates: str) -> None:
    """Write the suite with prompts long enough to be told apart."""
    toml = project.suite(n=n, **gates).read_text(encoding="utf-8")
    cases = [{"id": f"c{i:03}", "prompt": prompt(i), "expected": "yes"} for i in range(n)]
    project.raw_suite(toml, cases)


def rows(project: Any, *cases: int, name: str = "train.jsonl") -> Path:
    """Write training rows: two of no case, and one of each named."""
    texts = ["one of no case", "another of no case", *map(prompt, cases)]
    lines = [json.dumps({"prompt": text, "completion": "yes"}) + "\n" for text in texts]
    path: Path = project.path / name
    path.write_text("".join(lines), encoding="utf-8")
    return path


def card(project: Any, *files: Path, **more: Any) -> None:
    """Write the card of a training beside tuned's script."""
    named = [{"path": str(file), "sha256": file_sha256(file), "rows": 3} for file in files]
    text = json.dumps({"method": "sft", "files": named, **more})
    (project.path / FILE).write_text(text, encoding="utf-8")


def test_gates_rest_on_clean_cases(project: Any) -> None:
    """Eight touched cases leave every gate, and their own difference is told beside the others'.

    Base has cases 0-29 right and tuned 0-94; touched are 25-32, and base has 5 of those.
    """
    prepare(project)
    data = rows(project, *range(25, 33))

    result = project.gate(*project.models(), f"--gate-training-data={data}")

    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "SHIP: *",
            "note: demo: 8 of 100 cases are in the training rows, left out of the gates: "
            "c025, c026, c027, c028, c029 and 3 more",
            ASKED.format(touched=8, rows=10) + " and are left out of the gates",
        ]
    )
    verdict = project.verdict()
    [suite] = verdict["suites"]
    assert (suite["n_planned"], suite["n_scored"], suite["n_touched"]) == (100, 92, 8)
    gain = next(gate for gate in suite["gates"] if gate["kind"] == "gain")
    assert (gain["n"], gain["base"], gain["tuned"]) == (92, 0.271739, 0.945652)  # 25/92, 87/92
    [metric] = verdict["leakage"]["suites"][0]["metrics"]
    assert (metric["clean"]["n"], metric["clean"]["delta"]) == (92, 0.673913)  # 62/92
    touched = {key: metric["touched"][key] for key in ("n", "base", "tuned", "delta")}
    assert touched == {"n": 8, "base": 0.625, "tuned": 1.0, "delta": 0.375}
    assert metric["touched"]["low"] < 0.375 < metric["touched"]["high"]
    assert len(verdict["leakage"]["suites"][0]["touched"]) == 8


def test_the_worst_cases_of_a_gate_are_those_it_counts(project: Any) -> None:
    """Base has cases 0-29 right and tuned 0-9; of the worst, c010 and c012 are left out."""
    prepare(project, gates="tolerance = 0.05")
    data = rows(project, 10, 12)

    result = project.gate(*project.models(base=30, tuned=10), f"--gate-training-data={data}")

    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["*worst cases: c011 (100 → 0 %), c013 (100 → 0 %), c014 (100 → 0 %)"]
    )


def test_a_gain_by_heart_does_not_ship(project: Any) -> None:
    prepare(project, gates="gain = 0.02\nexpected_gain = 0.05")
    data = rows(project, *range(30, 40))
    models = project.models(base=30, tuned=40)

    by_heart = project.gate(*models, f"--gate-training-data={data}")
    clean = project.verdict()["suites"][0]["gates"][0]
    unaware = project.gate(*models, "--gate-leakage=off")

    assert by_heart.ret == 11  # HOLD: the gain is proven smaller than what was hoped for
    assert (clean["n"], clean["delta"]) == (90, 0.0)
    assert unaware.ret == 0


def test_more_than_a_tenth_is_not_comparable(project: Any) -> None:
    prepare(project)
    data = rows(project, *range(11))

    result = project.gate(*project.models(), f"--gate-training-data={data}")

    assert result.ret == 12
    result.stdout.fnmatch_lines(
        [
            "NOT COMPARABLE: demo: 11 of 100 cases are in the training rows, more than 10%: "
            "c000, c001, c002, c003, c004, c005, c006, c007, c008, c009 and 1 more;*"
        ]
    )
    assert project.stored() == {}
    verdict = project.verdict()
    assert (verdict["verdict"], verdict["suites"]) == ("NOT_COMPARABLE", [])
    assert len(verdict["leakage"]["suites"][0]["touched"]) == 11
    assert "c010" in (project.run / "report.html").read_text(encoding="utf-8")


def test_reporting_counts_all_cases_and_says_so(project: Any) -> None:
    """With `report` every case gates; verdict, terminal and manifest say that they did."""
    prepare(project)
    data = rows(project, *range(50))

    options = (f"--gate-training-data={data}", "--gate-leakage=report", "--gate-early-stop=off")

    result = project.gate(*project.models(), *options)

    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["note: demo: 50 of 100 cases *, and count in the gates all the same (--gate-leakage=*"]
    )
    verdict = project.verdict()
    assert verdict["leakage"]["mode"] == "report"
    assert [gate["n"] for gate in verdict["suites"][0]["gates"]] == [100, 100]
    assert "n_touched" not in verdict["suites"][0]


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ((), f"there is no {FILE} next to tuned; name what *--gate-training-data FILE"),
        (("--gate-leakage=off",), "turned off (--gate-leakage=off)"),
    ],
)
def test_nothing_known_is_not_checked(project: Any, option: tuple[str, ...], why: str) -> None:
    prepare(project)

    result = project.gate(*project.models(), *option)

    result.stdout.fnmatch_lines([f"note: leakage not checked: {why}"])
    assert project.verdict()["leakage"]["checked"] == "not checked"
    html = (project.run / "report.html").read_text(encoding="utf-8")
    assert "<b>Not checked.</b>" in html


def test_the_card_beside_tuned_names_the_rows(project: Any) -> None:
    prepare(project)
    card(project, rows(project, 1, 2), rows(project, 3, name="more.jsonl"), seed=7, steps=20)

    result = project.gate(*project.models())

    result.stdout.fnmatch_lines([ASKED.format(touched=3, rows=7) + "*"])
    verdict = project.verdict()
    assert (verdict["training"]["method"], verdict["training"]["steps"]) == ("sft", 20)
    assert verdict["leakage"]["checked"] == "checked"
    assert [file["rows"] for file in verdict["leakage"]["files"]] == [4, 3]


def test_a_card_that_misfits_is_a_note_at_the_end(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(project)
    card(project, rows(project))
    note = "tuned was trained with another tokenizer"
    summary = TrainingSummary(card={"method": "sft"}, notes=(note,))
    monkeypatch.setattr(training_card, "read_training_card", lambda folder, identity: summary)

    result = project.gate(*project.models())

    assert result.ret == 0
    result.stdout.fnmatch_lines([f"note: {note}"])
    assert project.verdict()["training"]["notes"] == [note]


def test_a_changed_file_is_said(project: Any) -> None:
    prepare(project)
    data = rows(project, 1)
    card(project, data)
    data.write_text("{}\n", encoding="utf-8")

    result = project.gate(*project.models())

    result.stdout.fnmatch_lines([f"note: leakage not checked: {data}: changed since the training"])


def test_early_looks_wait_for_no_touched_case(project: Any) -> None:
    """A suite of 200 with touched cases still ends early; the touched are asked and not skipped."""
    prepare(project, n=200, gates="gain = 0.1")
    data = rows(project, *range(10))
    models = (
        f"--gate-base={project.model('base', 20, n=200)}",
        f"--gate-tuned={project.model('tuned', 190, n=200)}",
    )

    result = project.gate(*models, f"--gate-training-data={data}")

    assert result.ret == 0
    [suite] = project.verdict()["suites"]
    assert suite["n_skipped_decided"] > 0
    assert suite["n_scored"] + suite["n_skipped_decided"] + suite["n_touched"] == 200
    [metric] = project.verdict()["leakage"]["suites"][0]["metrics"]
    assert metric["touched"]["n"] == 10
    assert metric["clean"]["n"] == suite["n_scored"]


def test_resuming_keeps_it(project: Any) -> None:
    """A run that broke off ends, resumed, as if it had not: same touched cases, same verdict."""
    prepare(project)
    data = rows(project, *range(8))
    arguments = ["suites", *project.models(), f"--gate-training-data={data}"]
    project.tunegate("gate", *arguments, "--run-dir=run")
    whole = project.verdict()
    (project.run / "verdict.json").unlink()

    result = project.tunegate("resume", project.run, *arguments)

    assert result.ret == 0
    assert project.verdict() == whole
    assert whole["suites"][0]["n_touched"] == 8


def test_a_file_that_is_not_there_is_a_usage_error(project: Any) -> None:
    prepare(project)

    result = project.gate(*project.models(), "--gate-training-data=absent.jsonl")

    assert result.ret == 4
    result.stdout.fnmatch_lines(["*--gate-training-data=absent.jsonl: no such file or folder"])
    assert "Traceback" not in result.stdout.str()


def test_a_file_that_the_card_does_not_know_is_told(project: Any) -> None:
    prepare(project, n=40)
    own, foreign = rows(project), rows(project, 1, name="foreign.jsonl")
    card(project, own)

    told = project.gate(*project.models(), f"--gate-training-data={foreign}")
    known = project.gate(*project.models(), f"--gate-training-data={own}")

    note = f"note: --gate-training-data={foreign}: none of the files in tuned's card has *"
    told.stdout.fnmatch_lines([note])
    assert "none of the files in tuned's card" not in known.stdout.str()
