"""`tunegate history`: a table and a page of a project's runs, whatever else lies beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tunegate.harness.cli import app
from tunegate.harness.records.errors import UnknownName, UsageError


def _history(*args: str) -> Any:
    """Run the command in this process; errors of ours pass through, as to `main`."""
    return CliRunner().invoke(app, ["history", *args], catch_exceptions=False)


@pytest.fixture
def judged(project: Any) -> Any:
    """Return a project with two runs, the second one shipped."""
    project.suite()
    for name, right in (("first", 32), ("second", 80)):
        project.pytest_here(
            "suites",
            f"--gate-run-dir=.tunegate/runs/{name}",
            f"--gate-base={project.model('base', 30)}",
            f"--gate-tuned={project.model(name, right)}",
            "--gate-early-stop=off",
        )
    CliRunner().invoke(app, ["promote", ".tunegate/runs/second"], catch_exceptions=False)
    return project


def test_table_and_page(judged: Any) -> None:
    """A row a run, what was shipped, how worn the suite is; folders of others are skipped."""
    Path(".tunegate/runs/notes").mkdir()

    output = _history().output
    rows = {line.split()[2]: line for line in output.splitlines() if line.startswith("  20")}

    assert output.startswith("demo: version ")
    assert "has judged 2 candidates" in output.splitlines()[0]
    assert "shipped" in rows["second"]
    assert "shipped" not in rows["first"]
    assert "exact_match +50.0 points (" in rows["second"]
    assert "skipped .tunegate/runs/notes: not a run" in output
    page = Path(".tunegate/history.html").read_text(encoding="utf-8")
    assert "▲ shipped" in page


def test_json_and_limits(judged: Any) -> None:
    """The newest only; the record reads back; no page is written."""
    found = json.loads(_history("demo", "--limit", "1", "--json").output)

    assert [run["run_id"] for run in found["runs"]] == ["second"]
    assert found["left_out"] == 1
    assert not Path(".tunegate/history.html").exists()
    assert json.loads(_history("--since", "2999-01-01", "--json").output)["runs"] == []


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        (("demo2",), UnknownName, "unknown suite in these runs 'demo2'; did you mean 'demo'"),
        (("--since", "yesterday"), UsageError, "--since yesterday: not a day"),
        (("--runs", "nowhere"), UsageError, "nowhere: no such folder"),
        (("-o", "base.json/x"), UsageError, "base.json/x: cannot be written"),
    ],
)
def test_mistakes_are_one_line(judged: Any, args: Any, error: Any, message: str) -> None:
    with pytest.raises(error) as refused:
        _history(*args)

    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_opened_sealed_suite_is_counted(project: Any) -> None:
    path = project.suite()
    path.write_text("sealed = true\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    project.pytest_here(
        "suites", "--gate-run-dir=.tunegate/runs/one", "--gate-open-sealed", *project.models()
    )

    assert "opened 1 time although sealed" in _history().output


def test_a_gate_is_told_by_what_it_is_about() -> None:
    """A share of severe drops of 0 is 0, not tuned's level beside it."""
    from tunegate.harness.cli.history import _gate
    from tunegate.harness.records.gate_results import GateResult, GateStatus

    facts = {"metric": "m", "status": GateStatus.PASS, "sentence": "", "method": "", "n": 9}
    numbers = {"tuned": 0.7, "share": 0.0, "margin": 0.1, "confidence": 0.9}

    drops = GateResult(kind="severe_drop", **facts, **numbers)
    floor = GateResult(kind="floor", **facts, **numbers | {"share": None})

    assert (_gate(drops), _gate(floor)) == ("m severe_drop 0 %", "m floor 0.7")
