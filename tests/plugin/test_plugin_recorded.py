"""Recorded arms: what production answered, and the prompts of answers that were made before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


def recorded(project: Any, **lines: dict[str, Any]) -> str:
    """Write recorded answers; return the option that names them."""
    path = project.path / "recorded.jsonl"
    rows = [json.dumps({"id": name, **line}) for name, line in lines.items()]
    path.write_text("\n".join(rows), encoding="utf-8")
    return f"--gate-recorded=replay:{path}"


def cells(run: Path, arm: str) -> list[dict[str, Any]]:
    """Return the cells of an arm."""
    lines = (run / "cells.jsonl").read_text(encoding="utf-8").splitlines()
    return [row for line in lines if (row := json.loads(line))["cell"]["arm"] == arm]


def test_it_is_shown_and_gates_nothing(project: Any) -> None:
    project.suite()
    options = project.models(tuned=95)
    said = recorded(project, c000={"completion": "no idea"}, c001={"completion": "none"})

    with_it = project.gate(*options, said, "--gate-early-stop=off")
    verdict = project.verdict()

    assert with_it.ret == 0
    assert verdict["verdict"] == "SHIP"
    assert verdict["suites"][0]["n_unscored"] == {"base": 0, "tuned": 0}
    assert "no idea" in (project.run / "report.html").read_text(encoding="utf-8")
    texts = [row["completion"]["text"] for row in cells(project.run, "recorded")[:2]]
    assert texts == ["no idea", "none"]


def test_only_what_was_recorded_is_asked(project: Any) -> None:
    toml = (
        'name = "demo"\ncases = "cases.jsonl"\n[generation]\nmax_new_tokens = 4\n'
        '[[metrics]]\nuse = "length"\n[[metrics]]\nuse = "answer_logprob"\n'
        '[[gates]]\nmetric = "length"\ntolerance = "50%"\n'
    )
    project.raw_suite(toml, [{"id": f"c{i:03}", "prompt": "q", "expected": "yes"} for i in (0, 1)])
    for name in ("base", "tuned"):
        lines = [
            {"id": f"c00{i}", "completion": f"{name} says", "answer_logprob": -0.5} for i in (0, 1)
        ]
        (project.path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    arms = [f"--gate-{name}=replay:{project.path / name}.jsonl" for name in ("base", "tuned")]

    project.gate(*arms, recorded(project, c000={"completion": "before"}))

    assert [row["cell"]["kind"] for row in cells(project.run, "recorded")] == ["generate"] * 2
    assert [row["status"] for row in cells(project.run, "recorded")] == ["ok", "error"]


def test_a_model_is_no_record(project: Any) -> None:
    project.suite()

    result = project.gate(*project.models(), "--gate-recorded=out/adapter")

    assert result.ret == 4
    result.stderr.fnmatch_lines(
        ["*--gate-recorded='out/adapter' must be replay: and a file or run*"]
    )


def _replayed(project: Any, **texts: dict[str, Any]) -> tuple[str, str]:
    """Write a file of answers to a hundred cases for each arm; return the options."""
    for name, own in texts.items():
        lines = (
            {"id": f"c{i:03}", "completion": "no" if name == "base" and i > 60 else "yes", **own}
            for i in range(100)
        )
        texts_of_cases = (json.dumps(line).replace("{id}", line["id"]) for line in lines)
        (project.path / f"{name}.jsonl").write_text("\n".join(texts_of_cases))
    return "--gate-base=replay:base.jsonl", "--gate-tuned=replay:tuned.jsonl"


def test_prompts_on_trust_are_told_where_people_look(project: Any) -> None:
    """In the terminal, in the summary and in the comment, not only on the page."""
    project.suite()
    result = project.gate(*_replayed(project, base={}, tuned={}))
    note = "base and tuned recorded elsewhere: prompts taken on trust"
    assert result.ret == 0
    result.stdout.fnmatch_lines([f"note: {note}"])
    assert result.stdout.str().count(note) == 1
    for name in ("summary.md", "comment.md"):
        assert note in (project.run / name).read_text(encoding="utf-8")


def test_recorded_prompts_that_are_equal_need_no_trust(project: Any) -> None:
    project.suite()
    known = {"prompt_sha256": "ab{id}"}
    result = project.gate(*_replayed(project, base=known, tuned=known))
    assert result.ret == 0
    assert "on trust" not in result.stdout.str()
    assert project.verdict()["comparability"]["status"] == "proven"


def test_recorded_prompts_that_differ_are_not_comparable(project: Any) -> None:
    project.suite()
    arms = _replayed(project, base={"prompt": "one shot: q"}, tuned={"prompt": "five shots: q"})
    assert project.gate(*arms).ret == 12
    assert "in 100 of 100 cases ('c000'" in project.verdict()["sentence"]
    arms = _replayed(project, base={}, tuned={})
    project.gate(*arms)
    assert set(project.verdict()["attempts"].values()) == {1}


def test_the_prompts_of_a_run_are_known(project: Any) -> None:
    """A run's arms are replayed without trust; another prompt in the suite is found out."""
    suite = project.suite()
    project.gate(*project.models(), "--gate-early-stop=off")
    project.run.rename(project.path / "before")
    arms = ("--gate-base=replay:before#base", "--gate-tuned=replay:before")
    assert project.gate(*arms).ret == 0
    assert project.verdict()["comparability"]["status"] == "proven"
    settings = project.verdict()["arms"]["tuned"]["generation"]["demo"]
    assert settings["temperature"] == 0.0
    first, kept = (
        json.loads((folder / "cases.jsonl").read_text("utf-8").splitlines()[0])
        for folder in (project.path / "before", project.run)
    )
    assert kept["asked"]["tuned"] == {"as_case": True, "rendered": first["rendered"]}

    path = suite.parent / "cases.jsonl"
    path.write_text(path.read_text("utf-8").replace('"q7"', '"q7 again"'), encoding="utf-8")
    assert project.gate(*arms).ret == 12
    assert "in 1 of 100 cases ('c007')" in project.verdict()["sentence"]


