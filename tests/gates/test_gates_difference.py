"""One gate: every status and reason, from scores written down by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta, binom, multinomial, norm

from tunegate.harness.comparison.delta import compare_scores, is_proven
from tunegate.harness.comparison.noise_floor import NoiseFloor
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.decision.gating.decide_all import decide_gate
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.gate_results import GateReason, GateResult, GateStatus
from tunegate.harness.records.manifest import Gate

FLOOR, CEILING, GAIN = "floor", "ceiling", "gain"
TOLERANCE, SEVERE_DROP = "tolerance", "severe_drop"
PASS, FAIL, UNDECIDED, _ = GateStatus

Decide = Callable[..., GateResult]


@pytest.fixture(name="gate")
def _gate(judge: Any, columns: Any, record_factory: Any) -> Decide:
    """Return a function that decides one gate on one metric `m` and returns its result."""

    def decide(
        kind: str,
        margin: float | str,
        pairs: tuple[list[float], list[float]],
        *,
        metric: dict[str, Any] | None = None,
        clusters: list[str] | None = None,
        extra: dict[str, Any] | None = None,
        **rule: Any,
    ) -> GateResult:
        suite = columns(
            gates=[Gate(metric="m", kind=kind, margin=margin, **rule)],
            columns={"m": pairs},
            metrics=[record_factory.metric(**(metric or {}))],
            clusters=clusters,
            extra=extra or {},
        )
        return judge(suite).suites[0].gates[0]

    return decide


CONTINUOUS = {"binary": False, "range": (0.0, 1.0)}


def outcome(result: GateResult) -> tuple[GateStatus, GateReason | None]:
    """Return status and reason."""
    return result.status, result.reason


@pytest.mark.parametrize(
    ("right", "expected"),
    [(90, (PASS, None)), (89, (FAIL, GateReason.BELOW_FLOOR))],
)
def test_an_observed_floor_compares_the_rate(
    gate: Decide, record_factory: Any, right: int, expected: tuple[Any, ...]
) -> None:
    """90 of 100 reach a floor of 0.9 and 89 do not; the interval is shown beside it."""
    result = gate(FLOOR, 0.9, record_factory.pairs(right, 0, 0, 100 - right))

    assert outcome(result) == expected
    assert result.tuned == right / 100
    assert result.method == "Clopper-Pearson"
    assert result.p_value is None


def test_a_floor_shows_the_exact_interval(gate: Decide, record_factory: Any) -> None:
    """47 of 50: the published Clopper-Pearson bounds 0.8522 and 0.9834."""
    result = gate(FLOOR, 0.9, record_factory.pairs(47, 0, 0, 3))

    assert (0.8522, 0.9834) == (round(result.low, 4), round(result.high, 4))


@pytest.mark.parametrize(
    ("n", "expected"), [(59, (PASS, None)), (58, (UNDECIDED, GateReason.UNDERPOWERED))]
)
def test_a_certified_floor_needs_the_lower_bound(
    gate: Decide, record_factory: Any, n: int, expected: tuple[Any, ...]
) -> None:
    """0.95 is certified by 59 of 59 (0.95^59 = 0.0485) and not by 58 of 58 (0.0510)."""
    result = gate(FLOOR, 0.95, record_factory.pairs(n, 0, 0, 0), floor_mode="certified")

    assert outcome(result) == expected


@pytest.mark.parametrize(
    ("right", "expected"),
    [
        # Upper limits of Clopper and Pearson: 90 of 100 leave .9447 possible, 91 leave .9521.
        (90, (FAIL, GateReason.BELOW_FLOOR)),
        (91, (UNDECIDED, GateReason.UNDERPOWERED)),
        (98, (UNDECIDED, GateReason.UNDERPOWERED)),
        (99, (PASS, None)),
    ],
)
def test_a_certified_floor_blocks_and_passes_on_proof_alone(
    gate: Decide, record_factory: Any, right: int, expected: Any
) -> None:
    result = gate(
        FLOOR, 0.95, record_factory.pairs(right, 0, 0, 100 - right), floor_mode="certified"
    )

    assert outcome(result) == expected


def test_a_certified_floor_that_is_missed_says_what_would_prove_it_broken(
    gate: Decide, record_factory: Any
) -> None:
    """At a true .93, 855 cases prove it in 4 of 5 runs, and more of them at a second attempt."""
    result = gate(FLOOR, 0.95, record_factory.pairs(93, 0, 0, 7), floor_mode="certified")

    assert result.status is UNDECIDED
    assert 855 <= (result.needed_n or 0) <= 2 * 855
    assert "is missed, but not proven broken; about" in result.sentence


def test_zero_tolerance_fails_on_one_case(gate: Decide, record_factory: Any) -> None:
    """One failure in 200 breaks it, none passes it."""
    assert (
        gate(FLOOR, 1.0, record_factory.pairs(199, 0, 0, 1), floor_mode="zero_tolerance").reason
        is GateReason.BELOW_FLOOR
    )
    assert (
        gate(FLOOR, 1.0, record_factory.pairs(200, 0, 0, 0), floor_mode="zero_tolerance").status
        is PASS
    )
    # The level of 0.995 is above the floor; the one failure breaks it all the same.
    lenient = gate(FLOOR, 0.9, record_factory.pairs(199, 0, 0, 1), floor_mode="zero_tolerance")
    assert lenient.reason is GateReason.BELOW_FLOOR


def test_a_ceiling_is_a_floor_upside_down(gate: Decide, record_factory: Any) -> None:
    """Loops in 5 of 100 meet a ceiling of 0.05, 6 do not, and one is one too many for none."""
    less = {"higher_is_better": False}

    assert gate(CEILING, 0.05, record_factory.pairs(5, 0, 0, 95), metric=less).status is PASS
    assert gate(CEILING, 0.05, record_factory.pairs(6, 0, 0, 94), metric=less).reason is (
        GateReason.ABOVE_CEILING
    )
    assert (
        gate(
            CEILING,
            0.0,
            record_factory.pairs(1, 0, 0, 99),
            metric=less,
            floor_mode="zero_tolerance",
        ).reason
        is GateReason.ABOVE_CEILING
    )
    # 59 of 59 without a loop certify at most 0.05, as for floors
    assert (
        gate(
            CEILING, 0.05, record_factory.pairs(0, 0, 0, 59), metric=less, floor_mode="certified"
        ).status
        is PASS
    )


@pytest.mark.parametrize("value", [0.1, 0.7, 0.9])
@pytest.mark.parametrize("n", [3, 10, 49, 1000])
def test_rounding_does_not_break_a_floor(gate: Decide, value: float, n: int) -> None:
    """A mean of equal scores is that score, though sum([0.1] * 10) / 10 is below 0.1."""
    scores = [value] * n

    assert gate(FLOOR, value, (scores, scores), metric={"binary": False}).status is PASS
    assert gate(CEILING, value, (scores, scores), metric={"binary": False}).status is PASS


def test_a_certified_floor_of_a_mean_score_is_guarded_by_its_range(gate: Decide) -> None:
    """Twenty scores of 0.9 certify no 0.8: the next ones may be 0, for all that was seen."""
    scores = [0.9] * 20
    result = gate(FLOOR, 0.8, (scores, scores), metric={"binary": False}, floor_mode="certified")

    assert outcome(result) == (UNDECIDED, GateReason.UNDERPOWERED)
    assert 0 <= result.low < 0.8 < result.high <= 1


def test_a_floor_on_clusters_is_certified_by_clusters(gate: Decide, record_factory: Any) -> None:
    """60 of 60 in ten clusters are worth ten cases, and those certify 0.95 no more."""
    labels = [str(i // 6) for i in range(60)]
    pairs = record_factory.pairs(60, 0, 0, 0)

    apart = gate(FLOOR, 0.95, pairs, floor_mode="certified")
    together = gate(FLOOR, 0.95, pairs, floor_mode="certified", clusters=labels)
    assert (PASS, UNDECIDED) == (apart.status, together.status)


@pytest.mark.parametrize(("clusters", "status"), [(58, UNDECIDED), (59, PASS)])
@pytest.mark.parametrize(("kind", "bound"), [(FLOOR, 0.95), (CEILING, 0.05)])
def test_flawless_clusters_certify_as_cases_do(
    gate: Decide, record_factory: Any, kind: str, bound: float, clusters: int, status: GateStatus
) -> None:
    """59 clusters of four certify 0.95 (0.95^59 = 0.0485), and 58 of them do not (0.0510)."""
    labels = [str(i // 4) for i in range(4 * clusters)]
    floor = kind == FLOOR
    pairs = (
        record_factory.pairs(4 * clusters, 0, 0, 0)
        if floor
        else record_factory.pairs(0, 0, 0, 4 * clusters)
    )
    metric = {"higher_is_better": floor}
    result = gate(kind, bound, pairs, metric=metric, floor_mode="certified", clusters=labels)

    assert result.status is status


def test_a_floor_on_clusters_is_planned_in_cases(gate: Decide, record_factory: Any) -> None:
    """Ten clusters of six, all right: 90 units certify 0.95 at 1 % (.95^90 < .01): 540 cases."""
    labels = [str(i // 6) for i in range(60)]
    pairs = record_factory.pairs(60, 0, 0, 0)

    assert gate(FLOOR, 0.95, pairs, floor_mode="certified", clusters=labels).needed_n == 540


@pytest.mark.parametrize("kind", [FLOOR, CEILING, GAIN, TOLERANCE])
@pytest.mark.parametrize("n", [0, 1])
def test_no_case_and_one_case_leave_every_gate_open(
    gate: Decide, record_factory: Any, kind: str, n: int
) -> None:
    """A flawless single case proves nothing, nor does an empty column."""
    result = gate(kind, 0.5, ([1.0] * n, [1.0] * n))

    assert outcome(result) == (UNDECIDED, GateReason.UNDERPOWERED)
    assert result.n == n
    assert result.needed_n is None


def test_zero_tolerance_needs_one_case_to_fail(gate: Decide) -> None:
    rule = {"floor_mode": "zero_tolerance"}

    assert gate(FLOOR, 1.0, ([1.0], [0.0]), **rule).status is FAIL
    assert gate(FLOOR, 1.0, ([1.0], [1.0]), **rule).status is UNDECIDED


def test_a_gain_passes_when_interval_and_test_clear_it(gate: Decide, record_factory: Any) -> None:
    """18 wins, 7 losses in 100: the lower bound 0.0291 clears 0.02, p = .0342 by Tango."""
    result = gate(GAIN, 0.02, record_factory.pairs(18, 7, 40, 35))

    assert outcome(result) == (PASS, None)
    assert result.delta == 0.11
    assert 0.0342 <= result.p_value <= 0.05


def test_a_gain_that_tango_alone_would_pass_stays_open(gate: Decide, record_factory: Any) -> None:
    """3 wins of 3 discordant pairs in 100: mid-p is 1/16 = 0.0625, so p < 0.05 fails."""
    result = gate(GAIN, 0.0, record_factory.pairs(3, 0, 97, 0))

    assert result.low == 0
    assert result.p_value == pytest.approx(0.0625)
    assert outcome(result) == (UNDECIDED, GateReason.UNDERPOWERED)
    assert result.method == "Tango score; McNemar mid-p"


def test_four_wins_are_the_fewest_that_prove_a_gain(gate: Decide, record_factory: Any) -> None:
    """4 wins and no loss: mid-p = 1/32 = 0.03125."""
    result = gate(GAIN, 0.0, record_factory.pairs(4, 0, 96, 0))

    assert result.status is PASS
    assert result.p_value == pytest.approx(0.03125)


def test_a_proven_loss_is_a_regression(gate: Decide, record_factory: Any) -> None:
    """Twenty losses in 100 fail a goal and a guardrail alike."""
    for kind, margin in ((GAIN, 0.02), (TOLERANCE, 0.05)):
        result = gate(kind, margin, record_factory.pairs(0, 20, 80, 0))
        assert outcome(result) == (FAIL, GateReason.REGRESSED)


@pytest.mark.parametrize(
    ("margin", "expected"),
    [
        (0.12, (PASS, GateReason.PASS_WITH_LOSS)),
        (0.061, (UNDECIDED, GateReason.LOSS_NOT_BOUNDED)),
        (0.06, (UNDECIDED, GateReason.LOSS_NOT_BOUNDED)),
        (0.059, (FAIL, GateReason.REGRESSED)),
        ("10%", (UNDECIDED, GateReason.LOSS_NOT_BOUNDED)),
        ("7%", (FAIL, GateReason.REGRESSED)),
    ],
)
def test_a_proven_loss_fails_a_tolerance_where_more_than_the_margin_was_lost(
    gate: Decide, record_factory: Any, margin: float | str, expected: tuple[Any, ...]
) -> None:
    """15 of 200 right answers lost and 3 won: 6 points of base's 80, which are 7.5 % of it."""
    result = gate(TOLERANCE, margin, record_factory.pairs(3, 15, 145, 37))

    assert outcome(result) == expected


