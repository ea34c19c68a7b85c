"""Gates on a tag: the same statistics on the cases of a slice, in the same verdict."""

from __future__ import annotations

from typing import Any

import pytest

from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.decision.verdict.decide import decide_run
from tunegate.harness.decision.verdict.deployment_parity import ParityEvidence, compare_shipped
from tunegate.harness.decision.verdict.incumbent_comparison import compare_incumbent
from tunegate.harness.records.gate_results import GateReason, GateStatus
from tunegate.harness.records.manifest import Gate, LookSchedule
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.verdict import Verdict
from tunegate.harness.stats.binary import deciding_interval

GAIN = Gate(metric="m", kind="gain", margin=0.0)
HELD = Gate(metric="m", kind="tolerance", margin=0.1)


def on(tag: str, gate: Gate) -> Gate:
    """Return a gate on the cases of a tag."""
    return gate.model_copy(update={"tag": tag})


def slices(columns: Any, made: Any, gates: list[Gate], /, **parts: Any) -> Any:
    """Return a suite of slices: tag → wins, losses, both right and both wrong of its cases."""
    base: list[float] = []
    tuned: list[float] = []
    tags: list[tuple[str, ...]] = []
    for tag, counts in parts.items():
        before, after = made.pairs(*counts)
        base, tuned, tags = base + before, tuned + after, tags + [(tag,)] * len(before)
    return columns(gates, {"m": (base, tuned)}, tags=tags)


def test_a_gate_on_a_tag_rests_on_its_cases(columns: Any, record_factory: Any, judge: Any) -> None:
    """30 wins and 10 losses of 100: n, levels and interval are those of the slice alone."""
    parts = {"a": (30, 10, 50, 10), "b": (0, 0, 50, 50)}
    verdict = judge(slices(columns, record_factory, [GAIN, on("a", GAIN)], **parts))
    pooled, gate = verdict.suites[0].gates
    expected = deciding_interval(30, 10, 100, confidence=0.90)

    assert (pooled.n, pooled.tag, pooled.id) == (200, None, "m::gain")
    assert (gate.n, gate.tag, gate.id) == (100, "a", "m::gain[a]")
    assert (gate.base, gate.tuned, gate.delta) == (0.6, 0.8, pytest.approx(0.2))
    assert (gate.low, gate.high) == pytest.approx((expected.low, expected.high), abs=1e-5)
    assert gate.sentence.startswith("m (tag a) rose 20.0 points, 60.0 → 80.0 %")
    assert "tag" not in pooled.model_dump()


def test_a_pooled_gain_does_not_ship_a_slice_that_lost(
    columns: Any, record_factory: Any, judge: Any
) -> None:
    """60 of 200 won and 40 of 100 lost: the mean gains, and the gate on the slice blocks."""
    parts = {"call": (60, 0, 140, 0), "no_call": (0, 40, 60, 0)}
    alone = judge(slices(columns, record_factory, [GAIN], **parts))
    gated = judge(slices(columns, record_factory, [GAIN, on("no_call", HELD)], **parts))

    assert alone.verdict is Verdict.SHIP
    assert gated.verdict is Verdict.BLOCK
    assert gated.suites[0].gates[1].reason is GateReason.REGRESSED
    assert gated.sentence.startswith("s: m (tag no_call) fell 100 → 60.0 %")


@pytest.mark.parametrize(("others", "proven"), [(2, True), (3, False)])
def test_slices_count_in_holms_family(
    columns: Any, record_factory: Any, judge: Any, others: int, proven: bool
) -> None:
    """5 losses, no win: mid-p 0.5^5 / 2 = 0.0156, times 3 hypotheses 0.0469, times 4 0.0625."""
    parts = {f"t{i}": (0, 5 * (i == 0), 95, 5) for i in range(others + 1)}
    suite = slices(columns, record_factory, [on(tag, GAIN) for tag in parts], **parts)
    first = judge(suite).suites[0].gates[0]

    assert (first.reason is GateReason.REGRESSED) is proven


def test_two_kinds_on_one_slice_are_one_hypothesis(
    columns: Any, record_factory: Any, judge: Any
) -> None:
    """A gain and a tolerance of the same tag ask about one loss: 0.0156 · 3 is proven."""
    parts = {f"t{i}": (0, 5 * (i == 0), 95, 5) for i in range(3)}
    gates = [on(tag, gate) for tag in parts for gate in (GAIN, HELD)]
    first = judge(slices(columns, record_factory, gates, **parts)).suites[0].gates[0]

    assert first.reason is GateReason.REGRESSED


