"""What a judge must have shown before a gate may rest on it."""

from __future__ import annotations

from typing import Any

import pytest

from tunegate.harness.decision.answer_facts.answer_counts import AnswerCounts
from tunegate.harness.decision.verdict.decide import decide_run
from tunegate.harness.decision.verdict.deployment_parity import ParityEvidence, compare_shipped
from tunegate.harness.decision.verdict.evidence_gaps import _advisory_losses
from tunegate.harness.decision.verdict.incumbent_comparison import compare_incumbent
from tunegate.harness.records.calibration import (
    ArmErrors,
    Calibration,
    CanaryResult,
    LabelledPair,
    RateEstimate,
    answers_hash,
)
from tunegate.harness.records.gate_results import GateReason, GateResult, GateStatus
from tunegate.harness.records.labels import Label
from tunegate.harness.records.manifest import Gate, JudgeRecord, SuiteRecord
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.verdict import Verdict


def rate(estimate: float, low: float, high: float, n: int = 120) -> RateEstimate:
    """Return an estimate with its interval."""
    return RateEstimate(estimate=estimate, low=low, high=high, n=n)


def labelled_pairs(*rows: tuple[float, float, float, float, int]) -> tuple[LabelledPair, ...]:
    """Return pairs: base's and tuned's label, the judge's scores of them, and how many."""
    names = ("base_label", "tuned_label", "base_score", "tuned_score", "n")
    return tuple(LabelledPair(**dict(zip(names, row, strict=True))) for row in rows)


PAIRS = labelled_pairs((0, 1, 0, 1, 40), (1, 0, 1, 0, 20), (1, 1, 1, 1, 58), (0, 0, 0, 1, 2))
"""120 pairs; the judge calls two of tuned's bad answers good, so that it errs by 2/120."""


def calibration(**changes: Any) -> Calibration:
    """Return the calibration of a good judge, or one with the given changes."""
    good = ArmErrors(n=120, sensitivity=rate(0.95, 0.9, 0.98), specificity=rate(0.9, 0.85, 0.95))
    given: dict[str, Any] = {
        "metric": "tone",
        "judge": {"spec": "scripted:judge.json"},
        "binding": "b",
        "labels": "labels.jsonl",
        "labels_sha256": "l",
        "good_from": 0.5,
        "n_labels": 240,
        "n_unscored": 0,
        "agreement": rate(0.93, 0.9, 0.95),
        "baseline": 0.6,
        "balanced_accuracy": rate(0.92, 0.9, 0.95),
        "kappa": rate(0.84, 0.78, 0.9),
        "arms": {"base": good, "tuned": good},
        "differential": rate(0.01, -0.02, 0.04),
        "pairs": PAIRS,
        "answers": {},
        "canaries": CanaryResult(asked=4, attacks=24),
    }
    return Calibration(**(given | changes))


@pytest.fixture(name="tone")
def _tone(columns: Any, record_factory: Any) -> Any:
    """Return a function that makes a suite whose one metric asks a judge; 70 wins of 200."""

    def make(
        known: Calibration | None,
        *gates: Gate,
        scores: tuple[int, int, int, int] = (70, 10, 60, 60),
    ) -> Any:
        judge = JudgeRecord(name="rubric", prompt_sha256="p", calibration=known)
        return columns(
            gates or [Gate(metric="tone", kind="gain", margin=0.1)],
            {"tone": record_factory.pairs(*scores)},
            metrics=[record_factory.metric("tone", judge=judge, binary=False)],
        )

    return make


def labels(truth: dict[int, tuple[float, float]]) -> list[Label]:
    """Return labels: number of the case → base's and tuned's."""
    return [
        Label(suite="s", metric="tone", id=f"c{at:03}", arm=arm, completion="x", label=value)
        for at, pair in truth.items()
        for arm, value in zip(("base", "tuned"), pair, strict=True)
    ]


def decided(suite: Any, record_factory: Any, said: list[Label]) -> Any:
    """Return the verdict of one suite with labels."""
    manifest = record_factory.manifest([suite])
    return decide_run(manifest, {"s": suite.cases()}, suite.rows(), labels=said)