def test_a_guardrail_can_hold_despite_a_proven_loss(gate: Decide, record_factory: Any) -> None:
    """2 % lost of 1000, tolerance 5 %: proven worse, and proven not to be worse by much."""
    result = gate(TOLERANCE, 0.05, record_factory.pairs(0, 20, 980, 0))

    assert result.high < 0
    assert outcome(result) == (PASS, GateReason.PASS_WITH_LOSS)


def test_a_lower_is_better_guardrail_reads_as_people_speak(
    gate: Decide, record_factory: Any
) -> None:
    """Twenty more loops in 100: the delta is +0.2, and it is a regression."""
    result = gate(
        TOLERANCE, 0.05, record_factory.pairs(20, 0, 0, 80), metric={"higher_is_better": False}
    )

    assert result.delta == 0.2
    assert 0 < result.low < 0.2 < result.high
    assert outcome(result) == (FAIL, GateReason.REGRESSED)


def test_hold_needs_a_written_expectation(gate: Decide, record_factory: Any) -> None:
    """1000 ties rule a gain of 0.05 out; without `expected_gain` nobody asked for that."""
    pairs = record_factory.pairs(5, 5, 990, 0)

    assert outcome(gate(GAIN, 0.02, pairs)) == (UNDECIDED, GateReason.UNDERPOWERED)
    assert outcome(gate(GAIN, 0.02, pairs, expected_gain=0.05)) == (
        FAIL, GateReason.NO_WORTHWHILE_GAIN,
    )  # fmt: skip
    # 30 pairs leave a gain of 0.05 possible
    assert outcome(gate(GAIN, 0.02, record_factory.pairs(1, 0, 29, 0), expected_gain=0.05)) == (
        UNDECIDED, GateReason.UNDERPOWERED,
    )  # fmt: skip


