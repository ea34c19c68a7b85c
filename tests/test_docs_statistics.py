"""Both pages on statistics: every figure that the code can compute is the one that they print."""

from __future__ import annotations

import math
import re
from functools import cache, partial
from pathlib import Path

import pytest

from benchmarks.error_rates import binary as rates
from benchmarks.error_rates import bounded, looks, rules
from tunegate.harness.stats import binary, group_sequential, paired_mean, power

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "statistics.md"
METHODS = ROOT / "docs" / "statistical-methods.md"


@cache
def text() -> str:
    """Return the pages on one line, with a plain minus sign."""
    both = "\n".join(page.read_text(encoding="utf-8") for page in (PAGE, METHODS))
    return re.sub(r"\s+", " ", both.replace("−", "-"))


def missing(*parts: str) -> list[str]:
    """Return those of the texts that no page holds."""
    return [part for part in parts if part not in text()]


def short(rate: float) -> str:
    """Return a rate below 1 with four digits and no zero in front."""
    return f"{rate:.4f}".removeprefix("0")


def test_the_example_by_hand() -> None:
    """53 + 22 + 18 + 7 cases: interval, tests at three bounds, and the cases that would decide."""
    interval = binary.deciding_interval(18, 7, 100)
    tango = binary.tango_interval(18, 7, 100)
    wide = binary.deciding_interval(18, 7, 100, confidence=0.95)
    zero, small, large = (binary.tango_test(18, 7, 100, margin=m) for m in (0.0, 0.02, 0.05))
    exact = binary.exact_at_estimate(18, 7, 100, margin=0.02).p_value
    needed = power.binary_sample_size(effect=0.11, discordance=0.25, margin=0.05).n

    assert not missing(
        "(53 + 7) / 100 = 0.60",
        "(53 + 18) / 100 = 0.71",
        "25 / 100 = 0.25",
        f"difference = 11 / 100 = {interval.estimate:+.2f}",
        f"11 / 5 = {zero.statistic:.1f}, above 1.645; p = {zero.p_value:.4f}",
        f"{interval.low:+.4f} to {interval.high:+.4f}",
        f"would be {tango.low:+.4f} to {tango.high:+.4f}",
        f"statistic {small.statistic:.3f}, p = {small.p_value:.4f}",
        f"The exact test gives {exact:.4f}",
        f"the lower end, {interval.low:.4f}, is not above it; p = {large.p_value:.3f}",
        f"about {needed} cases prove it",
        f"{interval.low:.4f} > -0.02",
        f"the interval is {wide.low:+.4f} to {wide.high:+.4f}",
    )
    assert max(small.p_value, exact) < 0.05 < large.p_value
    assert wide.low < 0.02 < interval.low < 0.05


def test_midp_by_hand() -> None:
    """The binomial sums of the second opinion."""
    weights = [math.comb(25, k) / 2**25 for k in range(26)]
    tail, point = sum(weights[18:]), weights[18]

    assert not missing(f"{tail:.4f} - {point:.4f} / 2 = {binary.mcnemar_midp(18, 7).p_value:.4f}")
    assert not missing(f"a probability of {tail:.4f}, and exactly 18 with {point:.4f}")
    assert tail - point / 2 == pytest.approx(binary.mcnemar_midp(18, 7).p_value)


def test_pairing() -> None:
    """Standard errors of .60 and .71 on 100 cases: separate, and paired with 25 changed."""
    separate = math.sqrt((0.60 * 0.40 + 0.71 * 0.29) / 100)
    together = math.sqrt((0.25 - 0.11**2) / 100)

    assert not missing(f"standard error of {separate:.3f}", f"one of {together:.3f}")
    assert not missing(f"{100 * (separate / together) ** 2:.0f} separate cases")