def test_without_calibration_nothing_is_decided(judge: Any, tone: Any) -> None:
    """A gain that a rule's metric would ship is shown and stays UNDECIDED, with the reason."""
    verdict = judge(tone(None))
    (gate,) = verdict.suites[0].gates

    assert verdict.verdict is Verdict.UNDECIDED
    assert (gate.status, gate.advisory) == (GateStatus.PASS, True)
    assert "never calibrated" in gate.judge_basis
    assert "tone: advisory: the judge was never calibrated" in verdict.sentence


def test_what_is_taken_on_trust_does_not_hide_why_nothing_is_decided(
    tone: Any, record_factory: Any
) -> None:
    suite = tone(None)
    trust = {"status": "declared", "on_trust": 5, "note": "prompts taken on trust"}
    manifest = record_factory.manifest([suite]).model_copy(update={"comparability": trust})
    verdict = decide_run(manifest, {"s": suite.cases()}, suite.rows())

    assert "never calibrated" in verdict.sentence
    assert "s: prompts taken on trust" in verdict.suites[0].notes


def test_a_regression_seen_by_an_uncalibrated_judge_does_not_block(judge: Any, tone: Any) -> None:
    gates = [Gate(metric="tone", kind="tolerance", margin=0.05)]
    verdict = judge(tone(None, *gates, scores=(10, 70, 60, 60)))

    assert verdict.suites[0].gates[0].reason is GateReason.REGRESSED
    assert verdict.verdict is Verdict.UNDECIDED


def test_a_metric_that_only_hints_never_decides(
    columns: Any, record_factory: Any, judge: Any
) -> None:
    """A loss of 60 of 200 that a measured metric would block on, and its mirror image."""
    hint = record_factory.metric("hint", indicative=True)
    gate = Gate(metric="hint", kind="tolerance", margin=0.05)
    lost, won = ((0, 60, 60, 80), (60, 0, 60, 80))
    for scores in (lost, won):
        verdict = judge(columns([gate], {"hint": record_factory.pairs(*scores)}, metrics=[hint]))
        (result,) = verdict.suites[0].gates

        assert verdict.verdict is Verdict.UNDECIDED
        assert result.advisory
        assert result.judge_basis.startswith("it is a hint")


@pytest.mark.parametrize(
    ("changed", "labelled", "counts", "why"),
    [
        (0, 100, True, "the judge agrees with people"),
        # The differential error is within .04: of a margin of .15 half is .075, of .1 half is .05.
        (3, 100, True, "the judge agrees with people"),
        (4, 100, False, "4 of 100 labelled pairs have other answers in this run"),
        (100, 100, False, "100 of 100 labelled pairs have other answers in this run"),
        (0, 0, False, "none of the labelled cases is in this run"),
    ],
)
def test_a_calibration_is_bound_to_the_answers_that_were_labelled(
    tone: Any, record_factory: Any, changed: int, labelled: int, *, counts: bool, why: str
) -> None:
    """A worse candidate's losses may be of a kind that the judge overlooks."""
    known = {f"c{i:03}": answers_hash(f"base {i}", f"tuned {i}") for i in range(labelled)}
    suite = tone(calibration(answers=known), Gate(metric="tone", kind="gain", margin=0.15))
    now = {
        f"c{i:03}": answers_hash(f"base {i}", f"{'other' if i < changed else 'tuned'} {i}")
        for i in range(200)
    }
    given = {"s": AnswerCounts(hashes=now)}
    run = (record_factory.manifest([suite]), {"s": suite.cases()}, suite.rows())
    (gate,) = decide_run(*run, answers=given).suites[0].gates

    assert gate.advisory is not counts
    assert why in gate.judge_basis


@pytest.mark.parametrize(
    ("labelled", "said"),
    [
        (range(0, 200, 2), ""),
        # the first 60: places 1 to 60 of 200; base is right on 10 of them, and on 60 of the others
        (range(60), "the mean place in the suite is 30.5 on them and 130 on the others"),
        # base is right on cases 70 to 139, so on all of these 40, and on 30 of the other 160
        ([*range(86, 106), *range(96, 116)], "the mean judged score of base is 1 on them and"),
    ],
)
def test_labels_of_chosen_answers_are_told(
    tone: Any, record_factory: Any, labelled: Any, said: str
) -> None:
    """Early or easy ones: the calibration still counts, and its line says what it rests on."""
    now = {f"c{i:03}": answers_hash(f"base {i}", f"tuned {i}") for i in range(200)}
    known = calibration(answers={f"c{i:03}": now[f"c{i:03}"] for i in labelled})
    suite = tone(known, Gate(metric="tone", kind="gain", margin=0.15))
    run = (record_factory.manifest([suite]), {"s": suite.cases()}, suite.rows())
    (gate,) = decide_run(*run, answers={"s": AnswerCounts(hashes=now)}).suites[0].gates

    assert not gate.advisory
    assert (("not a random sample" in gate.judge_basis), said in gate.judge_basis) == (
        bool(said),
        True,
    )


