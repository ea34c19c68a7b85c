"""What ships beside what was judged: metrics, guards, and what the run may still end with."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tunegate.harness.decision.verdict.deployment_parity import ParityEvidence, compare_shipped
from tunegate.harness.records.files import record_json
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.parity import AnswerAgreement, DeploymentParity, PredictionDivergence
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.verdict import Verdict, VerdictRecord

ARMS = {
    "base": {"spec": "b"},
    "tuned": {"spec": "t", "adapter_sha256": "a", "stored": "float32"},
    "shipped": {"spec": "s", "stored": "bfloat16"},
}
YES, NO = 1.0, 0.0
GAIN = Gate(metric="m", kind="gain", margin=0.08)
HELD = Gate(metric="m", kind="tolerance", margin=0.05)


@pytest.fixture(name="ship")
def _ship(columns: Any, record_factory: Any, judge: Any, validator: Draft202012Validator) -> Any:
    """Judge base, tuned and shipped on 200 cases of one 0/1 metric; tuned gains 60 points."""

    def ship(
        shipped: list[float | None], *gates: Gate, tuned: list[float] | None = None, **more: Any
    ) -> tuple[VerdictRecord, DeploymentParity]:
        base = [YES] * 70 + [NO] * 130
        tuned = tuned or [YES] * 190 + [NO] * 10
        suite = columns(gates or [GAIN], {"m": (base, tuned)})
        rows = [
            ScoreRow(
                suite="s",
                metric="m",
                case=f"c{i:03}",
                arm="shipped",
                value=value,
                reason="HTTP 500" if value is None else None,
            )
            for i, value in enumerate(shipped)
        ]
        manifest = record_factory.manifest([suite], arms=ARMS)
        scores = [*suite.rows(), *rows]
        parity = compare_shipped(manifest, {"s": suite.cases()}, scores, ParityEvidence(**more))
        verdict = judge(suite, arms=ARMS).after("shipped", parity)
        validator.validate(json.loads(record_json(verdict)))
        return verdict, parity

    return ship


def test_the_same_scores_are_equivalent(ship: Any) -> None:
    """200 equal pairs bound the difference by ±(1 - .05^(1/200)) = ±0.0149: within half the
    gain.
    """
    verdict, parity = ship([YES] * 190 + [NO] * 10)
    [metric] = parity.suites[0].metrics

    assert (verdict.verdict, parity.verdict, parity.status) == ("SHIP", "SHIP", "equivalent")
    assert (metric.tuned, metric.shipped, metric.delta, metric.n) == (0.95, 0.95, 0.0, 200)
    assert metric.low == pytest.approx(-0.0148670, abs=1e-6)
    assert metric.high == pytest.approx(0.0148670, abs=1e-6)
    assert (metric.margin, metric.margin_from) == (0.04, "half the suite's gain")
    assert metric.sentence == (
        "m is 95.0 % in both (90 % CI −1.5 to +1.5) on 200 cases: within ±4 points (half the "
        "suite's gain)"
    )
    assert verdict.further_arms["shipped"].sentence == (
        "what ships is equivalent to tuned on 1 gated metric (the adapter merged into the "
        "weights, the weights stored as bfloat16)"
    )


def test_a_loss_beyond_the_margin_blocks(ship: Any) -> None:
    """The arm's sentence has all numbers and names the lossy step; tuned's own verdict stays."""
    verdict, parity = ship([YES] * 150 + [NO] * 50)

    assert (verdict.verdict, parity.status) == ("BLOCK", "not_equivalent")
    assert verdict.suites[0].verdict == "SHIP"
    assert verdict.sentence == (
        "what ships is not equivalent to tuned: s: m is 95.0 % tuned and 75.0 % shipped …"
    )
    assert "beyond ±4 points (half the suite's gain)" in parity.sentence
    assert parity.sentence.endswith(
        "between them: the adapter merged into the weights, the weights stored as bfloat16"
    )


def test_a_gain_beyond_the_margin_blocks_too(ship: Any) -> None:
    verdict, parity = ship([YES] * 200, tuned=[YES] * 120 + [NO] * 80)

    assert (verdict.verdict, parity.status) == ("BLOCK", "not_equivalent")


def test_few_scores_without_a_range_prove_nothing(columns: Any, record_factory: Any) -> None:
    """Sixty lengths within 0.02 of tuned's: a loss of 20 in one case of 100 is not among them.

    0.99^60 = .55 of such samples hold none, and it alone is the tolerance of 0.2. From 200 cases on
    they count, as for a gate.
    """
    found = {}
    for n in (60, 200):
        base = [float(i % 7) for i in range(n)]
        length = record_factory.metric(binary=False, range=None)
        suite = columns(
            [Gate(metric="m", kind="tolerance", margin=0.2)],
            {"m": (base, [value + 0.01 * (i % 3) for i, value in enumerate(base)])},
            metrics=[length],
        )
        rows = [
            ScoreRow(
                suite="s", metric="m", case=case.id, arm="shipped", value=base[i] + 0.01 * (i % 2)
            )
            for i, case in enumerate(suite.cases())
        ]
        manifest = record_factory.manifest([suite], arms=ARMS)
        found[n] = compare_shipped(
            manifest, {"s": suite.cases()}, [*suite.rows(), *rows], ParityEvidence()
        )

    assert [found[n].suites[0].metrics[0].advisory for n in (60, 200)] == [False, False]
    assert [found[n].verdict for n in (60, 200)] == [Verdict.UNDECIDED, Verdict.SHIP]


def test_too_little_evidence_is_undecided(ship: Any) -> None:
    """12 of 200 lost and 10 won: the interval reaches beyond 0.04, and does not lie beyond it."""
    verdict, parity = ship([NO] * 12 + [YES] * 188)
    [metric] = parity.suites[0].metrics

    assert (verdict.verdict, parity.status) == ("UNDECIDED", "undecided")
    assert metric.low is not None
    assert metric.low < -0.04 < metric.high
    assert verdict.sentence.startswith("whether what ships is equivalent to tuned is undecided: ")
    assert "about" in metric.sentence
    assert metric.needed_n is not None
    assert metric.needed_n > 200


def test_the_floor_is_put_to_shipped(ship: Any) -> None:
    """Three of 200 lost are no proven difference, but they break the floor that tuned held."""
    floor = Gate(metric="m", kind="floor", margin=0.94)
    verdict, parity = ship([YES] * 187 + [NO] * 13, GAIN, floor)
    [guard] = parity.suites[0].guards

    assert (verdict.verdict, parity.verdict, parity.status) == ("BLOCK", "BLOCK", "equivalent")
    assert (guard.kind, guard.status) == ("floor", "fail")
    assert verdict.sentence.startswith(
        "s: shipped: m of shipped is 93.5 % (90 % CI 89.9 to 96.1) on 200 cases: the floor of 94 % "
        "is broken"
    )


@pytest.mark.parametrize(
    ("unscored", "sentence"),
    [
        (11, "shipped: m: 11 of 200 cases of shipped are unscored, more than the 5 %"),
        (5, "shipped: m of shipped is 93.8 % (90 % CI 90.2 to 96.4) on 195 cases: that fails"),
    ],
)
def test_a_guard_with_unscored_cases_names_shipped(ship: Any, unscored: int, sentence: str) -> None:
    """183 of 195 are below the floor of 94 %; with the five unscored, 188 of 200 are not."""
    floor = Gate(metric="m", kind="floor", margin=0.94)
    right = 188 - unscored
    _, parity = ship([YES] * right + [NO] * 12 + [None] * unscored, floor)
    [guard] = parity.suites[0].guards

    assert guard.sentence.startswith(sentence)


def test_the_tolerance_is_put_to_shipped(ship: Any) -> None:
    _, parity = ship([YES] * 190 + [NO] * 10, HELD)
    [guard] = parity.suites[0].guards

    assert (guard.kind, guard.status) == ("tolerance", "pass")
    assert (guard.base, guard.tuned) == (0.35, 0.95)


def test_goals_are_not_asked_again(ship: Any) -> None:
    _, parity = ship([YES] * 190 + [NO] * 10)

    assert parity.suites[0].guards == ()
    assert parity.suites[0].guards_verdict is None


def test_too_much_unscored_is_an_error(ship: Any) -> None:
    """Eleven of 200 are more than the suite's 5 %: nothing is said about equivalence."""
    verdict, parity = ship([YES] * 189 + [None] * 11)

    assert (verdict.verdict, parity.status) == ("ERROR", "error")
    assert verdict.sentence == (
        "s: m: 11 cases of shipped are unscored, too many to compare it with tuned"
    )