@pytest.mark.parametrize(("right", "sensitive"), [(100, False), (120, False), (160, True)])
def test_accuracy_at_chance_has_nothing_to_lose(
    gate: Decide, record_factory: Any, right: int, sensitive: bool
) -> None:
    """Base with 100 of 400 on four choices is guessing: holding on to that means nothing.

    With 120 it is above chance, 0.25, but not proven to be above it by the tolerated 0.05.
    """
    result = gate(
        TOLERANCE,
        0.05,
        record_factory.pairs(0, 0, right, 400 - right),
        metric={"needs": "choices"},
        extra={"choices": ("a", "b", "c", "d"), "answer": 0},
    )

    assert outcome(result) == ((PASS, None) if sensitive else (UNDECIDED, GateReason.INSENSITIVE))


@pytest.mark.parametrize(
    ("metric", "same", "margin", "sensitive"),
    [
        # Nothing right: nothing to lose. 12 of 128: exact lower limit .0548, above .05; 11: .0490.
        ({}, (0, 128), 0.05, False),
        ({}, (11, 117), 0.05, False),
        ({}, (12, 116), 0.05, True),
        ({}, (128, 0), 0.05, True),
        # Undeclared 0/1 scores are pass or fail too.
        ({"binary": False, "range": None}, (0, 128), 0.05, False),
        # Less is better: loops in all answers cannot become more; none can.
        ({"higher_is_better": False}, (128, 0), 0.05, False),
        ({"higher_is_better": False}, (117, 11), 0.05, False),
        ({"higher_is_better": False}, (0, 128), 0.05, True),
    ],
)
def test_a_base_at_the_worst_level_has_nothing_to_lose(
    gate: Decide,
    record_factory: Any,
    metric: dict[str, Any],
    same: tuple[int, int],
    margin: float,
    sensitive: bool,
) -> None:
    result = gate(TOLERANCE, margin, record_factory.pairs(0, 0, *same), metric=metric)

    assert outcome(result) == ((PASS, None) if sensitive else (UNDECIDED, GateReason.INSENSITIVE))