def test_the_labels_of_this_run_need_no_answers_of_the_calibration(
    tone: Any, record_factory: Any
) -> None:
    suite = tone(calibration(answers={"c000": "other"}))
    said = labels({at: ((0.0, 1.0) if at < 35 else (1.0, 1.0)) for at in range(0, 200, 2)})
    run = (record_factory.manifest([suite]), {"s": suite.cases()}, suite.rows())
    given = {"s": AnswerCounts(hashes={f"c{at:03}": "this" for at in range(200)})}

    assert decide_run(*run, answers=given).suites[0].gates[0].advisory
    assert not decide_run(*run, answers=given, labels=said).suites[0].gates[0].advisory


def test_a_good_judge_gates(judge: Any, tone: Any) -> None:
    """kappa .84 [.78, .90], differential error [-.02, .04] within ±.05, half the gain of .1."""
    verdict = judge(tone(calibration()))
    (gate,) = verdict.suites[0].gates

    assert verdict.verdict is Verdict.SHIP
    assert not gate.advisory
    assert "kappa 0.84" in gate.judge_basis
    assert verdict.suites[0].notes[0].startswith("s: tone: the judge agrees with people")


GOOD_JUDGE = JudgeRecord(name="rubric", prompt_sha256="p", calibration=calibration())


@pytest.mark.parametrize(
    ("asked", "content", "verdict"),
    [
        (GOOD_JUDGE, ("tone",), Verdict.SHIP),
        (GOOD_JUDGE, None, Verdict.UNDECIDED),
        (None, ("tone",), Verdict.UNDECIDED),
    ],
)
def test_a_hint_yields_to_a_judge_of_content_that_counts(
    columns: Any,
    record_factory: Any,
    asked: JudgeRecord | None,
    content: tuple[str, ...] | None,
    verdict: Verdict,
) -> None:
    """On XSTest people saw no loss where Llama 2 came to argue, and phrases one of 10.5 points."""
    metrics = [
        record_factory.metric("tone", judge=asked, binary=False),
        record_factory.metric("refusal", indicative=True),
    ]
    gates = [
        Gate(metric="tone", kind="gain", margin=0.1),
        Gate(metric="refusal", kind="tolerance", margin=0.05),
    ]
    scores = {
        "tone": record_factory.pairs(70, 10, 60, 60),
        "refusal": record_factory.pairs(5, 60, 75, 60),
    }
    suite = columns(gates, scores, metrics=metrics)
    record = suite.record().model_copy(update={"content_metrics": content})
    manifest = record_factory.manifest([suite]).model_copy(update={"suites": (record,)})

    found = decide_run(manifest, {"s": suite.cases()}, suite.rows())

    assert found.verdict is verdict
    assert [gate.advisory for gate in found.suites[0].gates] == [False, True]


def test_a_hint_yields_to_no_judge_of_other_cases(record_factory: Any) -> None:
    metrics = [
        record_factory.metric("tone", judge=GOOD_JUDGE, binary=False),
        record_factory.metric("refusal", indicative=True),
    ]
    lost = GateResult.model_construct(
        metric="refusal", kind="tolerance", tag=None, advisory=True, sentence="refusal fell",
        status=GateStatus.FAIL, reason=GateReason.REGRESSED,
    )  # fmt: skip
    judged = lost.model_copy(
        update={"metric": "tone", "advisory": False, "status": GateStatus.PASS, "reason": None}
    )
    suite = SuiteRecord.model_construct(name="s", metrics=tuple(metrics), content_metrics=("tone",))
    of_part = judged.model_copy(update={"tag": "part"})

    assert list(_advisory_losses(suite, [lost, judged])) == []
    assert len(list(_advisory_losses(suite, [lost, of_part]))) == 1
    assert list(_advisory_losses(suite, [lost.model_copy(update={"tag": "part"}), of_part])) == []