def test_equivalence_must_not_hang_on_unscored_cases(ship: Any) -> None:
    """Eight of 200 without a score: equal on the rest, not if all eight went wrong."""
    answers: list[float | None] = [*[YES] * 190, *[NO] * 10]
    answers[:8] = [None] * 8
    verdict, parity = ship(answers)
    [metric] = parity.suites[0].metrics

    assert (verdict.verdict, parity.status) == ("UNDECIDED", "undecided")
    assert metric.n == 192
    assert "on the scored cases, but not if the unscored ones went wrong" in metric.sentence


def test_one_unscored_case_can_be_survived(ship: Any) -> None:
    """One failure in 200 stays within ±0.04 even as a loss."""
    answers: list[float | None] = [*[YES] * 190, *[NO] * 10]
    answers[0] = None

    assert ship(answers)[0].verdict == "SHIP"


def test_a_verdict_is_never_made_better(ship: Any) -> None:
    worse = [YES] * 30 + [NO] * 170
    verdict, parity = ship(worse, GAIN, tuned=worse)

    assert (verdict.verdict, parity.verdict) == ("BLOCK", "SHIP")
    assert verdict.sentence == "s: m fell 35.0 → 15.0 %, a proven loss where a gain was asked"


def test_a_suite_without_gates_has_no_say(columns: Any, record_factory: Any) -> None:
    suite = columns([], {"m": ([NO] * 60, [YES] * 60)})
    rows = [
        ScoreRow(suite="s", metric="m", case=f"c{i:03}", arm="shipped", value=YES)
        for i in range(60)
    ]
    manifest = record_factory.manifest([suite], arms=ARMS)
    parity = compare_shipped(
        manifest, {"s": suite.cases()}, [*suite.rows(), *rows], ParityEvidence()
    )

    assert parity.suites[0].metrics == ()
    assert parity.verdict is Verdict.UNDECIDED
    assert "no suite has a gated metric" in parity.sentence