def test_not_significant_is_not_no_worse() -> None:
    """One win and four losses in 100 cases."""
    worse = binary.mcnemar_midp(4, 1).p_value
    interval = binary.deciding_interval(1, 4, 100)

    assert not missing(
        f'"worse than base" is {worse:.3f}', f"from {interval.low:.3f} to {interval.high:+.3f}"
    )
    assert interval.low < -0.07
    assert worse > 0.05


def test_cases_that_a_tolerance_needs() -> None:
    assert not missing(
        f"{power.smallest_provable_n(0.02)} cases are needed to prove a tolerance of 0.02, "
        f"and {power.smallest_provable_n(0.05)} for 0.05"
    )
    small, large = (
        power.binary_sample_size(effect=0.0, discordance=0.1, margin=m).n for m in (-0.02, -0.05)
    )
    assert not missing(f"with {small:,} cases at 0.02 and with {large} at 0.05")
    assert not missing(
        f"no disagreement in 100 cases gives ±{binary.deciding_interval(0, 0, 100).high:.3f}"
    )


@pytest.mark.parametrize(("margin", "n"), [(m, n) for m in (-0.02, -0.05) for n in (10, 20, 50)])
def test_t_test_against_the_gate(margin: float, n: int) -> None:
    textbook = rates.size(rates.proofs(n, margin, 0.90, rules.paired_t), margin)[0]
    ours = rates.size(rates.proofs(n, margin, 0.90), margin)[0]
    row = f"| {-margin:.2f} | {n} | {textbook:.2f} | {ours:.3f} |"

    assert not missing(row.replace(" 0.", " ."))


def test_small_figures() -> None:
    """Floors, false alarms, attempts."""
    assert not missing("59 of 59 cases must pass", "1.645")
    assert binary.clopper_pearson(59, 59).low > 0.95 > binary.clopper_pearson(58, 58).low
    assert not missing(f"a false alarm in {100 * (1 - 0.95**20):.0f} % of runs")
    assert not missing(
        f"up to {100 * (1 - 0.95**10):.0f} %; with twenty, {100 * (1 - 0.95**20):.0f} %"
    )


def test_limits_are_those_of_the_code() -> None:
    from tunegate.harness.comparison import corpus_level, estimator
    from tunegate.harness.decision.gating import judge_eligibility, tag_slices
    from tunegate.harness.decision.verdict.notes import COMFORTABLE_CLUSTERS
    from tunegate.harness.records.calibration import LEAST_PAIRS

    assert not missing(
        f"takes {paired_mean._HEAVY_TAILS} times the sample's skewness",
        f"Below {estimator.LEAST_UNBOUNDED} independent cases gates on the difference",
        f"prove nothing below {estimator.LEAST_UNBOUNDED} independent cases",
        f"fewer than {corpus_level.LEAST} cases the gates of such a metric are advisory",
        f"fewer than {estimator.FEW_CLUSTERS} clusters the gate is undecided",
        f"fewer than {COMFORTABLE_CLUSTERS} the report notes",
        f"if they have {tag_slices.ENOUGH} scored cases",
        f"all tags of the run at {100 * tag_slices.FALSE_SHARE:.0f} %",
        f"both answers of at least {LEAST_PAIRS} pairs",
    )
    heaviest = corpus_level.PairedCounts.__dataclass_fields__["heaviest"].default
    assert heaviest == 6
    assert not missing("answer of six times the mean weight", f"{3 * heaviest:.0f} · level")
    assert judge_eligibility.FARTHEST_SAMPLE == 4
    assert not missing("more than four standard errors")


def test_unseen_losses() -> None:
    """What a bounded score takes if nothing changes: ln(20) times range over margin, rounded up."""
    assert not missing("ln(20) · range / M", f"about {math.log(20):.1f} · range / M cases")
    units = [paired_mean.unseen_loss_units(-m, bound=1.0) for m in (0.02, 0.05)]
    assert not missing(f"{units[0]} for 0.02, {units[1]} for 0.05")
    for margin, n in zip((0.02, 0.05), units, strict=True):
        below, enough = (paired_mean.mean_interval([0.0] * k, bound=1.0) for k in (n - 1, n))
        assert below.low < -margin < enough.low