@pytest.mark.parametrize(
    ("changes", "margin", "why"),
    [
        ({"kappa": rate(0.7, 0.59, 0.8)}, 0.1, "its lower end must reach 0.6"),
        ({"differential": rate(0.01, -0.02, 0.051)}, 0.1, "within half the gain of 0.1"),
        ({}, 0.05, "within half the gain of 0.05"),
        ({"differential": rate(0.01, -0.02, 0.04, n=49)}, 0.1, "49 pairs have labels"),
        ({"differential": None}, 0.1, "0 pairs have labels"),
        ({"pairs": None}, 0.1, "lacks its labelled pairs"),
        ({"pairs": labelled_pairs((1, 1, 1, 1, 60), (0, 0, 0, 0, 60))}, 0.1,
         "the labels show the same difference on all pairs"),
        (
            {"arms": {"tuned": ArmErrors(n=9, sensitivity=rate(0.6, 0, 1),
                                         specificity=rate(0.49, 0, 1))}},
            0.1,
            "on tuned the judge is barely better than chance",
        ),
    ],
)  # fmt: skip
def test_what_keeps_a_judge_from_gating(
    judge: Any, tone: Any, changes: dict[str, Any], margin: float, why: str
) -> None:
    gate = Gate(metric="tone", kind="gain", margin=margin)
    verdict = judge(tone(calibration(**changes), gate))

    assert verdict.verdict is Verdict.UNDECIDED
    assert why in verdict.suites[0].gates[0].judge_basis


@pytest.mark.parametrize(("lenient", "verdict"), [(0, Verdict.SHIP), (6, Verdict.UNDECIDED)])
def test_the_calibration_corrects_the_difference(
    judge: Any, tone: Any, lenient: int, verdict: Verdict
) -> None:
    """A judge that was lenient on 6 of 200 labelled pairs says .03 more than people do.

    It sees 8 wins and 16 losses of 200, -.04, with Tango's limits -.081 and .001: within
    the tolerance of .1, and no proven loss. All its errors are on pairs that people call equal, so
    the slope is 1, and people would see -.07: a loss beyond doubt, within the tolerance or not.
    """
    pairs = labelled_pairs(
        (0, 1, 0, 1, 40), (1, 0, 1, 0, 40), (1, 1, 1, 1, 60), (0, 0, 0, 0, 60 - lenient),
        *([(0, 0, 0, 1, lenient)] if lenient else []),
    )  # fmt: skip
    known = calibration(pairs=pairs, differential=rate(0.01, -0.02, 0.04, n=200))
    gate = Gate(metric="tone", kind="tolerance", margin=0.1)
    found = judge(tone(known, gate, scores=(8, 16, 100, 76)))
    (result,) = found.suites[0].gates

    assert found.verdict is verdict
    assert result.delta == pytest.approx(-0.04 - lenient / 200, abs=1e-6)
    assert result.tuned - result.base == pytest.approx(result.delta, abs=1e-6)
    assert "labels on 200 pairs of the calibration correct" in result.judge_basis


def test_a_relative_tolerance_is_measured_at_base(judge: Any, tone: Any) -> None:
    """20 % of base's .35 are .07, too narrow for ±.04; 25 % are .0875, wide enough.

    That depends on base's scores, so the gate counts and cannot be proven.
    """
    for margin, narrow in (("20%", True), ("25%", False)):
        gate = Gate(metric="tone", kind="tolerance", margin=margin)
        found = judge(tone(calibration(), gate)).suites[0].gates[0]
        assert not found.advisory
        assert ("not proven to be within half" in (found.judge_basis or "")) is narrow
        if narrow:
            assert found.status is GateStatus.UNDECIDED


def test_canaries_fail_only_where_the_judge_would_gate(judge: Any, tone: Any) -> None:
    failing = CanaryResult(asked=4, failed=("empty",), attacks=24)
    allowed = judge(tone(calibration(canaries=failing)))
    poor = judge(tone(calibration(canaries=failing, kappa=rate(0.3, 0.2, 0.4))))

    assert allowed.verdict is Verdict.ERROR
    assert allowed.suites[0].gates[0].reason is GateReason.CANARY
    assert "calls known bad answers good: empty" in allowed.sentence
    assert poor.verdict is Verdict.UNDECIDED
    assert poor.suites[0].gates[0].advisory