def test_what_else_is_known_is_put_on_record(ship: Any) -> None:
    agreed = AnswerAgreement(answers=4, same=3, until=0.9)
    apart = PredictionDivergence(
        answers=4, tokens=40, kl=1e-3, logprob=-0.01, same_choice=0.99, until=0.95
    )
    _, parity = ship([YES] * 190 + [NO] * 10, agreement={"s": agreed}, divergence={"s": apart})

    assert parity.suites[0].agreement == agreed
    assert parity.suites[0].divergence == apart


def test_without_a_shipped_arm_there_is_no_field(
    judge: Any, columns: Any, record_factory: Any
) -> None:
    verdict = judge(columns([GAIN], {"m": record_factory.pairs(30, 0, 20, 10)}))

    assert "further_arms" not in json.loads(record_json(verdict))


@pytest.mark.parametrize("hidden", [YES, NO])
def test_equivalence_must_survive_missing_scores_either_way(ship: Any, hidden: float) -> None:
    """No change but for 8 of 200 answers that are missing: 4 % more wins, or losses, than shown.

    That is beyond the half gain of 0.04 in whichever direction they would count.
    """
    tuned = [YES] * 180 + [NO] * 20
    shipped: list[float | None] = list(tuned)
    for i in [i for i, value in enumerate(tuned) if value == 1 - hidden][:8]:
        shipped[i] = None
    verdict, parity = ship(shipped, tuned=tuned)

    assert parity.status == "undecided"
    assert verdict.verdict is Verdict.UNDECIDED


def test_missing_answers_of_shipped_do_not_remove_a_metric(
    columns: Any, record_factory: Any
) -> None:
    """199 of 205 lengths of shipped: one less than scores without a range take, and it counts."""
    length = record_factory.metric("length", binary=False, range=None, higher_is_better=False)
    gates = [HELD, Gate(metric="length", kind="tolerance", margin=5.0)]
    lengths, others = ([float(10 + (i + by) % 3) for i in range(205)] for by in (0, 1))
    right = [YES] * 205
    suite = columns(gates, {"m": (right, right), "length": (lengths, lengths)}, [length])
    rows = [
        ScoreRow(suite="s", metric=metric, case=f"c{i:03}", arm="shipped", value=value)
        for metric, known in (("m", right), ("length", [*others[:199], *[None] * 6]))
        for i, value in enumerate(known)
    ]
    manifest = record_factory.manifest([suite], arms=ARMS)
    scores = [*suite.rows(), *rows]
    parity = compare_shipped(manifest, {"s": suite.cases()}, scores, ParityEvidence())
    second, first = parity.suites[0].metrics

    assert (second.metric, second.status, second.advisory) == ("length", "undecided", False)
    assert (first.metric, first.status) == ("m", "equivalent")
    assert parity.verdict is Verdict.UNDECIDED
    assert [(g.metric, g.status) for g in parity.suites[0].guards] == [
        ("m", "pass"),
        ("length", "undecided"),
    ]
