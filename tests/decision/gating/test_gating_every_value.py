"""Rules on every value of a tag key: held under each, or not held."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest

from tunegate.harness.decision.gating.every_value import count_together, worst_of_rules
from tunegate.harness.decision.verdict.decide import decide_run
from tunegate.harness.decision.verdict.verdict_lines import every_value_lines
from tunegate.harness.records.gate_results import GateReason, GateStatus
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.verdict import Verdict, VerdictRecord

GAIN = Gate(metric="m", kind="gain", margin=0.0, every="k")
POOLED = Gate(metric="n", kind="gain", margin=0.0)
Counts = tuple[int, int, int, int]
WON, OPEN = (20, 2, 58, 20), (6, 4, 70, 20)
"""Wins, losses, both right, both wrong: proven and not; mid-p of 20 to 2 is below 0.001."""


def decide(
    columns: Any,
    made: Any,
    parts: dict[str, Counts],
    rule: Gate = GAIN,
    *more: Gate,
    **changes: Any,
) -> VerdictRecord:
    """Return the verdict of a suite with a rule on every value; `n` always gains."""
    base: list[float] = []
    tuned: list[float] = []
    tags: list[tuple[str, ...]] = []
    for value, counts in parts.items():
        before, after = made.pairs(*counts)
        base, tuned, tags = base + before, tuned + after, tags + [(f"k:{value}",)] * len(before)
    gates = [rule.model_copy(update={"tag": f"k:{value}"}) for value in parts]
    gained = ([0.0] * len(base), [1.0] * len(base))
    scores = {"m": (base, tuned)} | ({"n": gained} if more else {})
    suite = columns([*gates, *more], scores, tags=tags, **changes)
    return decide_run(made.manifest([suite]), {"s": suite.cases()}, suite.rows())


def test_a_rule_holds_if_it_holds_under_each_value(columns: Any, record_factory: Any) -> None:
    """The same scores without the key: 26 wins and 6 losses of 200 ship."""
    verdict = decide(columns, record_factory, {"a": WON, "b": WON})
    held_back = decide(columns, record_factory, {"a": WON, "b": OPEN})

    assert verdict.verdict is Verdict.SHIP
    assert held_back.verdict is Verdict.UNDECIDED
    assert [gate.status for gate in held_back.suites[0].gates] == [
        GateStatus.PASS,
        GateStatus.UNDECIDED,
    ]


def test_the_worst_value_is_named_and_counts_for_its_rule(
    columns: Any, record_factory: Any
) -> None:
    """Both hold; b won 12 and lost 2, a won 20 and lost 2."""
    verdict = decide(columns, record_factory, {"a": WON, "b": (12, 2, 66, 20)})
    (suite,) = verdict.suites

    assert [gate.worst for gate in suite.gates] == [False, True]
    assert [gate.id for gate in suite.rules] == ["m::gain[k:b]"]
    assert verdict.sentence.startswith("s: m (worst k: b) rose 68.0 → 78.0 %")
    assert "other" not in verdict.sentence
    assert list(every_value_lines(suite.gates)) == [
        "m gain by k: b +10.0 (n = 100), a +18.0 (n = 100); range 8.0 points"
    ]
    assert suite.gates[1].model_dump()["worst"] is True
    assert "worst" not in suite.gates[0].model_dump()


@pytest.mark.parametrize("goal_rule", ["primary", "all"])
def test_the_primary_goal_is_the_whole_rule(
    columns: Any, record_factory: Any, goal_rule: str
) -> None:
    parts = {"a": WON, "b": OPEN}
    verdict = decide(columns, record_factory, parts, GAIN, POOLED, goal_rule=goal_rule)

    assert verdict.verdict is Verdict.UNDECIDED


def test_as_one_of_several_goals_it_is_as_good_as_its_worst_value(
    columns: Any, record_factory: Any
) -> None:
    """Where any goal will do, one value alone reaches none; the other goal does."""
    parts = {"a": WON, "b": OPEN}
    alone = decide(columns, record_factory, parts, goal_rule="any")
    either = decide(columns, record_factory, parts, GAIN, POOLED, goal_rule="any")

    assert alone.verdict is Verdict.UNDECIDED
    assert either.verdict is Verdict.SHIP


def test_holm_counts_a_rule_as_one_goal_with_its_largest_p(
    columns: Any, record_factory: Any
) -> None:
    """7 wins, no loss: mid-p 0.5^7 / 2 = .0039; 8 to 2 of 100 has p .029, twice that is above .05.

    The exact p of 8 to 2 is larger than .025 and below .05, so it is proven only by itself.
    """
    parts = {"a": (7, 0, 73, 20), "b": (8, 2, 70, 20)}
    lost = Gate(metric="n", kind="gain", margin=0.0)
    base: list[float] = [1.0] * 200
    verdict = decide(columns, record_factory, parts, goal_rule="any")
    suite_of_two = decide_both(columns, record_factory, parts, lost, base)

    assert verdict.verdict is Verdict.SHIP
    assert suite_of_two.verdict is Verdict.UNDECIDED
    assert "one of 2 goals" in suite_of_two.suites[0].gates[1].sentence
    assert "one of 2 goals" not in suite_of_two.suites[0].gates[0].sentence


def decide_both(
    columns: Any, made: Any, parts: dict[str, Counts], other: Gate, same: list[float]
) -> VerdictRecord:
    """Return the verdict of a rule on every value and a goal on a metric that did not change."""
    before, after = zip(*(made.pairs(*counts) for counts in parts.values()), strict=True)
    tags = [(f"k:{value}",) for value, counts in parts.items() for _ in range(sum(counts))]
    gates = [GAIN.model_copy(update={"tag": f"k:{value}"}) for value in parts]
    scores = {"m": ([*chain(*before)], [*chain(*after)]), "n": (same, same)}
    suite = columns([*gates, other], scores, tags=tags, goal_rule="any")
    return decide_run(made.manifest([suite]), {"s": suite.cases()}, suite.rows())


def test_a_loss_under_one_value_blocks_after_holm_over_the_values(
    columns: Any, record_factory: Any
) -> None:
    """5 losses, no win: mid-p 0.0156; times 3 values 0.0469, times 4 0.0625."""
    for values, verdict in ((3, Verdict.BLOCK), (4, Verdict.UNDECIDED)):
        parts = {"lost": (0, 5, 95, 0)} | {f"v{i}": (0, 0, 95, 5) for i in range(values - 1)}
        found = decide(columns, record_factory, parts)

        assert found.verdict is verdict
        assert found.suites[0].rules[0].tag_value == "lost"


def test_a_gain_that_is_ruled_out_shares_the_error_among_the_values(
    columns: Any, record_factory: Any
) -> None:
    """3 wins, 3 losses of 100: the 90 % interval ends at 4.6 points, the 98 % one at 6.8."""
    rule = GAIN.model_copy(update={"expected_gain": 0.05})
    parts = {f"v{i}": (3, 3, 74, 20) for i in range(5)}
    one = decide(columns, record_factory, {"v0": parts["v0"]}, rule)
    five = decide(columns, record_factory, parts, rule)

    assert one.verdict is Verdict.HOLD
    assert one.suites[0].gates[0].high == pytest.approx(five.suites[0].gates[0].high)
    assert five.verdict is Verdict.UNDECIDED


def test_an_advisory_value_beside_one_that_counts_is_open(
    columns: Any, record_factory: Any
) -> None:
    verdict = decide(columns, record_factory, {"a": WON, "b": WON})
    counts, other = verdict.suites[0].gates
    shown = other.model_copy(update={"advisory": True})

    first, second = count_together([counts, shown])
    assert (first, second.status, second.advisory) == (counts, GateStatus.UNDECIDED, False)
    assert second.reason is GateReason.UNDERPOWERED
    both = [gate.model_copy(update={"advisory": True}) for gate in (counts, other)]
    assert list(count_together(both)) == both


def test_a_failed_value_is_worse_than_an_open_one(columns: Any, record_factory: Any) -> None:
    verdict = decide(columns, record_factory, {"a": OPEN, "b": (0, 20, 60, 20), "c": WON})

    assert verdict.verdict is Verdict.BLOCK
    assert [gate.tag_value for gate in worst_of_rules(verdict.suites[0].gates)] == ["b"]
    assert verdict.sentence.startswith("s: m (worst k: b) fell")
