"""Verdicts in words: whole sentences, as people read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.contracts.quantity import format_number
from tunegate.harness.decision.verdict.next_step import next_step
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.verdict import HEADLINE_WORDS, headline
from tunegate.harness.records.wording import count_noun

FLOOR, CEILING, GAIN, TOLERANCE = "floor", "ceiling", "gain", "tolerance"


def rule(kind: str, margin: float | str, metric: str = "m", **more: Any) -> Gate:
    """Return a gate."""
    return Gate(metric=metric, kind=kind, margin=margin, **more)


def test_numbers_and_counts() -> None:
    """Four digits, a sign where it matters, plurals, and a dash for nothing."""
    assert ["0.3333", "+0.5", "–", "1e-05"] == [
        format_number(1 / 3), format_number(0.5, sign=True), format_number(None),
        format_number(1e-5),
    ]  # fmt: skip
    assert ["1 case", "0 cases", "2 clusters", "1,200 replies"] == [
        count_noun(1, "case"), count_noun(0, "case"), count_noun(2, "cluster"),
        count_noun(1200, "reply", "replies"),
    ]  # fmt: skip


# kind, margin, (wins, losses, both, neither) → start and end of the sentence; the interval between
# them is the statistics' business
SENTENCES = [
    (FLOOR, 0.9, (95, 0, 0, 5), "m of tuned is 95.0 % (90 % CI ", "the floor of 90 % holds"),
    (FLOOR, 0.9, (50, 0, 0, 50), "m of tuned is 50.0 % (90 % CI ", "the floor of 90 % is broken"),
    (CEILING, 0.1, (5, 0, 0, 95), "m of tuned is 5.0 % (90 % CI ", "the ceiling of 10 % holds"),
    (
        GAIN, 0.1, (90, 0, 5, 5),
        "m rose 90.0 points, 5.0 → 95.0 % (90 % CI +",
        "on 100 cases: a gain of more than 10 points is proven",
    ),
    (
        GAIN, 0.1, (0, 30, 70, 0),
        "m fell 30.0 points, 100 → 70.0 % (90 % CI −",
        "a regression is proven, and a gain of more than 10 points is not",
    ),
    (
        TOLERANCE, 0.05, (0, 0, 100, 0),
        "m stayed at 100 % (90 % CI −3.0 to +3.0) ",  # 2.7055/102.7055
        "on 100 cases: the tolerance of 5 points holds",
    ),
    (
        TOLERANCE, 0.05, (0, 20, 980, 0), "",
        "the tolerance of 5 points holds, though a loss is proven",
    ),
    (
        TOLERANCE, 0.05, (0, 30, 70, 0), "",
        "a regression is proven; at most 5 points tolerated",
    ),
    (
        TOLERANCE, 0.05, (10, 10, 80, 0), "",
        "neither proven nor refuted; about 724 more (824 to 1060 in all) would decide it in 4 of 5 "
        "runs if tuned is as good as base",
    ),
    (
        GAIN, 0.0, (8, 4, 20, 8), "",
        "neither proven nor refuted; an expected_gain in the suite gives the number of cases that "
        "decide it",
    ),
    (
        GAIN, 0.1, (5, 5, 90, 0), "",
        "a gain of more than 10 points is ruled out, but the suite names no expected_gain to hold "
        "it against",
    ),
    (
        GAIN, 0.1, (1, 0, 0, 0), "",
        "on 1 case: a gain of more than 10 points is neither proven nor refuted; one case is too "
        "little to judge by",
    ),
    (GAIN, 0.1, (0, 0, 0, 0), "m: no case has a score in both arms", ""),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "margin", "counts", "start", "end"), SENTENCES)
def test_a_gate_in_words(
    judge: Any,
    columns: Any,
    record_factory: Any,
    kind: str,
    margin: float,
    counts: tuple[int, ...],
    start: str,
    end: str,
) -> None:
    found = judge(columns([rule(kind, margin)], {"m": record_factory.pairs(*counts)}))
    sentence = found.suites[0].gates[0].sentence

    assert sentence.startswith(start)
    assert sentence.endswith(end)


def test_a_gain_that_is_ruled_out_for_good(judge: Any, columns: Any, record_factory: Any) -> None:
    gates = [rule(GAIN, 0.02, expected_gain=0.1)]
    found = judge(columns(gates, {"m": record_factory.pairs(5, 5, 90, 0)}))

    assert (
        found.suites[0]
        .gates[0]
        .sentence.endswith(
            "a gain of more than 2 points is not proven, and a gain worth having is ruled out"
        )
    )
    assert found.sentence == "s: m stayed at 95.0 %, and a gain worth having is ruled out"
    step = next_step(found, (), run="run", report="report.html")
    assert step is not None
    assert step.startswith("train longer, or on more rows of the task")


def test_a_relative_tolerance_keeps_its_percent_sign(
    judge: Any, columns: Any, record_factory: Any
) -> None:
    found = judge(columns([rule(TOLERANCE, "2%")], {"m": record_factory.pairs(90, 0, 5, 5)}))

    assert found.suites[0].gates[0].sentence.endswith("the tolerance of 2% holds")


def test_few_clusters_in_words(judge: Any, columns: Any, record_factory: Any) -> None:
    suite = columns(
        [rule(GAIN, 0.1)], {"m": record_factory.pairs(30, 0, 0, 0)}, clusters=list("abc") * 10
    )

    found = judge(suite)

    assert (
        found.suites[0]
        .gates[0]
        .sentence.endswith("the cases come in 3 clusters, and it takes 10 at least")
    )
    step = next_step(found, (), run="run", report="report.html")
    assert step == (
        "the cases come in 3 clusters, and it takes 10 at least: tunegate plan s --from run"
    )


def test_guessing_in_words(judge: Any, columns: Any, record_factory: Any) -> None:
    """An insensitive gate says what it would have meant."""
    suite = columns(
        [rule(TOLERANCE, 0.05)],
        {"m": record_factory.pairs(0, 0, 50, 150)},
        [record_factory.metric(needs="choices")],
        extra={"choices": ("a", "b", "c", "d"), "answer": 0},
    )

    sentence = judge(suite).suites[0].gates[0].sentence

    assert sentence.endswith(
        "the tolerance of 5 points means nothing here: base is not proven that much better than "
        "guessing or failing, so it may have nothing to lose"
    )


def test_an_uncertified_floor_in_words(judge: Any, columns: Any, record_factory: Any) -> None:
    """What is met and not certified says how many more it takes: .95^90 < .01, a fifth of 5 %."""
    suite = columns(
        [rule(FLOOR, 0.95, floor_mode="certified")], {"m": record_factory.pairs(30, 0, 0, 0)}
    )

    sentence = judge(suite).suites[0].gates[0].sentence

    assert sentence.endswith(
        "the floor of 95 % is met but not certified; about 60 more (90 in all) would decide it in "
        "4 of 5 runs if tuned's level stays as it is"
    )


def test_few_scores_without_a_range_say_so(judge: Any, columns: Any, record_factory: Any) -> None:
    metric = record_factory.metric(binary=False, range=None)
    base = [0.1 * (i % 3) + 3 for i in range(199)]
    suite = columns([rule(GAIN, 0.0)], {"m": (base, [b + 1 + b % 1 for b in base])}, [metric])
    found = judge(suite)
    (gate,) = found.suites[0].gates

    assert (gate.status, gate.advisory, found.verdict) == ("undecided", False, "UNDECIDED")
    assert gate.sentence == (
        "m: scores without a range gate from 200 independent cases on, and not with 199: add "
        "cases, or set range = [least, largest] on the metric"
    )
    ranged = columns(
        [rule(GAIN, 0.0)],
        {"m": (base, [b + 1 + b % 1 for b in base])},
        [record_factory.metric(binary=False, range=(0.0, 5.0))],
    )
    assert judge(ranged).verdict == "SHIP"


def test_equal_differences_of_an_unbounded_metric_in_words(
    judge: Any, columns: Any, record_factory: Any
) -> None:
    metric = record_factory.metric(binary=False, range=None)
    suite = columns([rule(TOLERANCE, 0.05)], {"m": ([1.0] * 200, [2.0] * 200)}, [metric])

    assert judge(suite).suites[0].gates[0].sentence == (
        "m rose by 1, 1 → 2 on 200 cases: the tolerance of 0.05 is neither "
        "proven nor refuted; all differences are equal, so the next one cannot be predicted"
    )


@pytest.mark.parametrize(
    ("gates", "end"),
    [
        ([rule(GAIN, 0.1)], "s: m rose 5.0 → 95.0 %, more than the 10 points asked"),
        ([rule(GAIN, 0.0)], "s: m rose 5.0 → 95.0 %, a proven gain"),
        ([rule(GAIN, 0.1), rule(FLOOR, 0.5)], "10 points asked; 1 other gate holds"),
        (
            [rule(GAIN, 0.1), rule(FLOOR, 0.5), rule(TOLERANCE, 0.1)],
            "10 points asked; 2 other gates hold",
        ),
        (
            [rule(GAIN, 0.1), rule(GAIN, 0.1, "n")],
            "10 points asked; 1 further goal not needed",
        ),
        (
            [rule(FLOOR, 0.5)],
            "good enough: s: m rose 5.0 → 95.0 %, the floor of 50 % holds; no gate compares tuned "
            "with base",
        ),
        (
            [rule(FLOOR, 0.5), rule(TOLERANCE, 0.1)],
            "no worse: s: m rose 5.0 → 95.0 %, within the 10 points allowed; both gates hold",
        ),
        (
            [rule(FLOOR, 0.5), rule(TOLERANCE, 0.1), rule(CEILING, 1.0)],
            "within the 10 points allowed; all 3 gates hold",
        ),
    ],
)
def test_a_shipping_run_in_words(
    judge: Any, columns: Any, record_factory: Any, gates: list[Gate], end: str
) -> None:
    scores = {"m": record_factory.pairs(90, 0, 5, 5), "n": record_factory.pairs(1, 1, 98, 0)}

    assert judge(columns(gates, scores)).sentence.endswith(end)


# of 300 cases base has 289 right and tuned 110: 96.33 → 36.67 %, as 179 more went wrong
LOSS = (0, 179, 110, 11)


@pytest.mark.parametrize(
    ("gates", "sentence"),
    [
        (
            [rule(TOLERANCE, 0.9)],
            "worse than base, as far as the gates allow: s: m fell 96.3 → 36.7 %, within the 90 "
            "points allowed",
        ),
        (
            [rule(FLOOR, 0.3)],
            "worse than base, as far as the gates allow: s: m fell 96.3 → 36.7 %, the floor of 30 "
            "% holds",
        ),
        (
            [rule(FLOOR, 0.3), rule(TOLERANCE, 0.1, "n")],
            "worse than base, as far as the gates allow: s: m fell 96.3 → 36.7 %, the floor of 30 "
            "% holds",
        ),
    ],
    ids=["tolerance", "floor", "floor beside a tolerance"],
)
def test_no_worse_is_not_said_of_a_proven_loss(
    judge: Any, columns: Any, record_factory: Any, gates: list[Gate], sentence: str
) -> None:
    scores = {"m": record_factory.pairs(*LOSS), "n": record_factory.pairs(10, 0, 290, 0)}

    verdict = judge(columns(gates, scores))

    assert verdict.verdict == "SHIP"
    assert verdict.sentence.startswith(sentence)
    assert verdict.suites[0].gates[0].reason == "pass_with_loss"


def test_a_goal_names_what_else_was_lost(judge: Any, columns: Any, record_factory: Any) -> None:
    scores = {"m": record_factory.pairs(*LOSS), "n": record_factory.pairs(100, 0, 200, 0)}

    verdict = judge(columns([rule(FLOOR, 0.3), rule(GAIN, 0.1, "n")], scores))

    assert verdict.sentence == (
        "s: n rose 66.7 → 100 %, more than the 10 points asked; 1 other gate holds with a proven "
        "loss"
    )


@pytest.mark.parametrize(
    ("others", "tail"),
    [
        (0, "below the floor of 90 %"),
        (1, "below the floor of 90 %; 1 other gate does not hold either"),
        (2, "below the floor of 90 %; 2 other gates do not hold either"),
    ],
)
def test_a_blocked_run_names_the_worst_gate(
    judge: Any, columns: Any, record_factory: Any, others: int, tail: str
) -> None:
    """The broken floor speaks, though other gates stand before it; they are counted."""
    gates = [*(rule(GAIN, 0.5), rule(TOLERANCE, 0.001))[:others], rule(FLOOR, 0.9)]
    sentence = judge(columns(gates, {"m": record_factory.pairs(3, 2, 40, 5)})).sentence

    assert sentence == f"s: m rose 84.0 → 86.0 %, {tail}"


@pytest.mark.parametrize(
    ("kind", "margin", "counts", "words"),
    [
        (TOLERANCE, 0.05, (0, 30, 70, 0), "fell 100 → 70.0 %, more than the 5 points allowed"),
        (
            TOLERANCE, 0.05, (10, 10, 80, 0),
            "stayed at 90.0 %, staying within the 5 points allowed is not proven",
        ),
        (
            TOLERANCE, 0.07, (3, 15, 145, 37),
            "fell 80.0 → 74.0 %, a proven loss, which may exceed the 7 points allowed",
        ),
        (TOLERANCE, "5%", (0, 30, 70, 0), "fell 100 → 70.0 %, more than the 5% of base allowed"),
        (GAIN, 0.1, (0, 30, 70, 0), "fell 100 → 70.0 %, a proven loss where a gain was asked"),
        (GAIN, 0.1, (5, 5, 90, 0), "stayed at 95.0 %, a gain of more than 10 points is ruled out"),
        (CEILING, 0.1, (20, 0, 0, 80), "rose 0 → 20.0 %, above the ceiling of 10 %"),
    ],
)  # fmt: skip
def test_a_headline_names_metric_change_and_bound(
    judge: Any, columns: Any, record_factory: Any, kind: str, margin: Any, counts: Any, words: str
) -> None:
    metric = record_factory.metric(label="valid JSON")
    suite = columns([rule(kind, margin)], {"m": record_factory.pairs(*counts)}, [metric])

    assert judge(suite).sentence == f"s: valid JSON {words}"


def test_of_several_losses_the_one_furthest_beyond_its_margin_speaks(
    judge: Any, columns: Any, record_factory: Any
) -> None:
    """30 points are 3 margins of .1; 20 points are 10 of .02."""
    gates = [rule(TOLERANCE, 0.1), Gate(metric="other", kind=TOLERANCE, margin=0.02)]
    scores = {"m": record_factory.pairs(0, 30, 70, 0), "other": record_factory.pairs(0, 20, 80, 0)}

    assert judge(columns(gates, scores)).sentence.startswith("s: other fell")


def test_a_headline_has_25_words_at_most() -> None:
    """A tail that does not fit is left out, a long core ends with a clause, and `…` shows it."""
    long = "one two three: " * 10

    assert headline("a b", " c" * 23) == "a b" + " c" * 23
    assert headline("a b", " c" * 23, " d") == "a b" + " c" * 23 + "…"
    assert headline("a b", " c" * 24, " d") == "a b d …"
    assert headline("a b …", " c") == "a b c …"
    assert headline(long) == ("one two three: " * 8)[:-2] + " …"
    assert headline("x " * 30) == "x " * (HEADLINE_WORDS - 1) + "…"


@pytest.mark.parametrize(
    ("gates", "counts", "step"),
    [
        ([rule(FLOOR, 0.9)], (5, 0, 0, 95), "look at the failing cases: report.html"),
        (
            [rule(TOLERANCE, 0.05)], (0, 30, 70, 0),
            "if tuned forgot this, mix everyday rows into the training data: "
            "`tunegate help forgetting`",
        ),
        (
            [rule(GAIN, 0.5), rule(TOLERANCE, 0.05)], (0, 30, 70, 0),
            "look at the failing cases: report.html",
        ),
        (
            [rule(TOLERANCE, 0.05)], (10, 10, 80, 0),
            "about 724 more cases would decide it in 4 of 5 runs if tuned is as good as base: "
            "tunegate plan s --from run",
        ),
        (
            [rule(GAIN, 0.0)], (8, 4, 20, 8),
            "set expected_gain in the suite, then ask how many cases decide it: tunegate plan s "
            "--from run",
        ),
        (
            # 5 of 100 drop, exactly the limit: no number of cases tells on which side it is.
            [rule("severe_drop", 0.05, drop=0.5)], (1, 5, 84, 10),
            "more cases are not expected to decide it; set a wider bound before the next attempt: "
            "tunegate plan s --from run",
        ),
        ([rule(GAIN, 0.1)], (90, 0, 5, 5), None),
    ],
)  # fmt: skip
def test_a_verdict_that_does_not_ship_names_the_next_step(
    judge: Any, columns: Any, record_factory: Any, gates: list[Gate], counts: Any, step: str | None
) -> None:
    found = judge(columns(gates, {"m": record_factory.pairs(*counts)}))

    assert next_step(found, (), run="run", report="report.html") == step


def test_the_cause_of_another_blocked_suite_is_the_next_step(
    judge: Any, columns: Any, record_factory: Any
) -> None:
    """Knowledge has no written answers; the form that explains its loss shows elsewhere."""
    lost = {"m": record_factory.pairs(0, 60, 40, 0)}, {"m": record_factory.pairs(0, 30, 70, 0)}
    gates = [rule(TOLERANCE, 0.05)]
    found = judge(columns(gates, lost[0], name="a"), columns(gates, lost[1], name="b"))
    first, second = found.suites
    known = found.model_copy(
        update={"suites": (first, second.model_copy(update={"causes": ("one form", "two")}))}
    )

    assert found.sentence.startswith("a: ")
    assert next_step(known, (), run="run", report="report.html") == "one form. Two"


def test_a_command_names_a_suite_as_seen_from_here(
    judge: Any, columns: Any, record_factory: Any
) -> None:
    suite = columns([rule(GAIN, 0.1)], {"m": record_factory.pairs(12, 2, 30, 30)})
    record = suite.record().model_copy(update={"path": str(Path.cwd() / "suites/s/suite.toml")})
    found = judge(suite)
    step = next_step(found, (record,), run="run", report="report.html")

    assert step is not None
    assert step.endswith("tunegate plan suites/s/suite.toml --from run")


def test_a_gain_under_one_wording_asks_for_rows_in_several(
    judge: Any, columns: Any, record_factory: Any
) -> None:
    """Plain wins 30 of 50 cases, typos none of 50, where a gain of 0.3 was expected."""
    won, open_ = record_factory.pairs(30, 0, 10, 10), record_factory.pairs(0, 0, 25, 25)
    tags = ("variant:plain", "variant:typos")
    suite = columns(
        [rule(GAIN, 0.05, expected_gain=0.3, every="variant", tag=tag) for tag in tags],
        {"m": (won[0] + open_[0], won[1] + open_[1])},
        tags=[(tag,) for tag in tags for _ in range(50)],
    )
    step = next_step(judge(suite), (), run="run", report="report.html")

    assert step is not None
    assert step.startswith("train on rows in several wordings")


def test_everyday_rows_are_no_remedy_for_lost_speed(
    judge: Any, columns: Any, record_factory: Any
) -> None:
    suite = columns(
        [rule(TOLERANCE, 0.05)],
        {"m": record_factory.pairs(0, 60, 40, 0)},
        [record_factory.metric(needs="drafts")],
    )
    step = next_step(judge(suite), (suite.record(),), run="run", report="report.html")

    assert step is not None
    assert step.endswith("not answers; see which cases: report.html")


def test_what_was_lost_speaks_before_a_floor_that_base_never_reached(
    judge: Any, columns: Any, record_factory: Any
) -> None:
    gates = [rule(FLOOR, 0.9), Gate(metric="other", kind=TOLERANCE, margin=0.1)]
    scores = {"m": record_factory.pairs(80, 0, 0, 20), "other": record_factory.pairs(0, 30, 70, 0)}

    assert judge(columns(gates, scores)).sentence.startswith("s: other fell")
