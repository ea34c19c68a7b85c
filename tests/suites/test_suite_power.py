"""The bundled suites decide: a sound fine-tune ships, and no gate is advisory for lack of cases."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import pytest

from tunegate.harness.cli import init
from tunegate.harness.decision.planning.advisory_gates import advisory_notes, is_advisory
from tunegate.harness.decision.planning.ship_probability import SuitePlan, plan_suite
from tunegate.harness.decision.planning.unreachable_gates import unreachable_gates
from tunegate.harness.suite import Suite, load_suite

SUITES = Path(__file__).parents[2] / "suites"
GUARDS = (
    "charts",
    "code",
    "general_knowledge",
    "instruction_following",
    "long_context",
    "production",
    "refusals",
    "sql",
    "summaries",
    "tool_calls",
    "turns",
)
"""Suites without a goal: what a fine-tune for another task must not lose."""


@cache
def bundled(name: str) -> Suite:
    if name == "charts":
        pytest.importorskip("PIL")
    return load_suite(SUITES / name)


@cache
def forecast(name: str) -> SuitePlan:
    return plan_suite(bundled(name))


@pytest.mark.parametrize("name", sorted(path.parent.name for path in SUITES.glob("*/suite.toml")))
def test_the_cases_of_a_bundled_suite_can_prove_its_gates(name: str) -> None:
    suite = bundled(name)

    assert list(unreachable_gates(suite)) == []
    assert [gate.id for gate in suite.gates if is_advisory(suite, gate)] == []
    assert list(advisory_notes(suite, arms=())) == []


@pytest.mark.parametrize("name", GUARDS)
def test_an_unchanged_and_a_sound_fine_tune_ship_in_nine_runs_of_ten(name: str) -> None:
    unchanged, sound = forecast(name).chances

    assert unchanged > 0.99
    assert sound >= 0.9


def test_so_they_do_with_the_suites_that_init_copies_by_default() -> None:
    chances = [forecast(name).chances[1] for name in init.GUARDS]

    assert math.prod(chances) >= 0.9
