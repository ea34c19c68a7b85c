"""The cells of whole runs: their populations are what they say, and clear runs end clearly."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.error_rates import __main__ as command
from benchmarks.error_rates import rules, whole
from benchmarks.error_rates.runs import Column, Gated
from benchmarks.error_rates.table import Settings
from tunegate.harness.records.verdict import Verdict


def counted(wins: int, losses: int, n: int) -> Column:
    """Return 0/1 scores with so many wins and losses; the other cases are failed by both."""
    base = np.array([0.0] * wins + [1.0] * losses + [0.0] * (n - wins - losses))
    tuned = np.array([1.0] * wins + [0.0] * losses + [0.0] * (n - wins - losses))
    return base, tuned


def goal(wins: int, losses: int, n: int = 100, name: str = "goal") -> Gated:
    """Return a goal of more than 0."""
    return whole.gated(name, "gain", 0.0, counted(wins, losses, n), rules.ZERO_ONE)


class TestPopulations:
    """The cells draw what their names say."""

    @pytest.mark.parametrize("together", [True, False])
    def test_aligned_metrics(self, together: bool) -> None:
        """Both metrics have their chances; losses of one fall on losses, or wins, of the other."""
        rng = np.random.default_rng(1)
        drawn = [
            whole._aligned(rng, whole.HIGH, whole.WORSE, together=together) for _ in range(400)
        ]
        first, second = (
            np.concatenate([tuned - base for base, tuned in column])
            for column in zip(*drawn, strict=True)
        )

        # 40,000 cases: a chance of 0.5 has a standard error of 0.0025.
        for difference, (win, lose) in ((first, whole.HIGH), (second, whole.WORSE)):
            assert np.mean(difference > 0) == pytest.approx(win, abs=0.01)
            assert np.mean(difference < 0) == pytest.approx(lose, abs=0.01)
        # The goal loses 5 % and wins 50 %, the guardrail loses 10 %: all of it on the one side.
        shared = np.mean((second < 0) & (first < 0))
        assert shared == pytest.approx(0.05 if together else 0.0, abs=0.01)
        assert np.mean((second < 0) & (first > 0)) == pytest.approx(
            0.0 if together else 0.1, abs=0.01
        )

    def test_candidates_gain_nothing(self) -> None:
        """No candidate is better than base on average, and two of them are alike."""
        rng = np.random.default_rng(2)
        runs = [whole._tries(rng, 2) for _ in range(1000)]
        changes = np.array(
            [[np.subtract(*run["s"][0].scores[::-1]) for run in tries] for tries in runs]
        )
        first, second = changes[:, 0].ravel(), changes[:, 1].ravel()

        assert first.mean() == pytest.approx(0.0, abs=0.006)
        assert 0.1 < np.corrcoef(first, second)[0, 1] < 0.9


class TestClearRuns:
    """Runs that leave no doubt end as they must, so that a cell can err at all."""

    def test_every_suite_must_ship(self) -> None:
        """Two suites with 40 wins and 2 losses ship; a third without a change holds them back."""
        clear = {"a": [goal(40, 2)], "b": [goal(40, 2)]}

        assert whole.verdict(clear) is Verdict.SHIP
        assert whole.verdict({**clear, "c": [goal(10, 10)]}) is Verdict.UNDECIDED
        assert whole.verdict({**clear, "c": [goal(2, 40)]}) is Verdict.BLOCK

    def test_a_later_attempt_asks_for_more(self) -> None:
        """18 wins and 7 losses have p = .0145: enough at 5 %, not at 5 %/20."""
        run = {"s": [goal(18, 7)]}

        assert whole.verdict(run) is Verdict.SHIP
        assert whole.verdict(run, attempt=20) is Verdict.UNDECIDED

    def test_looks_end_a_run(self) -> None:
        """A clear gain ships and a clear loss blocks; without a change nothing is decided."""
        rng = np.random.default_rng(3)
        ends = {}
        for shift in (2.0, -2.0, 0.0):
            base = rng.normal(0, 1, whole.LOOKED)
            tuned = base + shift + np.tile([-1.0, 1.0], whole.LOOKED // 2)
            part = whole.gated("goal", "gain", 0.0, (base, tuned), rules.UNBOUNDED)
            ends[shift] = whole.looked_verdict([part], "any")

        assert ends == {2.0: Verdict.SHIP, -2.0: Verdict.BLOCK, 0.0: Verdict.UNDECIDED}

    def test_a_shipped_form(self) -> None:
        """Equal answers are equivalent; a loss of 20 of 200 cases is not."""
        n = whole.EQUIVALENT

        assert whole._is_equivalent(counted(0, 0, n), rules.ZERO_ONE)
        assert not whole._is_equivalent(counted(0, 20, n), rules.ZERO_ONE)

    def test_an_incumbent(self) -> None:
        """A tuned arm as good as the incumbent ships; one that loses 40 of 200 cases does not."""
        rng = np.random.default_rng(4)
        tuned = np.ones(200)
        today = np.ones(200)
        worse = np.where(np.arange(200) < 40, 0.0, 1.0)

        assert whole._beats_incumbent(rng, (today, tuned), rules.ZERO_ONE)
        assert not whole._beats_incumbent(rng, (today, worse), rules.ZERO_ONE)


class TestCells:
    """How a cell is measured."""

    @pytest.mark.parametrize(("errs", "status"), [(True, "FAIL"), (False, "ok")])
    def test_status(self, errs: bool, status: str) -> None:
        """A cell that always errs fails; at least 30 runs are simulated."""
        row = whole.RunCell("w", lambda rng: errs).row(Settings(reps=10))

        assert row.status == status
        assert row.rate == float(errs)
        # (hits + 1) / 32 runs: sqrt(31/32 * 1/32 / 30) whichever way.
        assert row.error == pytest.approx(0.0318, abs=1e-4)

    def test_limits_of_candidates(self) -> None:
        """Five candidates: 1 - .95^5 alone, .05 (1 + 1/2 + … + 1/5) by attempt, 6 % shared."""
        limits = [cell.limit for cell in whole._candidates(5)]

        assert limits == pytest.approx([0.2262, 0.1142, 0.06], abs=5e-5)

    def test_group(self) -> None:
        """The command measures the cells by default, each under a name of its own."""
        cells = [*whole._correlated(), *whole._suites(), *whole._looked(), *whole._arms()]

        assert "whole" in command.DEFAULT
        assert len({cell.what for cell in cells}) == len(cells)