@pytest.mark.parametrize(
    ("rule", "verdict"),
    [("primary", Verdict.UNDECIDED), ("all", Verdict.UNDECIDED), ("any", Verdict.SHIP)],
)
def test_a_gain_on_a_tag_is_a_goal_of_its_own(
    columns: Any, record_factory: Any, judge: Any, rule: str, verdict: Verdict
) -> None:
    """The first goal is on slice a, which does not change; slice b gains 40 of 100."""
    parts = {"a": (5, 5, 90, 0), "b": (40, 0, 60, 0)}
    suite = slices(columns, record_factory, [on("a", GAIN), on("b", GAIN)], **parts)
    suite.goal_rule = rule

    assert judge(suite).verdict is verdict


def _with_gaps(suite: Any, cases: range) -> Any:
    base, tuned = suite.columns["m"]
    suite.columns = {"m": (base, [None if i in cases else t for i, t in enumerate(tuned)])}
    return suite


def test_cases_outside_of_every_gated_slice_need_no_score(
    columns: Any, record_factory: Any, judge: Any
) -> None:
    parts = {"a": (40, 0, 60, 0), "b": (0, 0, 50, 0)}
    suite = _with_gaps(slices(columns, record_factory, [on("a", GAIN)], **parts), range(100, 125))
    result = judge(suite).suites[0]

    assert (result.verdict, result.worst_case) == (Verdict.SHIP, None)
    assert result.n_unscored == {"base": 0, "tuned": 0}
    assert (result.n_scored, result.unscored_reasons) == (100, {})


def test_a_slice_has_its_own_share_of_unscored_cases(
    columns: Any, record_factory: Any, judge: Any
) -> None:
    """3 of 150 are within the suite's 5 %, and 3 of the slice's 50 are not."""
    parts = {"a": (40, 0, 60, 0), "b": (0, 0, 50, 0)}
    suite = _with_gaps(
        slices(columns, record_factory, [GAIN, on("b", HELD)], **parts), range(100, 103)
    )
    result = judge(suite).suites[0]

    assert result.verdict is Verdict.ERROR
    assert result.gates[0].status is GateStatus.PASS
    assert result.gates[1].sentence == (
        "m (tag b): 3 of 50 cases of tuned are unscored, more than the 5 % that the suite allows "
        "(the judge timed out)"
    )
    assert result.unscored_reasons == {"the judge timed out": 3}


def test_the_worst_case_of_a_slice_is_its_own(
    columns: Any, record_factory: Any, judge: Any
) -> None:
    """2 of 50 unscored: 0 of 48 lost is within 0.1, 2 of 50 lost is not (upper limit .118)."""
    parts = {"a": (40, 0, 160, 0), "b": (0, 0, 50, 0)}
    suite = _with_gaps(
        slices(columns, record_factory, [GAIN, on("b", HELD)], **parts), range(200, 202)
    )
    result = judge(suite).suites[0]

    assert -deciding_interval(0, 2, 50, confidence=0.90).low > 0.1
    assert [gate.status.value for gate in result.gates] == ["pass", "pass"]
    assert (result.verdict, result.worst_case) == (Verdict.UNDECIDED, Verdict.UNDECIDED)


def _looked(suite: Any, record_factory: Any, seen: int) -> Any:
    """Return the verdict at a look that has seen the first cases of a suite in their order."""
    order = tuple(case.id for case in suite.cases())
    n = len(order)
    looks = LookSchedule(order=order, sizes=(seen, n), shares=(seen / n, 1.0))
    record = suite.record().model_copy(update={"looks": looks})
    manifest = record_factory.manifest([suite]).model_copy(update={"suites": (record,)})
    cases = {"s": suite.cases()}
    return decide_run(manifest, cases, suite.rows(), looks={"s": InterimLook(looks, 0)})


def test_a_slice_waits_for_its_first_look(columns: Any, record_factory: Any) -> None:
    """Of slice b 20 of 60 cases are in, and the suite's first look has 80: nothing is judged."""
    parts = {"a": (60, 0, 0, 0), "b": (0, 30, 30, 0)}
    gates = [on("b", HELD), on("b", Gate(metric="m", kind="floor", margin=0.9))]
    result = _looked(slices(columns, record_factory, gates, **parts), record_factory, 80).suites[0]

    assert [gate.status.value for gate in result.gates] == ["undecided", "undecided"]
    assert [gate.n for gate in result.gates] == [0, 0]
    assert result.gates[0].sentence == (
        "m (tag b): not judged yet: too few cases of the tag were asked so far"
    )
    assert result.verdict is Verdict.UNDECIDED


