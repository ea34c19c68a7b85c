"""The cells of slices: their populations are what they say, and clear runs end clearly."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.error_rates import __main__ as command
from benchmarks.error_rates import rules, slices
from benchmarks.error_rates.runs import flips
from benchmarks.error_rates.table import Settings
from tunegate.harness.records.verdict import Verdict


def cell(what: str) -> slices.SliceCell:
    """Return the first cell whose name begins so."""
    cells = (
        *slices._broken(False),
        *slices._goals(),
        *slices._families(False),
        *slices._losses(False),
    )
    return next(one for one in cells if one.what.startswith(what))


@pytest.mark.parametrize(
    "name",
    ["wins and losses", "losses only", "total failures of a score"],
)
def test_the_broken_slice_loses_its_tolerance(name: str) -> None:
    """Its mean difference is -0.1, and the rest gains: 0.5 - 0.02 of the cases."""
    found = cell(f"false SHIP, a slice worse by its tolerance, {name}")
    rng = np.random.default_rng(1)
    changes: dict[str, list[float]] = {"broken": [], "rest": []}
    for _ in range(300):
        (base, tuned), tags = found.draw(rng)
        for tag, change in zip(tags, tuned - base, strict=True):
            changes[tag].append(change)

    # 18,000 cases of the slice: standard errors of 0.002 to 0.003.
    assert np.mean(changes["broken"]) == pytest.approx(-slices.MARGIN, abs=0.01)
    assert np.mean(changes["rest"]) == pytest.approx(0.48, abs=0.01)
    assert [gate.tag for gate in found.gates] == [None, "broken"]


def test_a_slice_is_decided_apart_from_its_mean() -> None:
    """100 of 200 gained and 50 of 100 lost: SHIP without the slice's gate, BLOCK with it."""
    base, tuned = np.zeros(300), np.zeros(300)
    tuned[:100] = base[200:250] = 1.0
    tags = ["rest"] * 200 + ["broken"] * 100

    def verdict(*gates: slices.Gate) -> Verdict:
        return slices.decide(gates, rules.ZERO_ONE, (base, tuned), tags).verdict

    assert verdict(slices.GAIN) is Verdict.SHIP
    assert verdict(slices.GAIN, slices.HELD) is Verdict.BLOCK


def test_a_run_with_looks_ends_at_the_first_that_decides() -> None:
    """All of 300 cases gain: the first look of 32 ships, and later cases are not asked."""
    scores = np.zeros(300), np.ones(300)
    found = slices.decide((slices.GAIN,), rules.ZERO_ONE, scores, ["a", "b", "c"] * 100, looks=True)

    assert (found.verdict, found.suites[0].n_skipped_decided) == (Verdict.SHIP, 268)


def test_an_unchanged_slice_is_named_by_chance_only() -> None:
    """Nobody is named where nothing changed at all; one that lost all is discovered."""
    rng = np.random.default_rng(3)
    same, tags = flips(rng, 80, 0.0, 0.0), ["a", "b"] * 40
    (floor,) = cell("a slice said to have lost").gates
    base, tuned = same[0].copy(), same[1].copy()
    base[::2], tuned[::2] = 1.0, 0.0

    assert not slices._names_one(slices.decide((floor,), rules.ZERO_ONE, same, tags))
    assert slices._discovers_one(slices.decide((floor,), rules.ZERO_ONE, (base, tuned), tags))


def test_the_group_is_registered_and_the_oracle_is_a_z_test() -> None:
    """n = 100, 10 % discordant: z = 0.1 * 10 / sqrt(.1) - 1.645 = 1.517, of which 6.5 % miss."""
    assert slices._missed(100, 0.1) == pytest.approx(0.0646, abs=1e-3)
    assert command.GROUPS["slices"] == (slices.rows,)
    assert "slices" in command.DEFAULT


def test_cells_are_deterministic() -> None:
    """The same seed gives the same rate, whatever other cells ran."""
    one = cell("false REGRESSED, 5")

    assert one.row(Settings(reps=600)) == one.row(Settings(reps=600))
