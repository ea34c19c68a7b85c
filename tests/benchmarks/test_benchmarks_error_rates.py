"""The benchmark of error rates on small numbers: its limits hold, and it can fail."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmarks.error_rates import __main__ as command
from benchmarks.error_rates import (
    binary,
    bounded,
    clusters,
    continuous,
    corpora,
    judged_runs,
    judges,
    looks,
    noise,
    plans,
    rules,
    runs,
)
from benchmarks.error_rates.table import Row, Settings, render, simulated, summary
from tunegate.harness.comparison import pairs
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.verdict import Verdict

SMALL = Settings(reps=150, seed=7, fast=True)


def too_high(rows: list[Row]) -> list[str]:
    """Return the rates above their limit by more than four of their standard errors."""
    return [
        f"{row.what}, n = {row.n}: {row.rate:.4f}"
        for row in rows
        if row.rate > max(row.limit, row.listed or 0.0) + 4 * row.error + 1e-12
    ]


class TestDefaults:
    """The gate's own rules keep their promises."""

    @pytest.mark.parametrize("margin", binary.MARGINS)
    @pytest.mark.parametrize("n", [10, 20, 50])
    def test_binary(self, margin: float, n: int) -> None:
        """Exact size at most .06, whatever the share of discordant pairs."""
        rate, share = binary.size(binary.proofs(n, margin, 0.90), margin)

        assert rate <= 0.06
        assert abs(margin) <= share <= 1

    def test_continuous(self) -> None:
        """Seven kinds of scores, both ends."""
        assert too_high(continuous.rows(SMALL)) == []

    def test_bounded(self) -> None:
        """Rare total failures at the margin, at one look and at several, exactly.

        60 cases prove .05 only without a failure: .95^60 = .0461. 50 never do: .95^50 = .0769.
        """
        found = bounded._at_the_margin(SMALL) + bounded._with_looks(SMALL)
        rates = {(row.what, row.n): row.rate for row in found}
        at = "rare failures, mean loss of the tolerance 0.05"

        assert too_high(found) == []
        assert rates[at, "60"] == pytest.approx(0.95**60)
        assert rates[at, "50"] == 0

    def test_corpora(self) -> None:
        """Corpus values through whole runs: long failures, and classes that hardly occur."""
        found = corpora._shipped(SMALL)

        assert too_high(found) == []
        assert {row.what.split(",")[0] for row in found} == {"false SHIP"}

    def test_relative_tolerances_of_judges(self) -> None:
        found = judged_runs.relative(SMALL)

        assert too_high(found) == []
        assert {row.n for row in found} == {"400", "1000"}

    def test_missing_scores_of_further_arms(self) -> None:
        """What is missing of the incumbent or of the artifact is what would speak against it."""
        assert too_high(noise.missing_further(SMALL)) == []

    def test_a_noise_floor_with_looks(self) -> None:
        small = Settings(reps=400, seed=7, fast=True)
        found = noise.looked_claims(small)

        assert too_high(found) == []
        assert {row.n for row in found} == {"400"}

    def test_clusters(self) -> None:
        """Few clusters, scores and 0/1."""
        assert too_high(clusters.rows(SMALL)) == []

    def test_runs(self) -> None:
        """False SHIPs and false alarms of whole runs."""
        found = runs.rows(SMALL)

        assert too_high(found) == []
        assert {row.n for row in found} == {str(runs.CASES)}

    def test_judges(self) -> None:
        """A judge that people's labels correct, at both ends."""
        assert too_high(judges.rows(SMALL)) == []

    def test_plans(self) -> None:
        """Planned chances of a pass lie within 3 points of the true ones."""
        assert too_high(plans.rows(SMALL)) == []

    def test_times(self) -> None:
        """A drifting machine, load that lasts and bursts make no latency claim."""
        assert too_high(noise.times(SMALL)) == []

    def test_arithmetic_moves_as_it_says(self) -> None:
        """Draws at base's own rate shift nothing; moved alike, tuned equals base asked again."""
        rng = np.random.default_rng(5)
        base = (rng.random(20_000) < noise.RIGHT).astype(np.float64)
        both_ways, alike, upwards, *_ = noise.NOISES
        tuned, again = alike.both(rng, base, base)

        assert abs((both_ways.moved(rng, base) - base).mean()) < 0.005
        assert abs((upwards.moved(rng, base) - base).mean() - 0.04) < 0.005
        assert (tuned == again).all()
        assert 0.03 < (tuned != base).mean() < 0.05

    def test_a_bias_of_arithmetic_would_ship_without_the_noise_floor(self) -> None:
        rng = np.random.default_rng(6)
        base = (rng.random(400) < noise.RIGHT).astype(np.float64)
        tuned, again = noise.NOISES[2].both(rng, base, base)
        gate = Gate(metric=rules.ZERO_ONE.name, kind="gain", margin=0.0)

        without = runs.verdict([runs.Gated(rules.ZERO_ONE, gate, (base, tuned))])
        beside = runs.verdict([runs.Gated(rules.ZERO_ONE, gate, (base, tuned, again))])

        assert (without, beside) == (Verdict.SHIP, Verdict.UNDECIDED)

    def test_looks(self) -> None:
        """Stopping early at the usual margins, at 100 planned cases; what it saves and costs."""
        plan = looks.plan(100, 0.0)
        rates = [looks.ever(plan, 0.0, share) for share in (0.05, 0.1, 0.3, 0.5)]

        assert max(rates) <= 0.06
        assert looks.ever(looks.plan(100, -0.05), -0.05, 0.1) <= 0.06
        assert looks.mean_share(looks.plan(200, 0.0), 0.2, 0.3) <= 0.45


