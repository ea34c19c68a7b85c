"""Gates against a further arm: the prompted base, and the teacher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from scipy.stats import binomtest

from tunegate.harness.decision.verdict.next_step import next_step
from tunegate.harness.records.gate_results import GateReason, GateStatus
from tunegate.harness.records.manifest import ArmPromptRecord, Gate, JudgeRecord
from tunegate.harness.records.verdict import Verdict, VerdictRecord

Judge = Callable[..., VerdictRecord]

GAIN = Gate(metric="m", kind="gain", margin=0.0, expected_gain=0.1)
OVER_PROMPT = GAIN.model_copy(update={"against": "prompted"})
LIKE_TEACHER = Gate(metric="m", kind="tolerance", margin=0.05, against="teacher")
PROMPT = ArmPromptRecord(system=False, examples=4, sha256="a" * 64)


def right(count: int, n: int = 200) -> list[float]:
    """Return the scores of an arm that is right on the first `count` cases."""
    return [1.0] * count + [0.0] * (n - count)


def spread(count: int, n: int = 200) -> list[float]:
    """Return as many right answers as `right` does, beginning with the last case."""
    return right(count, n)[::-1]


def suite_of(
    columns: Any, tuned: Sequence[float | None], gates: Sequence[Gate], **changes: Any
) -> Any:
    """Return a suite in which base is right on 20 of the cases."""
    base = right(20, len(tuned))
    prompts = {"prompted": PROMPT}
    return columns(gates, {"m": (base, tuned)}, arm_prompts=prompts, **changes)


def test_a_gate_against_an_arm_has_that_arms_numbers(judge: Judge, columns: Any) -> None:
    suite = suite_of(
        columns, right(190), [GAIN, LIKE_TEACHER], references={"teacher": {"m": spread(192)}}
    )

    of_base, of_teacher = judge(suite).suites[0].gates

    assert (of_base.base, of_base.tuned, of_base.against) == (0.1, 0.95, None)
    assert (of_teacher.base, of_teacher.tuned, of_teacher.against) == (0.96, 0.95, "teacher")
    assert of_teacher.id == "m::tolerance@teacher"
    assert of_teacher.subject == "m (against teacher)"
    assert of_teacher.delta == pytest.approx(-0.01)


def test_no_gain_over_the_prompt_holds_what_a_gain_over_base_would_ship(
    judge: Judge, columns: Any
) -> None:
    prompted = {"prompted": {"m": spread(186)}}
    suite = suite_of(columns, right(188), [GAIN, OVER_PROMPT], references=prompted)
    alone = suite_of(columns, right(188), [GAIN])

    verdict = judge(suite)

    assert judge(alone).verdict is Verdict.SHIP
    assert verdict.verdict is Verdict.HOLD
    assert verdict.sentence == (
        "s: a prompt alone does it: base with 4 examples reaches 93.0 % m, tuned 94.0 %"
    )
    gate = verdict.suites[0].gates[1]
    assert (gate.status, gate.reason) == (GateStatus.FAIL, GateReason.PROMPT_SUFFICES)
    step = next_step(verdict, [suite.record()], run="run", report="report.html")
    assert step is not None
    assert step.startswith("use the prompt")


def test_a_proven_gain_over_the_prompt_ships(judge: Judge, columns: Any) -> None:
    prompted = {"prompted": {"m": right(150)}}

    verdict = judge(suite_of(columns, right(190), [GAIN, OVER_PROMPT], references=prompted))

    assert verdict.verdict is Verdict.SHIP
    over_prompt = verdict.suites[0].gates[1]
    # 40 discordant pairs, all of them tuned's: the exact sign test
    assert over_prompt.p_value is not None
    assert over_prompt.p_value < 1e-6
    assert binomtest(40, 40, alternative="greater").pvalue < 1e-6


def test_a_tuned_worse_than_the_prompt_holds_since_nothing_of_base_broke(
    judge: Judge, columns: Any
) -> None:
    prompted = {"prompted": {"m": right(200)}}

    verdict = judge(suite_of(columns, right(150), [GAIN, OVER_PROMPT], references=prompted))

    assert verdict.verdict is Verdict.HOLD


def test_few_cases_that_show_a_gain_over_the_prompt_hold_nothing(
    judge: Judge, columns: Any
) -> None:
    """Of 20 cases, 11 are right with the prompt and 18 tuned: the cases are too few."""
    prompted = {"prompted": {"m": [*right(9, 18), 1.0, 1.0]}}
    goals = [gate.model_copy(update={"margin": 0.1}) for gate in (GAIN, OVER_PROMPT)]
    scores = {"m": (right(6, 20), right(18, 20))}

    verdict = judge(columns(goals, scores, references=prompted, arm_prompts={"prompted": PROMPT}))

    assert binomtest(9, 11, alternative="greater").pvalue == pytest.approx(0.0327, abs=1e-4)
    of_base, over_prompt = verdict.suites[0].gates
    assert of_base.status is GateStatus.PASS
    assert (over_prompt.status, over_prompt.reason) == (
        GateStatus.UNDECIDED,
        GateReason.UNDERPOWERED,
    )
    assert verdict.verdict is Verdict.UNDECIDED


def test_the_gain_asked_is_ruled_out_over_the_prompt_without_an_expected_gain(
    judge: Judge, columns: Any
) -> None:
    goals = [
        gate.model_copy(update={"margin": 0.1, "expected_gain": None})
        for gate in (GAIN, OVER_PROMPT)
    ]

    verdict = judge(
        suite_of(columns, right(188), goals, references={"prompted": {"m": spread(186)}})
    )

    assert verdict.verdict is Verdict.HOLD
    assert verdict.suites[0].gates[1].reason is GateReason.PROMPT_SUFFICES


def test_a_tuned_worse_than_the_prompt_blocks_nothing_without_a_gain_over_base(
    judge: Judge, columns: Any
) -> None:
    """Base has 20 of 200 right, tuned 23: what the prompt does better is no regression of base."""
    suite = suite_of(
        columns, right(23), [GAIN, OVER_PROMPT], references={"prompted": {"m": right(200)}}
    )

    verdict = judge(suite)

    assert verdict.suites[0].gates[1].reason is GateReason.PROMPT_SUFFICES
    assert verdict.verdict is not Verdict.BLOCK


def test_without_a_gain_over_base_the_prompt_decides_nothing(judge: Judge, columns: Any) -> None:
    """Too few cases prove neither gain, so nothing is said about the prompt."""
    suite = suite_of(
        columns, right(23), [GAIN, OVER_PROMPT], references={"prompted": {"m": spread(23)}}
    )

    verdict = judge(suite)

    assert {gate.reason for gate in verdict.suites[0].gates} & {GateReason.PROMPT_SUFFICES} == set()
    assert verdict.verdict in (Verdict.UNDECIDED, Verdict.HOLD)


@pytest.mark.parametrize("rule", ["primary", "all", "any"])
def test_the_goal_rule_holds_for_each_reference_by_itself(
    judge: Judge, columns: Any, rule: str
) -> None:
    """A goal that base loses to does not stand for one against the prompt, whatever the rule."""
    prompted = {"prompted": {"m": spread(188)}}
    suite = suite_of(columns, right(188), [GAIN, OVER_PROMPT], references=prompted, goal_rule=rule)

    assert judge(suite).verdict is Verdict.HOLD


def test_goals_against_other_references_are_no_alternatives(judge: Judge, columns: Any) -> None:
    """4 wins of 4 have a mid-p of .031, which Holm doubles for another goal against base only."""
    assert binomtest(4, 4, 0.5, alternative="greater").pvalue / 2 == pytest.approx(0.03125)
    goals = [gate.model_copy(update={"confidence": 0.9}) for gate in (GAIN, OVER_PROMPT)]
    scores = {"m": (right(96, 100), right(100, 100))}

    verdict = judge(
        columns(
            goals,
            scores,
            references={"prompted": {"m": right(96, 100)}},
            arm_prompts={"prompted": PROMPT},
            goal_rule="any",
        )
    )

    assert verdict.verdict is Verdict.SHIP
    assert not any("Holm" in note for note in verdict.suites[0].notes)


def test_a_tuned_proven_worse_than_the_teacher_blocks(judge: Judge, columns: Any) -> None:
    teacher = {"teacher": {"m": right(200)}}

    verdict = judge(suite_of(columns, right(150), [GAIN, LIKE_TEACHER], references=teacher))

    assert verdict.verdict is Verdict.BLOCK
    assert "against teacher" in verdict.sentence


def test_a_replaced_teacher_is_named_with_margin_and_price(
    judge: Judge, columns: Any, record_factory: Any
) -> None:
    cheap = Gate(
        metric="cost", kind="ratio", margin=0.5, options={"bound": "at_most"}, against="teacher"
    )
    cost = record_factory.metric(
        "cost", higher_is_better=False, range=None, binary=False, label="price of a call"
    )
    dollars = [0.01 * (1 + i % 5) for i in range(200)]
    prices = [price * (8.0 if i % 2 else 10.125) for i, price in enumerate(dollars)]
    suite = columns(
        [GAIN, LIKE_TEACHER, cheap],
        {"m": (right(20), right(196)), "cost": (dollars, dollars)},
        metrics=[cost],
        references={"teacher": {"m": right(196), "cost": prices}},
    )

    verdict = judge(suite)

    assert verdict.verdict is Verdict.SHIP
    assert verdict.sentence == (
        "s: as good as the teacher within 5 points of m, at 11 % of its price; 1 other gate holds"
    )


def test_a_reference_arm_without_scores_leaves_the_suite_undecided(
    judge: Judge, columns: Any
) -> None:
    """An unscored case of the teacher may have gone either way, as one of base may."""
    scores: list[float | None] = [*right(196)]
    scores[:8] = [None] * 8
    suite = suite_of(
        columns, right(196), [GAIN, LIKE_TEACHER], references={"teacher": {"m": scores}}
    )

    result = judge(suite).suites[0]

    assert result.n_unscored == {"base": 0, "tuned": 0, "teacher": 8}
    assert result.worst_case is not None


def test_too_many_unscored_cases_of_the_teacher_are_an_error_that_names_it(
    judge: Judge, columns: Any
) -> None:
    scores: list[float | None] = [None] * 40 + [1.0] * 160
    suite = suite_of(
        columns, right(196), [GAIN, LIKE_TEACHER], references={"teacher": {"m": scores}}
    )

    verdict = judge(suite)

    assert verdict.verdict is Verdict.ERROR
    assert "40 of 200 cases of teacher are unscored" in verdict.sentence


def test_a_judges_gate_against_an_arm_is_advisory(
    judge: Judge, columns: Any, record_factory: Any
) -> None:
    """People labelled answers of base and tuned, and of no other arm."""
    judged = record_factory.metric(judge=JudgeRecord(name="rubric", prompt_sha256="b" * 64))
    suite = suite_of(
        columns,
        right(190),
        [LIKE_TEACHER],
        metrics=[judged],
        references={"teacher": {"m": right(200)}},
    )

    (gate,) = judge(suite).suites[0].gates

    assert gate.advisory


def test_each_reference_is_a_claim_of_holms_family(judge: Judge, columns: Any) -> None:
    """A loss of p = .035 blocks as the only claim, and not as one of three."""
    assert binomtest(7, 8, alternative="greater").pvalue == pytest.approx(0.0352, abs=1e-4)
    base, tuned = [1.0] * 7 + [0.0] + [1.0] * 192, [0.0] * 7 + [1.0] + [1.0] * 192
    tolerance = Gate(metric="m", kind="tolerance", margin=0.01)
    others = [tolerance.model_copy(update={"against": name}) for name in ("teacher", "prompted")]
    same = {name: {"m": base} for name in ("teacher", "prompted")}

    alone = judge(columns([tolerance], {"m": (base, tuned)}))
    shared = judge(columns([tolerance, *others], {"m": (base, tuned)}, references=same))

    assert alone.verdict is Verdict.BLOCK
    assert shared.verdict is Verdict.UNDECIDED
