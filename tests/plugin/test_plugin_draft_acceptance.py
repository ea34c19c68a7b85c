"""Whole runs that gate how many drafted tokens a fine-tune accepts."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.drafting_servers import DraftingServer
from tests.fake_server import FakeServer

Start = Callable[..., FakeServer]
N = 60
SUITE = """\
name = "speed"
cases = "cases.jsonl"

[[metrics]]
use = "draft_acceptance"

[[gates]]
metric = "draft_acceptance"
{gate}
"""
RATIO, TOLERANCE = "ratio_at_least = 0.8", 'tolerance = "20%"'


def gate(
    project: Any,
    fake_server: Start,
    program: DraftingServer,
    *,
    gate: str = RATIO,
) -> tuple[int, dict[str, Any]]:
    """Gate base and tuned of a server by `tunegate gate`; return exit code and verdict."""
    fake = fake_server(**program.settings)
    cases = [{"id": f"c{i:02}", "prompt": f"q{i}"} for i in range(N)]
    project.raw_suite(SUITE.format(gate=gate), cases, "speed")
    specs = [f"--{arm}=server:{fake.url}#{arm}" for arm in ("base", "tuned")]
    result = project.tunegate("gate", "suites", *specs, "--run-dir", project.run)
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
    return result.ret, project.verdict()


def around(base: int, tuned: int) -> Callable[[str, str], int]:
    """Accept so many of 20 tokens, one more or less on two of three prompts."""

    def accepted(model: str, prompt: str) -> int:
        number = int(prompt[1:]) if prompt[1:].isdecimal() else 0
        return {"base": base, "tuned": tuned}[model] + (number % 3 - 1)

    return accepted


def result_of(verdict: dict[str, Any]) -> dict[str, Any]:
    """Return the only gate's result."""
    (suite,) = verdict["suites"]
    (result,) = suite["gates"]
    return dict(result)


@pytest.mark.parametrize("program", ["vLLM", "llama.cpp"])
def test_a_head_that_no_longer_fits_is_blocked(
    project: Any, fake_server: Start, program: str
) -> None:
    """Base accepts 13, 14 and 15 of 20 tokens (70 %), tuned 3, 4 and 5 (20 %).

    The ratio is the geometric mean of 3/13, 4/14 and 5/15: (60 / 2730) ^ (1/3) = 0.2801.
    """
    code, verdict = gate(project, fake_server, DraftingServer(program, around(14, 4)))

    assert (code, verdict["verdict"]) == (1, "BLOCK")
    result = result_of(verdict)
    assert (result["status"], result["reason"]) == ("fail", "bound_broken")
    assert result["estimate"] == pytest.approx(0.2801, abs=1e-4)


@pytest.mark.parametrize("rule", [RATIO, TOLERANCE])
def test_a_head_that_drafts_as_before_ships(project: Any, fake_server: Start, rule: str) -> None:
    """13, 14 and 15 tokens in another order: 14/13, 15/14 and 13/15 have a mean of 1."""

    def accepted(model: str, prompt: str) -> int:
        number = int(prompt[1:]) if prompt[1:].isdecimal() else 0
        return 13 + (number + (model == "tuned")) % 3

    code, verdict = gate(project, fake_server, DraftingServer("vLLM", accepted), gate=rule)

    result = result_of(verdict)
    assert (code, verdict["verdict"], result["status"]) == (0, "SHIP", "pass")
    assert result.get("estimate", 1.0) == pytest.approx(1.0)


def test_a_head_of_which_nothing_is_accepted_is_blocked_by_a_tolerance(
    project: Any, fake_server: Start
) -> None:
    """A share of 0 has no ratio, but a mean: 20 % of 0.7 may be lost, and all of it is."""
    program = DraftingServer("vLLM", lambda model, prompt: 14 if model == "base" else 0)

    code, verdict = gate(project, fake_server, program, gate=TOLERANCE)

    assert (code, verdict["verdict"]) == (1, "BLOCK")
    assert result_of(verdict)["delta"] == pytest.approx(-0.7)


def test_a_server_that_drafts_nothing_ends_in_error(project: Any, fake_server: Start) -> None:
    """Tuned was started without its head: no case is a zero, and the reason is in the records."""
    program = DraftingServer("llama.cpp", lambda model, prompt: 14 if model == "base" else None)

    code, verdict = gate(project, fake_server, program)

    assert (code, verdict["verdict"]) == (13, "ERROR")
    lines = (project.run / "scores.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if row["arm"] == "tuned"]
    assert [row.get("value") for row in rows] == [None] * N
    assert all(row["reason"].startswith("no draft_n in the reply's timings") for row in rows)