def test_clusters_count_as_cases() -> None:
    """The fewest clusters without a loss that prove a tolerance or certify a floor of 95 %."""
    from tunegate.harness.stats.clusters import clustered_rate_interval

    lows = {
        count: clustered_rate_interval([1] * 5 * count, [i // 5 for i in range(5 * count)]).low
        for count in (58, 59)
    }
    assert lows[58] < 0.95 <= lows[59]
    assert not missing("and a floor of 95 %, so take 59 clusters of equal size")


def test_exact_p_values_keep_the_promise() -> None:
    """52 unchanged cases do not prove a tolerance of 0.05, whose loss hides in .95^52 of runs."""
    # Of all n from 10 to 200 and both tolerances the worst, by `binary.between`.
    rate, _ = rates.size(rates.proofs(51, -0.05, 0.90), -0.05)

    assert not missing(f"pass or fail, 10 to 200 | {short(rate)}, exact |")
    assert not missing(f"shows no loss in {100 * 0.95**52:.1f} % of such runs")
    assert not missing(f"loss at all in {100 * 0.95**59:.1f} % of runs with 59")
    assert binary.tango_test(0, 0, 52, margin=-0.05).p_value < 0.05
    assert not rates.proofs(52, -0.05, 0.90)[0, 0]


def test_highest_exact_rates() -> None:
    """The worst cells of looks and of rare total failures, which the benchmark enumerates."""
    worst = looks.ever(looks.plan(200, -0.02), -0.02, 0.548)
    assert not missing(f"50, 100 or 200 planned | {short(worst)}, exact |")
    false = rates.size(rates.proofs(200, 0.05, 0.90, rules.refuted), 0.05)[0]
    assert not missing(f"in a test of your own, 10 to 200 | {short(false)}, exact |")
    held = rates.size(rates.proofs(52, -0.05, 0.90, rules.held), -0.05)[0]
    assert not missing(f"pass or fail, 16 to 200 | {short(held)}, exact |")
    # All other cases gain .05, which failures of 1/21 of the cases take.
    rate = bounded.error(partial(bounded.failures, 0.05, 0.0), 400, 0.05 / 1.05)
    assert not missing(f"50 to 400 | {short(rate)}, exact |")


def test_looks() -> None:
    """Where the looks come, their critical values, what they save and what they cost."""
    sizes = group_sequential.look_sizes(200)
    bounds = group_sequential.efficacy_bounds([size / 200 for size in sizes])
    plan, fixed = looks.plan(200, 0.0), rates.proofs(200, 0.0, 0.90)

    assert not missing(", ".join(map(str, sizes[:-1])) + f" and {sizes[-1]}")
    assert not missing(
        ", ".join(f"{b:.2f}" for b in bounds[:-1]) + f" and {bounds[-1]:.2f}, in place of 1.645"
    )
    assert not missing(f"{100 * looks.mean_share(plan, 0.2, 0.3):.0f} % of the cases are used")
    alone, looked = rates.proof(fixed, 0.1, 0.3), looks.ever(plan, 0.1, 0.3)
    assert not missing(f"the power falls from {alone:.3f} to {looked:.3f}")


def test_the_page_is_linked() -> None:
    page, methods = PAGE.read_text(encoding="utf-8"), METHODS.read_text(encoding="utf-8")
    anchors, others = _anchors(page), _anchors(methods)

    assert "](docs/statistics.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\(#([^)]+)\)", page)) - anchors == set()
    assert set(re.findall(r"\]\(statistical-methods\.md#([^)]+)\)", page)) - others == set()
    assert "tunegate help statistics" in (ROOT / "reports/templates/gates.html").read_text("utf-8")


def _anchors(page: str) -> set[str]:
    """Return the anchors of a page's sections."""
    headings = re.findall(r"^## (.+)$", page, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