def test_runs_with_other_settings_are_not_comparable(project: Any) -> None:
    """Base was cut at 8 tokens and tuned at 64: their difference is not tuned's doing."""
    suite = project.suite()
    toml = suite.read_text(encoding="utf-8")
    for name, longest in (("short", 8), ("long", 64)):
        suite.write_text(f"{toml}[generation]\nmax_new_tokens = {longest}\n", encoding="utf-8")
        project.gate(*project.models(), "--gate-early-stop=off")
        project.run.rename(project.path / name)
    assert project.gate("--gate-base=replay:short#base", "--gate-tuned=replay:long").ret == 12
    assert "max_new_tokens = 8, tuned with 64" in project.verdict()["sentence"]


TURNS = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "q {id}"}]


@pytest.mark.parametrize(
    "known", [{}, {"prompt": "q {id}"}, {"prompt_sha256": "ab{id}"}, {"messages": TURNS}]
)
def test_a_run_of_recorded_files_refuses_another_suite_as_well(
    project: Any, known: dict[str, Any]
) -> None:
    """Whatever the files know, the answers were judged for the suite's prompts as they were."""
    suite = project.suite()
    project.gate(*_replayed(project, base=known, tuned=known))
    project.run.rename(project.path / "before")
    arms = ("--gate-base=replay:before#base", "--gate-tuned=replay:before")
    assert project.gate(*arms).ret == 0
    assert project.verdict()["comparability"]["status"] == ("proven" if known else "declared")

    path = suite.parent / "cases.jsonl"
    path.write_text(path.read_text("utf-8").replace('"q7"', '"q7 again"'), encoding="utf-8")
    assert project.gate(*arms).ret == 12
    assert "in 1 of 100 cases ('c007')" in project.verdict()["sentence"]


def test_a_run_of_recorded_files_keeps_their_prompts(project: Any) -> None:
    """Two runs, one of each arm's file: replayed against each other, the prompts are known."""
    project.suite()
    for name, arms in (("one", {"prompt": "1 shot"}), ("five", {"prompt": "5 shots"})):
        project.gate(*_replayed(project, base=arms, tuned=arms))
        project.run.rename(project.path / name)

    assert project.gate("--gate-base=replay:one#base", "--gate-tuned=replay:five").ret == 12
    assert "'1 shot'" in project.verdict()["sentence"]
    assert "'5 shots'" in project.verdict()["sentence"]


def test_trust_is_not_laundered_by_a_run(project: Any) -> None:
    """A file without prompts is replayed from its run against a live arm: still on trust."""
    project.suite()
    project.gate(*_replayed(project, base={}, tuned={}))
    project.run.rename(project.path / "before")
    base, _ = project.models()

    project.gate(base, "--gate-tuned=replay:before", "--gate-early-stop=off")

    assert "taken on trust" in project.verdict()["comparability"]["note"]