@pytest.mark.parametrize(
    "gate",
    [
        Gate(metric="tone", kind="floor", margin=0.5),
        Gate(metric="tone", kind="floor", margin=0.5, floor_mode="zero_tolerance"),
        Gate(metric="tone", kind="severe_drop", margin=0.2, drop=0.5),
    ],
)
def test_levels_and_drops_are_not_for_a_judge_alone(judge: Any, tone: Any, gate: Gate) -> None:
    assert judge(tone(calibration(), gate)).suites[0].gates[0].advisory


def test_a_judge_that_does_not_count_leaves_the_others_alone(
    judge: Any, tone: Any, record_factory: Any
) -> None:
    rule = Gate(metric="right", kind="tolerance", margin=0.05)
    columns = {
        "right": record_factory.pairs(10, 24, 60, 106)
    }  # p of "worse" is .013: claimed alone only
    both = tone(None, rule, Gate(metric="tone", kind="tolerance", margin=0.1))
    both.columns = {**both.columns, **columns}
    alone = tone(None, rule)
    alone.columns = columns
    alone.metrics = ()
    one, two = judge(alone), judge(both)

    assert one.verdict is two.verdict is Verdict.BLOCK
    assert one.suites[0].gates[0] == two.suites[0].gates[0]


def test_unscored_answers_of_an_advisory_judge_stop_nothing(
    judge: Any, tone: Any, record_factory: Any
) -> None:
    rule = Gate(metric="right", kind="gain", margin=0.0)
    suite = tone(None, rule, Gate(metric="tone", kind="tolerance", margin=0.1))
    base, tuned = suite.columns["tone"]
    suite.columns = {
        "right": record_factory.pairs(70, 10, 60, 60),
        "tone": (base, [None] * 100 + list(tuned[100:])),
    }
    verdict = judge(suite)

    assert verdict.verdict is Verdict.SHIP
    assert verdict.suites[0].n_unscored == {"base": 0, "tuned": 0}


class TestTags:
    """A calibrated judge where a gate is on the cases of one tag."""

    TAGGED = Gate(metric="tone", kind="gain", margin=0.1, tag="refunds")

    def test_the_calibration_of_all_cases_does_not_do(self, tone: Any, judge: Any) -> None:
        suite = tone(calibration(), self.TAGGED)
        suite.tags = [("refunds",)] * 200
        verdict = judge(suite)
        (gate,) = verdict.suites[0].gates

        assert (gate.status, gate.advisory) == (GateStatus.PASS, True)
        assert "it takes labels on 50 pairs of the tag" in gate.judge_basis
        assert verdict.verdict is Verdict.UNDECIDED

    def test_labels_on_the_pairs_of_the_tag_do(self, tone: Any, record_factory: Any) -> None:
        """People labelled 60 of its 120 pairs, which correct the judge there."""
        suite = tone(calibration(), self.TAGGED)
        suite.tags = [("refunds",) if i % 5 < 3 else () for i in range(200)]
        base, tuned = suite.columns["tone"]
        known = [at for at in range(200) if at % 5 < 3][::2]
        truth = {at: (base[at], tuned[at]) for at in known}
        verdict = decided(suite, record_factory, labels(truth))

        assert len(known) == 60
        assert (
            verdict.suites[0].gates[0].judge_basis == "labels on 60 of 120 pairs correct it (PPI++)"
        )
        assert verdict.verdict is Verdict.SHIP