def test_a_slice_is_judged_at_the_level_of_its_own_look(columns: Any, record_factory: Any) -> None:
    """60 of 60 cases of slice a are in at the look at 80 of 120: its error is spent whole.

    The pooled gate is judged at the first of two looks, at a wider interval.
    """
    parts = {"a": (20, 0, 40, 0), "b": (0, 0, 60, 0)}
    result = _looked(
        slices(columns, record_factory, [GAIN, on("a", GAIN)], **parts), record_factory, 80
    ).suites[0]
    pooled, gate = result.gates
    expected = deciding_interval(20, 0, 60, confidence=0.90)

    assert pooled.method.endswith("look 1 of 2")
    assert gate.method.endswith("look 1 of 1")
    assert (gate.low, gate.high) == pytest.approx((expected.low, expected.high), abs=1e-5)


def _arm(name: str, suite: Any, values: list[float]) -> list[ScoreRow]:
    return [
        ScoreRow(suite="s", metric="m", case=case.id, arm=name, value=value)
        for case, value in zip(suite.cases(), values, strict=True)
    ]


def test_the_incumbent_is_compared_on_the_slice(columns: Any, record_factory: Any) -> None:
    """A goal on a tag guards the tag, though a tolerance holds on all cases."""
    parts = {"a": (40, 0, 60, 0), "b": (0, 0, 100, 0)}
    gates = [HELD, on("a", GAIN.model_copy(update={"margin": 0.1}))]
    suite = slices(columns, record_factory, gates, **parts)
    scores = [*suite.rows(), *_arm("incumbent", suite, suite.columns["m"][1])]
    found = compare_incumbent(record_factory.manifest([suite]), {"s": suite.cases()}, scores)

    assert [(g.id, g.margin, g.n) for g in found.suites[0].gates] == [
        ("m::tolerance", 0.1, 200),
        ("m::tolerance[a]", 0.1, 100),
    ]


def test_what_ships_is_compared_on_the_slice(columns: Any, record_factory: Any) -> None:
    """Pooled within the tolerance of .1, and 30 of the slice's 100 lost beyond its own of .05."""
    parts = {"a": (0, 0, 400, 0), "b": (0, 0, 100, 0)}
    gates = [HELD, on("b", HELD.model_copy(update={"margin": 0.05}))]
    suite = slices(columns, record_factory, gates, **parts)
    scores = [*suite.rows(), *_arm("shipped", suite, [1.0] * 470 + [0.0] * 30)]
    manifest = record_factory.manifest(
        [suite], arms={"tuned": {"spec": "t"}, "shipped": {"spec": "s"}}
    )
    found = compare_shipped(manifest, {"s": suite.cases()}, scores, ParityEvidence())
    pooled, part = found.suites[0].metrics

    assert (pooled.tag, pooled.margin, pooled.n, pooled.status.value) == (
        None,
        0.1,
        500,
        "equivalent",
    )
    assert (part.tag, part.margin, part.n, part.status.value) == ("b", 0.05, 100, "not_equivalent")
    assert part.sentence.startswith("m (tag b) is 100 % tuned and 70.0 % ")


def test_the_noise_floor_of_a_slice_is_that_of_its_suite(columns: Any, record_factory: Any) -> None:
    """Base asked again gains 50 of slice b's 100: slice a's gain of .4 may be arithmetic alone."""
    parts = {"a": (40, 0, 60, 0), "b": (0, 0, 50, 50)}
    suite = slices(columns, record_factory, [on("a", GAIN)], **parts)
    again = [
        ScoreRow(suite="s", metric="m", case=case.id, arm="base_again", value=1.0)
        for case in suite.cases()[100:]
    ]
    cases = {"s": suite.cases()}
    (exact,) = decide_run(record_factory.manifest([suite]), cases, suite.rows()).suites[0].gates
    (gate,) = (
        decide_run(record_factory.manifest([suite]), cases, [*suite.rows(), *again]).suites[0].gates
    )

    assert exact.status is GateStatus.PASS
    assert (gate.n, gate.noise_n, gate.noise) == (100, 100, 0.5)
    assert (gate.status, gate.reason) == (GateStatus.UNDECIDED, GateReason.WITHIN_NOISE)
