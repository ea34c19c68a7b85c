"""Tuned beside the incumbent: the suites' guards with another arm in base's place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tunegate.harness.decision.answer_facts.read_answers import read_answers
from tunegate.harness.decision.verdict.decide import ScoredRun
from tunegate.harness.decision.verdict.incumbent_comparison import compare, compare_incumbent
from tunegate.harness.records.answers import Cell, CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.files import record_json
from tunegate.harness.records.incumbent_result import IncumbentResult
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.verdict import Verdict, VerdictRecord

ARMS = {"base": {"spec": "b"}, "tuned": {"spec": "t"}, "incumbent": {"spec": "i"}}
YES, NO = 1.0, 0.0
GAIN = Gate(metric="m", kind="gain", margin=0.08)
ANY_GAIN = Gate(metric="m", kind="gain", margin=0.0)
HELD = Gate(metric="m", kind="tolerance", margin=0.05)
FLOOR = Gate(metric="m", kind="floor", margin=0.5)
BASE = [YES] * 70 + [NO] * 130
TUNED = [YES] * 190 + [NO] * 10


@pytest.fixture(name="stand")
def _stand(columns: Any, record_factory: Any, judge: Any, validator: Draft202012Validator) -> Any:
    """Judge base, tuned and incumbent on 200 cases of one 0/1 metric; tuned gains 60 points."""

    def stand(incumbent: list[float | None], *gates: Gate) -> tuple[VerdictRecord, IncumbentResult]:
        suite = columns(gates or [GAIN], {"m": (BASE, TUNED)})
        rows = [
            ScoreRow(
                suite="s",
                metric="m",
                case=case.id,
                arm="incumbent",
                value=value,
                reason="the backend failed" if value is None else None,
            )
            for case, value in zip(suite.cases(), incumbent, strict=True)
        ]
        manifest = record_factory.manifest([suite], arms=ARMS)
        standing = compare_incumbent(manifest, {"s": suite.cases()}, [*suite.rows(), *rows])
        verdict = judge(suite, arms=ARMS).after("incumbent", standing)
        validator.validate(json.loads(record_json(verdict)))
        return verdict, standing

    return stand


def test_a_better_one_ships(stand: Any) -> None:
    """Base at 35 %, the incumbent at 80 %, tuned at 95 %: better than both."""
    verdict, standing = stand([YES] * 160 + [NO] * 40)

    assert (verdict.verdict, standing.verdict) == (Verdict.SHIP, Verdict.SHIP)
    assert verdict.sentence.endswith("; no worse than the incumbent by 1 gate")
    (gate,) = standing.suites[0].gates
    assert (gate.kind, gate.margin) == ("tolerance", 0.08)
    assert (gate.base, gate.tuned, gate.delta) == (0.8, 0.95, 0.15)


def test_one_that_is_worse_than_todays_is_blocked(stand: Any) -> None:
    """Sixty points above base, and ten right answers lost of today's 200: 3 points are allowed."""
    verdict, standing = stand([YES] * 200, GAIN, HELD.model_copy(update={"margin": 0.03}))

    assert verdict.suites[0].verdict is Verdict.SHIP
    assert (verdict.verdict, standing.verdict) == (Verdict.BLOCK, Verdict.BLOCK)
    assert verdict.sentence == (
        "worse than the incumbent: s: m fell 100 → 95.0 %, more than the 3 points allowed"
    )


def test_one_that_may_be_worse_is_undecided(stand: Any) -> None:
    """Nine cases lost and five won leave a loss of more than 5 points possible."""
    incumbent = [*[NO] * 5, *[YES] * 185, *[YES] * 9, NO]

    verdict, _ = stand(incumbent, GAIN, HELD)

    assert verdict.verdict is Verdict.UNDECIDED
    assert verdict.sentence.startswith(
        "whether tuned is no worse than the incumbent is undecided: s: m fell 97.0 → 95.0 %"
    )


def test_the_gates_are_those_of_a_run_against_the_incumbent(
    stand: Any, columns: Any, judge: Any
) -> None:
    """Status, numbers and method are what `--base INCUMBENT` gives for the same tolerance."""
    incumbent: list[float] = [*[NO] * 12, *[YES] * 178, *[YES] * 4, *[NO] * 6]

    _, standing = stand(incumbent, GAIN, HELD)
    against = judge(columns([HELD], {"m": (incumbent, TUNED)}))

    assert standing.suites[0].gates == against.suites[0].gates
    assert standing.suites[0].verdict is against.verdict


@pytest.mark.parametrize("gates", [(FLOOR,), (ANY_GAIN,)])
def test_without_a_gate_that_compares_nothing_is_proven(stand: Any, gates: tuple[Gate]) -> None:
    """A floor says nothing about the incumbent, and a goal of 0 gives no tolerance."""
    verdict, standing = stand([YES] * 160 + [NO] * 40, *gates)

    assert verdict.suites[0].verdict is Verdict.SHIP
    assert verdict.verdict is Verdict.UNDECIDED
    assert verdict.sentence.startswith("no gate compares tuned with the incumbent")
    assert standing.suites[0].verdict is None


def test_too_many_unscored_are_an_error(stand: Any) -> None:
    """Of the incumbent's answers 30 of 200 failed: nothing can be said, whoever is better."""
    verdict, standing = stand([*[YES] * 130, *[NO] * 40, *[None] * 30])

    assert verdict.verdict is Verdict.ERROR
    assert standing.suites[0].n_unscored == {"incumbent": 30, "tuned": 0}
    assert verdict.sentence.startswith("tuned cannot be compared with the incumbent: s: ")