class TestOtherArms:
    """A calibrated judge where an arm that nobody labelled is compared."""

    GATES = (
        Gate(metric="tone", kind="gain", margin=0.1),
        Gate(metric="tone", kind="tolerance", margin=0.1),
    )

    def run(self, tone: Any, record_factory: Any, arm: str) -> tuple[Any, Any, list[ScoreRow]]:
        """Return a run that ships, in which the judge scores the further arm as it does tuned."""
        suite = tone(calibration(), *self.GATES)
        _, tuned = suite.columns["tone"]
        rows = [
            ScoreRow(suite="s", metric="tone", case=case.id, arm=arm, value=value)
            for case, value in zip(suite.cases(), tuned, strict=True)
        ]
        manifest = record_factory.manifest([suite], arms={"base": {}, "tuned": {}, arm: {}})
        return suite, manifest, [*suite.rows(), *rows]

    def test_its_gates_on_the_incumbent_are_advisory(
        self, tone: Any, record_factory: Any, judge: Any
    ) -> None:
        suite, manifest, rows = self.run(tone, record_factory, "incumbent")
        found = compare_incumbent(manifest, {"s": suite.cases()}, rows)
        (gate,) = found.suites[0].gates

        assert judge(suite).verdict is Verdict.SHIP
        assert gate.advisory
        assert "people labelled answers of base and tuned" in gate.judge_basis
        assert (found.verdict, found.suites[0].verdict) == (Verdict.UNDECIDED, None)

    def test_labels_on_the_run_say_nothing_of_the_incumbent(
        self, tone: Any, record_factory: Any
    ) -> None:
        suite, manifest, rows = self.run(tone, record_factory, "incumbent")
        base, tuned = suite.columns["tone"]
        truth = {at: (base[at], tuned[at]) for at in range(0, 200, 2)}
        verdict = decide_run(manifest, {"s": suite.cases()}, rows, labels=labels(truth))
        found = compare_incumbent(manifest, {"s": suite.cases()}, rows)

        assert verdict.verdict is Verdict.SHIP
        assert found.verdict is Verdict.UNDECIDED

    def test_its_scores_do_not_prove_an_artifact_equivalent(
        self, tone: Any, record_factory: Any
    ) -> None:
        suite, manifest, rows = self.run(tone, record_factory, "shipped")
        found = compare_shipped(manifest, {"s": suite.cases()}, rows, ParityEvidence())

        assert found.verdict is Verdict.UNDECIDED
        assert found.suites[0].metrics[0].advisory
        assert [gate.advisory for gate in found.suites[0].guards] == [True]