class TestCanFail:
    """The benchmark notices a rule that errs too often."""

    def test_paired_t(self) -> None:
        """The t test lets a model pass that is worse by its tolerance: .105 at n = 50, a FAIL."""
        found = binary.rows(SMALL, rule=rules.paired_t)
        (row,) = [r for r in found if r.n == "50" and r.what.startswith("tolerance .05")]

        assert row.rate == pytest.approx(0.105, abs=5e-4)
        assert row.status == "FAIL"
        assert " FAIL" in render([row])

    def test_exit_code(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A FAIL in the table is exit code 1; the last line counts it."""
        assert command.main(["--only", "paired-t", "--fast"]) == 1
        assert "0 FAIL" not in capsys.readouterr().out.splitlines()[-1]

    def test_a_broken_guardrail_everywhere(self) -> None:
        rng = np.random.default_rng(1)
        ships = 0
        for _ in range(100):
            base, tuned = (c.tolist() for c in continuous.SCENARIOS[0].draw(rng, 20))
            ships += np.mean(tuned) > np.mean(base)

        assert Row("g", "w", "20", *simulated(int(ships), 100)).status == "FAIL"


class TestArithmetic:
    """What the benchmark itself computes."""

    @pytest.mark.parametrize(("difference", "share"), [(0.0, 0.3), (-0.05, 0.05), (0.1, 1.0)])
    def test_trinomial(self, difference: float, share: float) -> None:
        """The probabilities of wins and losses are scipy's."""
        n = 7
        table = binary.trinomial(n, difference, share)
        chances = [(share - difference) / 2, (share + difference) / 2, 1 - share]

        assert table.sum() == pytest.approx(1)
        assert table[2, 3] == pytest.approx(stats.multinomial.pmf([2, 3, 2], n, chances))
        assert table[5, 4] == 0

    @pytest.mark.parametrize(
        ("rule", "margin"),
        [(rules.gate, 0.0), (rules.gate, 0.05), (rules.gate, -0.05), (rules.refuted, 0.05)],
    )
    def test_every_sample(self, rule: rules.Rule, margin: float) -> None:
        """Following the turn from loss to loss finds the same samples as asking each of them."""

        def each(pairs: pairs.Pairs, margin: float, confidence: float) -> bool:
            return rule(pairs, margin, confidence)

        followed = binary.proofs(12, margin, 0.90, rule)

        assert followed.any()
        assert (followed == binary.proofs(12, margin, 0.90, each)).all()

    def test_one_look_is_the_fixed_design(self) -> None:
        plan = looks.plan(20, 0.0)

        assert plan.sizes == (20,)
        assert looks.ever(plan, 0.0, 0.4) == pytest.approx(
            binary.proof(binary.proofs(20, 0.0, 0.90), 0.0, 0.4)
        )

    def test_growing(self) -> None:
        """Two steps of cases are distributed like all of them at once."""
        nothing = np.zeros((33, 33), dtype=bool)
        plan = looks.LookPlan((15, 32), (nothing[:16, :16], nothing))
        alive = np.zeros((33, 33))
        alive[0, 0] = 1.0
        for step in (15, 17):
            alive = looks._grown(alive, binary.trinomial(step, 0.1, 0.4))

        assert alive == pytest.approx(binary.trinomial(32, 0.1, 0.4), abs=1e-12)
        assert looks.mean_share(plan, 0.1, 0.4) == 1

    @pytest.mark.parametrize("scenario", continuous.SCENARIOS, ids=lambda s: s.name)
    def test_truth(self, scenario: continuous.ContinuousScenario) -> None:
        """Each scenario's mean difference is what it says, and its scores are in range."""
        base, tuned = scenario.draw(np.random.default_rng(5), 200_000)
        error = (tuned - base).std() / 200_000**0.5

        assert (tuned - base).mean() == pytest.approx(scenario.truth, abs=4 * error)
        if scenario.metric.range is not None:
            assert 0 <= min(base.min(), tuned.min())
            assert max(base.max(), tuned.max()) <= 1

    @pytest.mark.parametrize("scenario", clusters.SCENARIOS, ids=lambda s: f"{s.name}, {s.sizes}")
    def test_clusters_correlate(self, scenario: clusters.Scenario) -> None:
        """Pairs of one cluster have the stated mean and correlation."""
        labels = np.repeat(np.arange(60_000), 2)
        values = scenario.draw(np.random.default_rng(5), labels, scenario.icc).reshape(-1, 2)

        assert values.mean() == pytest.approx(scenario.truth, abs=0.015)
        assert np.corrcoef(values.T)[0, 1] == pytest.approx(scenario.icc, abs=0.03)

    def test_the_broken_guardrail(self) -> None:
        """It is worse by its tolerance, as pass or fail and as a score; the others are better."""
        rng = np.random.default_rng(5)
        for kind in ("0/1", "score"):
            made = [runs._broken(rng, kind).scores for _ in range(2000)]
            worse = np.mean([tuned.mean() - base.mean() for base, tuned in made])
            assert worse == pytest.approx(-runs.TOLERANCE, abs=0.002)

    def test_a_clear_run_ships(self) -> None:
        """Goal and guardrails far beyond their bounds: SHIP, so that a broken one decides."""
        rng = np.random.default_rng(5)
        suite = [runs._goal(rng), *[runs._guardrail(rng, f"guard{i}") for i in range(4)]]

        assert runs.verdict(suite) is Verdict.SHIP


class TestTable:
    """Rows, their result and their print."""

    @pytest.mark.parametrize(
        ("rate", "error", "listed", "status"),
        [
            (0.06, 0.0, None, "ok"),
            (0.0601, 0.0, None, "FAIL"),
            (0.065, 0.003, None, "ok"),
            (0.08, 0.003, 0.088, "listed"),
            (0.1, 0.003, 0.088, "FAIL"),
        ],
    )
    def test_status(self, rate: float, error: float, listed: float | None, status: str) -> None:
        """Within two standard errors of the promise, of what is listed, or beyond both."""
        assert Row("g", "w", "10", rate, error, listed=listed).status == status

    def test_render(self) -> None:
        """Columns line up, an exact rate says so, notes come last; the summary counts."""
        rows = [
            Row("g", "short", "10", 0.05, note="a flag"),
            Row("g", "a longer name", "200", 0.5, 0.01),
        ]
        group, head, first, second = render(rows).splitlines()

        assert group == "g"
        assert head.index("result") == first.index("ok") == second.index("FAIL")
        assert " exact " in first
        assert first.endswith("a flag")
        assert summary(rows) == "2 rates: 1 ok, 0 listed as worse, 1 FAIL"

    def test_simulated(self) -> None:
        """No hit in 98 samples is not exact: (0 + 1)/(98 + 2) has the error √(.01·.99/98)."""
        assert simulated(0, 98) == (0.0, pytest.approx((0.01 * 0.99 / 98) ** 0.5))

    def test_seeds(self) -> None:
        """The same seed gives the same numbers, whatever else is measured; another one others."""
        one, same = Settings(seed=1).rng("a").random(), Settings(seed=1).rng("a").random()

        assert one == same
        assert Settings(seed=1).rng("b").random() != one
        assert Settings(seed=2).rng("a").random() != one