@pytest.mark.parametrize(("level", "sensitive"), [(0.0, False), (3.0, False), (20.0, True)])
def test_a_bounded_score_is_lost_down_to_its_end(
    gate: Decide, level: float, sensitive: bool
) -> None:
    """A score of 0 to 100 around 3 cannot show a loss of 5 points; around 20 it can."""
    base = [level + (level and wave) for wave in (-1, 1, -2, 2)] * 20
    metric = {"binary": False, "range": (0.0, 100.0)}
    result = gate(TOLERANCE, 5.0, (base, base[2:] + base[:2]), metric=metric)

    assert result.reason is (None if sensitive else GateReason.INSENSITIVE)


def test_an_unbounded_score_can_always_be_lost(gate: Decide) -> None:
    base = [-9.0, -11.0] * 100
    tuned = [-9.1, -10.9] * 100
    metric = {"binary": False, "range": None}

    assert gate(TOLERANCE, 0.5, (base, tuned), metric=metric).status is PASS


def test_clusters_say_less_of_base_than_cases(gate: Decide, record_factory: Any) -> None:
    """480 of 600 right, alone and as twelve of fifteen documents that are right as a whole.

    Chance .25, tolerance .5: base must be above .75. The exact lower limit of 480 of 600 is .771,
    that of 12 of 15 is .560.
    """
    extra = {"choices": ("a", "b", "c", "d"), "answer": 0}
    found = [
        gate(
            TOLERANCE,
            0.5,
            record_factory.pairs(0, 0, 480, 120),
            metric={"needs": "choices"},
            extra=extra,
            clusters=clusters,
        ).reason
        for clusters in (None, [str(i // 40) for i in range(600)])
    ]

    assert found == [None, GateReason.INSENSITIVE]


def test_a_proven_gain_holds_a_tolerance_from_any_base(gate: Decide, record_factory: Any) -> None:
    """A new task: base 2 of 100 right, tuned 90. Base had nothing to lose, and nothing is lost."""
    # 2 right by both, 88 wins, 10 wrong by both.
    assert outcome(gate(TOLERANCE, 0.05, record_factory.pairs(88, 0, 2, 10))) == (PASS, None)
    # 1 win more does not prove a gain: p = 1/2.
    assert gate(TOLERANCE, 0.05, record_factory.pairs(1, 0, 2, 97)).reason is GateReason.INSENSITIVE


def test_a_share_of_base_asks_that_base_is_above_the_worst_level(
    gate: Decide, record_factory: Any
) -> None:
    """Whatever the share, base must be proven to have it: at 0 of 400 it has none."""
    some, none = (
        gate(TOLERANCE, "60%", record_factory.pairs(0, 0, right, 400)) for right in (200, 0)
    )

    assert some.status is PASS
    assert none.status is UNDECIDED


def test_a_share_of_nothing_is_not_computable(gate: Decide, record_factory: Any) -> None:
    """Base right on 0 of 200: nothing may be lost of nothing. A proven gain has lost nothing."""
    none = gate(TOLERANCE, "10%", record_factory.pairs(1, 0, 0, 199))
    gain = gate(TOLERANCE, "10%", record_factory.pairs(30, 0, 0, 170))

    assert outcome(none) == (UNDECIDED, GateReason.NOT_COMPUTABLE)
    assert none.needed_n is None
    assert "share of base's level, which is 0" in none.sentence
    assert outcome(gain) == (PASS, None)


@pytest.mark.parametrize(("level", "expected"), [(1.8, UNDECIDED), (-1.8, UNDECIDED), (3.0, PASS)])
def test_a_share_of_a_level_near_0_is_not_computable(
    gate: Decide, record_factory: Any, level: float, expected: GateStatus
) -> None:
    """A reward model's scores around 0: if the level were 0, 1.8 standard errors are chance."""
    scores = norm.ppf((np.arange(200) + 0.5) / 200)
    base = (scores + level * scores.std(ddof=1) / math.sqrt(200)).tolist()
    found = gate(TOLERANCE, "50%", (base, base), metric={"binary": False, "range": None})

    assert found.status is expected
    if expected is UNDECIDED:
        assert found.reason is GateReason.NOT_COMPUTABLE
        assert "not proven to differ from 0" in found.sentence
    better = [value + 1 + (index % 2) for index, value in enumerate(base)]
    assert (
        gate(TOLERANCE, "50%", (base, better), metric={"binary": False, "range": None}).status
        is PASS
    )


def test_a_share_of_base_is_judged_by_the_ratio(gate: Decide, record_factory: Any) -> None:
    """2 losses among the 60 cases that base gets right do not prove a loss below a tenth.

    A model at the limit loses 2 of 60 or fewer in .0530 of runs, and 1 of 60 or none in .0138.
    """
    two = gate(TOLERANCE, "10%", record_factory.pairs(0, 2, 58, 40))
    one = gate(TOLERANCE, "10%", record_factory.pairs(0, 1, 59, 40))

    assert two.p_value == pytest.approx(0.0530, abs=5e-5)
    assert outcome(two) == (UNDECIDED, GateReason.UNDERPOWERED)
    assert one.status is PASS
    score = "paired ratio, score (Nam-Blackwelder)"
    assert two.method == f"{score}; exact at the estimated null (Storer-Kim)"


@pytest.mark.parametrize(("able", "reason"), [(0, GateReason.INSENSITIVE), (100, None)])
def test_severe_drops_take_a_height_to_drop_from(
    gate: Decide, able: int, reason: GateReason | None
) -> None:
    """Where no answer of base reaches .5, none can lose it, and the limit means nothing."""
    base = [0.9] * able + [0.1, 0.3] * ((100 - able) // 2)
    result = gate(SEVERE_DROP, 0.1, (base, base), metric=CONTINUOUS)

    assert result.reason is reason


@pytest.mark.parametrize("margin", ["2%", "5%"])
def test_a_relative_guardrail_shows_the_plain_difference(gate: Decide, margin: str) -> None:
    """Base 100 ± 1, tuned 3 lower with little noise: 2 % is a regression, 5 % holds."""
    noise = [0.3, -0.3, 0.1, -0.1] * 50
    base = [100 + x for x in noise]
    tuned = [97 + 2 * x for x in noise]
    result = gate(TOLERANCE, margin, (base, tuned), metric={"binary": False, "range": None})

    assert result.delta == -3
    assert result.margin == margin
    assert outcome(result) == (
        (FAIL, GateReason.REGRESSED) if margin == "2%" else (PASS, GateReason.PASS_WITH_LOSS)
    )


def test_the_cases_needed_are_those_of_the_plan(gate: Decide, record_factory: Any) -> None:
    """The expected gain of .1 and discordance .3: ((z√.3 + .842√.29)/.1)², z = 2.326 at .01.

    That is a fifth of the error: whoever adds cases judges the same candidate twice.
    """
    # n = 40: 8 wins, 4 losses, or 6 and 6: the discordance is 12/40, the difference does not matter
    results = [
        gate(GAIN, 0.0, record_factory.pairs(w, 12 - w, 20, 8), expected_gain=0.1) for w in (8, 6)
    ]

    by_hand = ((2.3263 * 0.3**0.5 + 0.8416 * 0.29**0.5) / 0.1) ** 2  # 298.8
    assert [r.status for r in results] == [UNDECIDED] * 2
    assert [r.needed_n for r in results] == [math.ceil(by_hand)] * 2


def test_no_cases_are_told_without_an_effect_to_hope_for(gate: Decide, record_factory: Any) -> None:
    """A gain without expected_gain, and a tolerance that shows a loss with 95 % confidence.

    The loss is not a proven regression if another metric of the run shares the error.
    """
    hopeful = gate(GAIN, 0.0, record_factory.pairs(8, 4, 20, 8))
    rule = Gate(metric="m", kind=TOLERANCE, margin=0.05)
    pairs = Pairs("s", record_factory.metric(), *map(tuple, record_factory.pairs(1, 6, 93, 0)))
    lossy = decide_gate(rule, pairs, regressed=False)

    assert (hopeful.status, hopeful.needed_n, hopeful.needed_most) == (UNDECIDED, None, None)
    assert (lossy.status, lossy.needed_n, lossy.needed_most) == (UNDECIDED, None, None)
    assert lossy.sentence.endswith("more cases are not expected to decide it")


def test_a_guardrail_is_not_planned_on_luck(gate: Decide, record_factory: Any) -> None:
    """With 5 wins and 5 losses in 100, and with 6 and 4, 2 points need what no difference needs.

    Margin 0.02 at discordance 0.1 takes 1578 cases at 5 %, and ((2.326 + .842)/(1.645 + .842))² =
    1.62 times as many at the fifth that a second chance has.
    """
    even = gate(TOLERANCE, 0.02, record_factory.pairs(5, 5, 90, 0))
    lucky = gate(TOLERANCE, 0.02, record_factory.pairs(6, 4, 90, 0))

    assert even.needed_n == lucky.needed_n == pytest.approx(1.623 * 1578, rel=0.005)


def test_the_cases_needed_of_a_mean_are_those_of_the_t_test(gate: Decide) -> None:
    """Effect/deviation 0.2 needs ((2.326 + .842)/.2)² = 250.9 cases at .01, and 3 for the t."""
    # Deviation: 200 pairs ±1 around .1 have sum of squares 200, so s = sqrt(200/199) = 1.00251
    unbounded = {"binary": False, "range": None}
    result = gate(
        GAIN, 0.0, ([0.0] * 200, [1.1, -0.9] * 100), metric=unbounded, expected_gain=0.2 * 1.00251
    )

    assert result.needed_n in (253, 254)


def test_nothing_is_promised_on_the_wrong_side(gate: Decide, record_factory: Any) -> None:
    """Where tuned looks worse than the margin, more cases would not prove it better."""
    assert gate(GAIN, 0.02, record_factory.pairs(4, 5, 30, 1)).needed_n is None


def test_the_cases_needed_to_certify_a_floor(gate: Decide, record_factory: Any) -> None:
    """All right so far: .95^90 < .01 certifies 0.95 at a fifth of the error."""
    result = gate(FLOOR, 0.95, record_factory.pairs(30, 0, 0, 0), floor_mode="certified")

    assert result.needed_n == 90


def test_a_stricter_gate_is_stricter_about_regressions_too(
    gate: Decide, record_factory: Any
) -> None:
    """8 losses and 1 win in 100: mid-p = (1 + 9/2)/512 = 0.0107, enough at 90 % and not at 99 %."""
    pairs = record_factory.pairs(1, 8, 91, 0)

    assert gate(GAIN, 0.02, pairs).reason is GateReason.REGRESSED
    assert gate(GAIN, 0.02, pairs, confidence=0.99).reason is GateReason.UNDERPOWERED


@pytest.mark.parametrize("size", [1e-90, 1e90])
def test_scores_of_any_size_are_judged(gate: Decide, size: float) -> None:
    tuned = [size * (1 + 0.1 * (-1) ** i) for i in range(200)]
    result = gate(GAIN, 0.0, ([0.0] * 200, tuned), metric={"binary": False, "range": None})

    assert result.status is PASS
    assert result.delta == size


def test_no_number_is_minus_zero(gate: Decide, record_factory: Any) -> None:
    """A lower-is-better tie turns 0 around; the file shows 0 and not -0."""
    result = gate(
        TOLERANCE, 0.9, record_factory.pairs(0, 0, 0, 40), metric={"higher_is_better": False}
    )

    assert "-0.0" not in (str(result.delta), str(result.base), str(result.tuned))


def test_operating_characteristics_of_one_cell(record_factory: Any) -> None:
    """n = 50, gain 0.02, true difference 0.10, discordance 0.2: interval and test ship .347.

    Exact enumeration over all (wins, losses) of a trinomial with P(win) = .15, P(loss) = .05.
    """
    law = multinomial(50, [0.15, 0.05, 0.80])
    ship = above = 0.0
    for wins, losses in product(range(2, 20), range(12)):
        mass = float(law.pmf([wins, losses, 50 - wins - losses]))
        if mass > 1e-6:
            base, tuned = record_factory.pairs(wins, losses, 50 - wins - losses, 0)
            delta = compare_scores(base, tuned, metric=record_factory.metric())
            above += mass * (delta.low > 0.02)
            ship += mass * is_proven(delta.pairs, 0.02, 0.90)

    assert ship == pytest.approx(0.347, abs=0.002)
    assert above == ship


def _asked_again(
    record_factory: Any, ups: int, downs: int, n: int, metric: Any = None
) -> NoiseFloor:
    """Return base against itself: so many cases newly right and newly wrong."""
    first, again = record_factory.pairs(ups, downs, n - ups - downs, 0)
    found = Pairs("s", metric or record_factory.metric(), base=tuple(first), tuned=tuple(again))
    return NoiseFloor(found)


@pytest.mark.parametrize(
    ("ups", "downs", "n", "status"),
    [
        (11, 11, 200, PASS),  # 11 % flip, more than the gain, but as many up as down
        (0, 0, 200, PASS),
        (22, 0, 200, UNDECIDED),  # arithmetic alone adds 0.11
        (0, 22, 200, PASS),
        (10, 0, 200, PASS),  # 0.1 - 0.05 - sqrt(0.0297^2 + 0.0319^2) = 0.0064
        (12, 0, 200, UNDECIDED),  # 0.1 - 0.06 - sqrt(0.0297^2 + 0.0339^2) = -0.0051
        (2, 1, 20, PASS),  # of so few the interval holds 0: nothing is known against them
        (5, 0, 20, UNDECIDED),  # but five of five upwards are known
    ],
)
def test_a_gain_must_clear_what_base_gains_on_itself(
    record_factory: Any, ups: int, downs: int, n: int, status: GateStatus
) -> None:
    """20 wins of 200 prove +0.1 [0.0703, 0.1404]; the far end of base again - base counts.

    Tango's 90 % interval of 22 ups of 200 is 0.11 [0.0787, 0.1517], of 11 each way ±0.0403, of 10
    ups 0.05 [0.0301, 0.0819] (roots of the score statistic whose nuisance parameter scipy's
    `minimize_scalar` finds).
    """
    base, tuned = record_factory.pairs(20, 0, 180, 0)
    pairs = Pairs("s", record_factory.metric(), base=tuple(base), tuned=tuple(tuned))
    noise = _asked_again(record_factory, ups, downs, n)

    result = decide_gate(
        Gate(metric="m", kind=GAIN, margin=0.0), pairs, regressed=False, noise=noise
    )

    assert result.status is status
    assert (result.noise, result.noise_n) == (pytest.approx((ups + downs) / n), n)
    if status is UNDECIDED:
        assert result.reason is GateReason.WITHIN_NOISE
        assert "inexact arithmetic alone" in result.sentence


def test_the_signed_difference_of_base_to_itself_is_recorded(record_factory: Any) -> None:
    """No flip in 200: the exact limit m solves (1 - m)^200 = .05, so it is 0.0148670."""
    base, tuned = record_factory.pairs(20, 0, 180, 0)
    pairs = Pairs("s", record_factory.metric(), base=tuple(base), tuned=tuple(tuned))

    result = decide_gate(
        Gate(metric="m", kind=GAIN, margin=0.0),
        pairs,
        regressed=False,
        noise=_asked_again(record_factory, 0, 0, 200),
    )

    assert (result.noise_low, result.noise_high) == pytest.approx((-0.0148670, 0.0148670), rel=1e-4)


@pytest.mark.parametrize(
    ("ups", "downs", "expected"),
    [
        (20, 20, (FAIL, GateReason.REGRESSED)),
        (0, 40, (UNDECIDED, GateReason.WITHIN_NOISE)),
        (40, 0, (FAIL, GateReason.REGRESSED)),
    ],
)
def test_a_regression_must_clear_what_base_loses_to_itself(
    record_factory: Any, ups: int, downs: int, expected: tuple[Any, ...]
) -> None:
    """50 wins and 120 losses of 2,000 are a loss of 0.035; base flips on 4 % of 1,000 cases."""
    base, tuned = record_factory.pairs(50, 120, 1830, 0)
    pairs = Pairs("s", record_factory.metric(), base=tuple(base), tuned=tuple(tuned))
    rule = Gate(metric="m", kind=TOLERANCE, margin=0.02)
    noise = _asked_again(record_factory, ups, downs, 1000)

    assert outcome(decide_gate(rule, pairs, regressed=True, noise=noise)) == expected


@pytest.mark.parametrize(
    ("ups", "downs", "status"),
    [
        (8, 8, PASS),
        (8, 0, UNDECIDED),
        (0, 8, PASS),
        (1, 0, PASS),  # one flip is chance
    ],
)
def test_a_tolerance_must_clear_what_base_gains_on_itself(
    record_factory: Any, ups: int, downs: int, status: GateStatus
) -> None:
    """20 wins and 24 losses of 400 are -.01 at best -.0376; two points less do not prove -.05."""
    base, tuned = record_factory.pairs(20, 24, 356, 0)
    pairs = Pairs("s", record_factory.metric(), base=tuple(base), tuned=tuple(tuned))
    rule = Gate(metric="m", kind=TOLERANCE, margin=0.05)
    noise = _asked_again(record_factory, ups, downs, 400)

    result = decide_gate(rule, pairs, regressed=False, noise=noise)

    assert result.status is status
    assert (result.reason is GateReason.WITHIN_NOISE) is (status is UNDECIDED)
    assert ("base asked again also scores better" in result.sentence) is (status is UNDECIDED)


def test_lower_is_better_is_cleared_the_other_way(record_factory: Any) -> None:
    """Errors fall by 0.1: what counts is how far they fall by themselves, not how far they rise."""
    metric = record_factory.metric(higher_is_better=False)
    base, tuned = record_factory.pairs(0, 20, 180, 0)
    pairs = Pairs("s", metric, base=tuple(base), tuned=tuple(tuned))
    rule = Gate(metric="m", kind=GAIN, margin=0.0)
    falling, rising = (
        _asked_again(record_factory, *flips, 200, metric) for flips in ((0, 22), (22, 0))
    )

    fell = decide_gate(rule, pairs, regressed=False, noise=falling)
    rose = decide_gate(rule, pairs, regressed=False, noise=rising)

    assert (fell.status, rose.status) == (UNDECIDED, PASS)
    assert fell.noise_high < 0 < rose.noise_low


def _drops(count: int, n: int, size: float = 0.6) -> tuple[list[float], list[float]]:
    """Return pairs: `count` lose `size` and the others win a little."""
    return [0.7] * n, [0.7 - size] * count + [0.75] * (n - count)


@pytest.mark.parametrize(
    ("count", "n", "expected"),
    [
        # Clopper-Pearson, one-sided 95 %: 0 of 29 stays under 0.10, 0 of 28 does not
        (0, 29, (PASS, None)),
        (0, 28, (UNDECIDED, GateReason.UNDERPOWERED)),
        (1, 46, (PASS, None)),
        (1, 45, (UNDECIDED, GateReason.UNDERPOWERED)),
        (20, 50, (FAIL, GateReason.SEVERE_DROPS)),
    ],
)
def test_severe_drops_are_counted_exactly(
    gate: Decide, count: int, n: int, expected: tuple[Any, ...]
) -> None:
    """At most a tenth of the cases may lose half the range; the mean gain does not excuse them."""
    result = gate(SEVERE_DROP, 0.1, _drops(count, n), metric=CONTINUOUS)
    exact = beta.ppf([0.05, 0.95], [max(count, 1), count + 1], [n - count + 1, n - count])

    assert outcome(result) == expected
    assert result.share == pytest.approx(count / n, rel=1e-5)
    assert result.drop == 0.5
    assert result.high == pytest.approx(exact[1], abs=1e-5)
    assert f"lost 50.0 points or more on {count} of {n} cases" in result.sentence


@pytest.mark.parametrize(("count", "needed"), [(8, 415), (5, None)])
def test_cases_that_prove_a_limit_broken_are_planned(
    record_factory: Any, count: int, needed: int | None
) -> None:
    """At 8 % the lower limit is above 5 % in 4 of 5 runs from 415 cases on (beta and binomial).

    At exactly 5 % no number of cases decides it.
    """
    rule = Gate(metric="m", kind=SEVERE_DROP, margin=0.05)
    base, tuned = _drops(count, 100)
    pairs = Pairs("s", record_factory.metric(**CONTINUOUS), tuple(base), tuple(tuned))
    found = decide_gate(rule, pairs, regressed=False, planned_confidence=0.9)

    assert found.status is UNDECIDED
    assert found.needed_n == needed
    assert ("not expected to decide it" in found.sentence) is (needed is None)


def test_a_drop_of_exactly_the_size_is_severe(gate: Decide) -> None:
    """0.7 - 0.6 leaves a loss of 0.6 give or take a rounding error; it counts at drop = 0.6."""
    result = gate(SEVERE_DROP, 0.1, _drops(20, 50), metric=CONTINUOUS, drop=0.6)
    beyond = gate(SEVERE_DROP, 0.1, _drops(20, 50), metric=CONTINUOUS, drop=0.61)

    assert (result.share, beyond.share) == (0.4, 0.0)


def test_the_cases_that_would_prove_the_limit(gate: Decide) -> None:
    """Without any drop, .9^44 < .01: 44 would prove a limit of a tenth at a fifth of the error."""
    result = gate(SEVERE_DROP, 0.1, _drops(0, 20), metric=CONTINUOUS)

    assert result.needed_n == 44


def test_too_many_drops_block(judge: Any, columns: Any, record_factory: Any) -> None:
    rule = Gate(metric="m", kind=SEVERE_DROP, margin=0.1)
    found = judge(columns([rule], {"m": _drops(20, 50)}, [record_factory.metric(**CONTINUOUS)]))

    assert found.verdict.value == "BLOCK"
    assert "the limit of 10 % on severe drops is broken" in found.sentence


@pytest.mark.parametrize(("gates", "status"), [(1, FAIL), (5, UNDECIDED)])
def test_severe_drops_of_many_metrics_share_the_error(
    judge: Any, columns: Any, record_factory: Any, gates: int, status: GateStatus
) -> None:
    """10 of 50 cases drop at a limit of a tenth: p = .0245, chance in one of five metrics."""
    names = [f"m{i}" for i in range(gates)]
    none = ([0.5 + 0.001 * i for i in range(50)],) * 2
    suite = columns(
        [Gate(metric=name, kind=SEVERE_DROP, margin=0.1) for name in names],
        dict.fromkeys(names, none) | {"m0": _drops(10, 50)},
        [record_factory.metric(name=name, **CONTINUOUS) for name in names],
    )
    result = judge(suite).suites[0].gates[0]

    assert binom.sf(9, 50, 0.1) == pytest.approx(0.0245, abs=1e-4)
    assert result.low > 0.1
    assert result.status is status
    assert ("not beyond chance among all gates" in result.sentence) is (status is UNDECIDED)


@pytest.mark.parametrize(("gates", "status"), [(1, FAIL), (5, UNDECIDED)])
def test_certified_floors_of_many_metrics_share_the_error(
    judge: Any, columns: Any, record_factory: Any, gates: int, status: GateStatus
) -> None:
    """84 of 100 right at a certified floor of .9: p = .0399, chance in one of five metrics."""
    names = [f"m{i}" for i in range(gates)]
    suite = columns(
        [Gate(metric=name, kind=FLOOR, margin=0.9, floor_mode="certified") for name in names],
        {
            name: record_factory.pairs(0, 0, 84 if name == "m0" else 90, 16 if name == "m0" else 10)
            for name in names
        },
        [record_factory.metric(name=name) for name in names],
    )
    result = judge(suite).suites[0].gates[0]

    assert binom.cdf(84, 100, 0.9) == pytest.approx(0.0399, abs=1e-4)
    assert result.high < 0.9
    assert result.status is status
    assert ("not beyond chance among all gates" in result.sentence) is (status is UNDECIDED)


@pytest.mark.parametrize("right", [60, 80, 84, 85, 95])
def test_the_refutation_of_a_certified_floor_is_exact(record_factory: Any, right: int) -> None:
    base, tuned = record_factory.pairs(0, 0, right, 100 - right)
    pairs = Pairs("s", record_factory.metric(), base=tuple(base), tuned=tuple(tuned))
    gate = Gate(metric="m", kind=FLOOR, margin=0.9, floor_mode="certified")
    exact = binom.cdf(right, 100, 0.9)
    found = gate_kind(FLOOR).refutation(gate, pairs)

    assert found == pytest.approx(1.0 if exact > 0.5 else max(exact, 1e-6), rel=0.011)


def test_severe_drops_in_clusters_are_refuted_by_clusters(
    judge: Any, columns: Any, record_factory: Any
) -> None:
    """Ten of 50 clusters drop as a whole: as ten of 50 cases."""
    base, tuned = (np.repeat(column, 3).tolist() for column in _drops(10, 50))
    suite = columns(
        [Gate(metric="m", kind=SEVERE_DROP, margin=0.1)],
        {"m": (base, tuned)},
        [record_factory.metric(**CONTINUOUS)],
        clusters=[str(i // 3) for i in range(150)],
    )

    assert judge(suite).suites[0].gates[0].status is FAIL


def test_ones_on_a_metric_without_bounds_are_planned_as_means(gate: Decide) -> None:
    """Every answer is one word long: no difference of 0/1 scores reaches a tolerance of 2."""
    length = {"binary": False, "range": None, "higher_is_better": False}

    result = gate(TOLERANCE, 2.0, ([1.0] * 50, [1.0] * 50), metric=length)

    assert (result.delta, result.needed_n) == (0.0, None)


class TestBlocks:
    """`blocks = false`: a tolerance that must be proven, and whose loss fails nothing."""

    SLIGHT = ([0.9, 0.7, 0.8, 0.6] * 25, [0.88, 0.72, 0.79, 0.6] * 25)
    LOST = ([0.9, 0.7, 0.8, 0.6] * 25, [0.3, 0.25, 0.2, 0.1] * 25)

    @pytest.mark.parametrize("margin", [0.1, "20%"])
    def test_a_proven_loss_is_undecided(self, gate: Decide, margin: float | str) -> None:
        """With a reason of its own; the same scores fail the plain gate."""
        plain = gate(TOLERANCE, margin, self.LOST, metric=CONTINUOUS)
        open_ = gate(TOLERANCE, margin, self.LOST, metric=CONTINUOUS, options={"blocks": False})

        assert outcome(plain) == (FAIL, GateReason.REGRESSED)
        assert outcome(open_) == (UNDECIDED, GateReason.LOSS_MAY_BE_STYLE)
        assert "blocks = false" in open_.sentence
        assert open_.needed_n is None

    @pytest.mark.parametrize("blocks", [True, False])
    def test_all_else_is_the_same(self, gate: Decide, blocks: bool) -> None:
        found = gate(TOLERANCE, 0.1, self.SLIGHT, metric=CONTINUOUS, options={"blocks": blocks})

        assert found.status is PASS
