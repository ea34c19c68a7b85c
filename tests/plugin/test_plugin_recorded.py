"""--gate-recorded: what production answered, beside base and tuned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


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
    """Production was always wrong, or its answer was not recorded: SHIP as without it."""
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
    """A metric that needs log-probabilities, which production has none of, is no obstacle."""
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
    """Only answers that are there already."""
    project.suite()

    result = project.gate(*project.models(), "--gate-recorded=out/adapter")

    assert result.ret == 4
    result.stderr.fnmatch_lines(
        ["*--gate-recorded='out/adapter' must be replay: and a file or run*"]
    )