class TestLabels:
    """Labels on this run's pairs."""

    KNOWN = calibration(kappa=rate(0.3, 0.2, 0.4))
    """A poor judge: on its own it may not gate."""

    def test_the_judge_is_set_right(self, tone: Any, record_factory: Any) -> None:
        """It calls 70 of 200 better; of 100 labelled pairs people see 10 gained and 10 lost."""
        suite = tone(self.KNOWN)
        truth = {at: (0.0, 1.0) if at < 20 else (1.0, 0.0) if 70 <= at < 90 else (1.0, 1.0)
                 for at in range(0, 200, 2)}  # fmt: skip
        verdict = decided(suite, record_factory, labels(truth))
        (gate,) = verdict.suites[0].gates

        assert not gate.advisory
        assert gate.judge_basis == "labels on 100 of 200 pairs correct it (PPI++)"
        assert abs(gate.delta) < 0.01
        assert gate.method.startswith("PPI++")
        assert (
            "corrected by labels on 100 pairs; the judge alone gives +30.0 points" in gate.sentence
        )
        assert verdict.verdict is Verdict.UNDECIDED
        assert gate.tuned - gate.base == pytest.approx(gate.delta, abs=1e-6)

    def test_labels_that_agree_ship(self, tone: Any, record_factory: Any) -> None:
        suite = tone(self.KNOWN)
        base, tuned = suite.columns["tone"]
        truth = {at: (base[at], tuned[at]) for at in range(0, 200, 2)}
        verdict = decided(suite, record_factory, labels(truth))

        assert verdict.verdict is Verdict.SHIP
        assert verdict.suites[0].gates[0].delta == pytest.approx(0.3, abs=0.01)

    def test_labels_on_all_pairs_need_no_judge(self, tone: Any, record_factory: Any) -> None:
        """Then the people's 20 wins and 20 losses decide alone, by Tango's interval."""
        suite = tone(self.KNOWN)
        truth = {at: ((0.0, 1.0) if at < 20 else (1.0, 0.0) if at < 40 else (1.0, 1.0))
                 for at in range(200)}  # fmt: skip
        (gate,) = decided(suite, record_factory, labels(truth)).suites[0].gates

        assert (gate.base, gate.tuned, gate.delta) == (0.9, 0.9, 0.0)
        assert gate.method.startswith("Tango")

    def test_a_floor_is_corrected_too(self, tone: Any, record_factory: Any) -> None:
        """The judge says tuned is at .65; people say every answer is good."""
        floor = Gate(metric="tone", kind="floor", margin=0.9)
        suite = tone(self.KNOWN, floor)
        truth = dict.fromkeys(range(0, 200, 2), (1.0, 1.0))
        (gate,) = decided(suite, record_factory, labels(truth)).suites[0].gates

        assert gate.status is GateStatus.PASS
        assert gate.tuned == pytest.approx(1.0)
        assert gate.low <= 1.0 <= gate.high

    def test_too_few_labels_give_no_right(self, tone: Any, record_factory: Any) -> None:
        """49 pairs are not 50; labels of one arm alone do not make a pair."""
        suite = tone(self.KNOWN)
        few = labels(dict.fromkeys(range(49), (1.0, 1.0)))
        half = [label for label in labels(dict.fromkeys(range(99), (1.0, 1.0)))
                if label.arm == "tuned"]  # fmt: skip

        (gate,) = decided(suite, record_factory, few).suites[0].gates
        assert gate.advisory
        assert "labels on 49 pairs of the run are not enough: it takes 50" in gate.judge_basis
        (gate,) = decided(suite, record_factory, half).suites[0].gates
        assert gate.advisory
        assert "labels on" not in gate.judge_basis

    def test_labels_on_chosen_pairs_leave_the_gate_undecided(
        self, tone: Any, record_factory: Any
    ) -> None:
        """All 60 labels are on pairs that the judge calls a win: 1 there, and 0 on the others.

        Of 200 pairs the judge has 70 wins and 10 losses; by chance 60 pairs hold about 21 wins.
        """
        suite = tone(self.KNOWN)
        (gate,) = (
            decided(suite, record_factory, labels(dict.fromkeys(range(60), (0.0, 1.0))))
            .suites[0]
            .gates
        )

        assert (gate.advisory, gate.status) == (False, GateStatus.UNDECIDED)
        assert (
            "not a random sample: the judge's difference is +1.000 on them and +0.000"
            in gate.judge_basis
        )

    def test_labels_need_a_calibration(self, tone: Any, record_factory: Any) -> None:
        suite = tone(None)
        verdict = decided(suite, record_factory, labels(dict.fromkeys(range(100), (1.0, 1.0))))

        assert verdict.suites[0].gates[0].advisory
        assert "never calibrated" in verdict.suites[0].gates[0].judge_basis

    def test_clusters_are_not_corrected(self, tone: Any, record_factory: Any) -> None:
        suite = tone(self.KNOWN)
        suite.clusters = [f"k{at // 4}" for at in range(200)]
        (gate,) = (
            decided(suite, record_factory, labels(dict.fromkeys(range(100), (1.0, 1.0))))
            .suites[0]
            .gates
        )

        assert gate.advisory
        assert "come in clusters only if all pairs have them: 100 of 200" in gate.judge_basis

    @pytest.mark.parametrize("labelled", [199, 200])
    def test_labels_on_every_pair_count_in_clusters_too(
        self, tone: Any, record_factory: Any, labelled: int
    ) -> None:
        suite = tone(self.KNOWN)
        suite.clusters = [f"k{at // 4}" for at in range(200)]
        given = labels(dict.fromkeys(range(labelled), (1.0, 1.0)))
        (gate,) = decided(suite, record_factory, given).suites[0].gates

        assert not gate.advisory
        assert (gate.base, gate.tuned, gate.delta) == (1, 1, 0)
        assert f"labels on {labelled} of 200 pairs" in gate.judge_basis


@pytest.mark.parametrize(("first", "counts"), [(0, True), (20, False)])
def test_labels_correct_a_gate_on_a_tag_by_its_own_pairs(
    tone: Any, record_factory: Any, first: int, counts: bool
) -> None:
    """Sixty labels from case 0 or 20 on: 60 or 40 of them on the tag, where it takes 50."""
    gate = Gate(metric="tone", kind="gain", margin=0.1, tag="a")
    suite = tone(calibration(differential=None), gate)
    suite.tags = [("a",) if i < 60 else ("b",) for i in range(suite.n)]
    truth = dict.fromkeys(range(first, first + 60), (0.0, 1.0))
    (found,) = decided(suite, record_factory, labels(truth)).suites[0].gates

    assert found.n == 60
    assert found.advisory is not counts
    assert (f"labels on {60 - first} " in found.judge_basis) is True