def test_the_verdict_can_only_get_worse(stand: Any, judge: Any, columns: Any) -> None:
    _, standing = stand([YES] * 100 + [NO] * 100)
    worse = judge(columns([HELD], {"m": (TUNED, BASE)}), arms=ARMS)

    verdict = worse.after("incumbent", standing)

    assert (worse.verdict, verdict.verdict) == (Verdict.BLOCK, Verdict.BLOCK)
    assert verdict.sentence == worse.sentence


def test_inexact_arithmetic_is_no_regression(columns: Any, record_factory: Any) -> None:
    """Base lost 0.1 when asked twice: a loss of 0.05 beside the incumbent may be just that."""
    graded = record_factory.metric(binary=False)
    suite = columns(
        [Gate(metric="m", kind="tolerance", margin=0.01)],
        {"m": ([0.5] * 100, [0.75, 0.85] * 50)},
        metrics=[graded],
    )
    rows = [
        ScoreRow(suite="s", metric="m", case=case.id, arm=arm, value=value)
        for case in suite.cases()
        for arm, value in (("incumbent", 0.85), ("base_again", 0.4))
    ]
    manifest = record_factory.manifest([suite], arms=ARMS)

    standing = compare_incumbent(manifest, {"s": suite.cases()}, [*suite.rows(), *rows])

    (gate,) = standing.suites[0].gates
    assert (gate.delta, gate.noise) == (-0.05, 0.1)
    assert standing.verdict is Verdict.UNDECIDED


def test_missing_answers_of_the_incumbent_do_not_remove_a_gate(
    columns: Any, record_factory: Any, judge: Any
) -> None:
    """199 of 205 lengths: a gate on scores without a range takes 200, and counts as undecided."""
    length = record_factory.metric("length", binary=False, range=None, higher_is_better=False)
    gates = [HELD, Gate(metric="length", kind="tolerance", margin=5.0)]
    lengths, others = ([float(10 + (i + by) % 3) for i in range(205)] for by in (0, 1))
    scored = {"m": ([NO] * 100 + [YES] * 105, [YES] * 205), "length": (lengths, others)}
    suite = columns(gates, scored, [length])
    rows = [
        ScoreRow(suite="s", metric=metric, case=f"c{i:03}", arm="incumbent", value=value)
        for metric, known in (("m", [YES] * 205), ("length", [*lengths[:199], *[None] * 6]))
        for i, value in enumerate(known)
    ]
    manifest = record_factory.manifest([suite], arms=ARMS)
    standing = compare_incumbent(manifest, {"s": suite.cases()}, [*suite.rows(), *rows])
    first, second = standing.suites[0].gates

    assert judge(suite).verdict is Verdict.SHIP
    assert (first.status, second.status) == ("pass", "undecided")
    assert (second.n, second.advisory, second.reason) == (199, False, "unscored")
    assert standing.verdict is Verdict.UNDECIDED


RIGHT = [f"shelf {i}" for i in range(60)]
TODAYS = [*RIGHT[:50], *["no idea"] * 10]


def doubted(
    record_factory: Any, columns: Any, tuned: list[str], incumbent: list[str], arms: Any = ARMS
) -> Any:
    """Compare answers that are right where they are the expected ones."""
    cases = [
        Case(id=f"c{i:03}", prompt=f"Which shelf has {i}?", expected=text)
        for i, text in enumerate(RIGHT)
    ]
    texts = {"base": ["no"] * 60, "tuned": tuned, "incumbent": incumbent}
    score = {
        arm: [float(a == b) for a, b in zip(t, RIGHT, strict=True)] for arm, t in texts.items()
    }
    suite = columns([HELD], {"m": (score["base"], score["tuned"])})
    rows = [
        ScoreRow(suite="s", metric="m", case=case.id, arm="incumbent", value=value)
        for case, value in zip(cases, score["incumbent"], strict=True)
    ]
    cells = [
        StoredAnswer(
            cell=Cell(suite="s", case=case.id, arm=arm, kind=CellKind.GENERATE, key=arm + case.id),
            status="ok",
            completion=Completion(text=texts[arm][i]),
        )
        for i, case in enumerate(cases)
        for arm in texts
    ]
    manifest = record_factory.manifest([suite], arms=arms)
    scores = [*suite.rows(), *rows]
    answers = read_answers(manifest, {"s": cases}, scores, cells, {})
    run = ScoredRun(manifest=manifest, cases={"s": cases}, scores=scores, answers=answers)
    return compare(run)


@pytest.mark.parametrize(
    ("incumbent", "why"),
    [
        ([""] * 60, "s: incumbent looks broken: 60 of its 60 answers are empty"),
        (["HTTP 503"] * 60, "s: incumbent looks broken: 'HTTP 503' is its answer to 60 of 60"),
        (TODAYS, "the incumbent's answers are tuned's on all 60 cases: is it tuned itself, or was"),
    ],
)
def test_one_that_is_not_what_is_shipped_today_is_named(
    record_factory: Any, columns: Any, incumbent: list[str], why: str
) -> None:
    found = doubted(record_factory, columns, TODAYS, incumbent)

    assert found.verdict is Verdict.UNDECIDED
    assert found.sentence.startswith(why)


def test_one_that_answers_otherwise_or_is_as_perfect_is_not_doubted(
    record_factory: Any, columns: Any
) -> None:
    """Two that have all right are equal; so may be two whose weights are known to differ."""
    weights = {arm: {"spec": arm, "weights_sha256": arm} for arm in ARMS}

    for found in (
        doubted(record_factory, columns, TODAYS, [*TODAYS[:59], "nobody knows"]),
        doubted(record_factory, columns, RIGHT, RIGHT),
        doubted(record_factory, columns, TODAYS, TODAYS, weights),
    ):
        assert found.verdict is Verdict.SHIP
        assert found.sentence.startswith("no worse than the incumbent")
