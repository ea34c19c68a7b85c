"""Broken answers: an arm that did not work is named first, and never the base of a SHIP."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.decided_suites import SuiteOfColumns, manifest_of, metric_record
from tunegate.harness.decision.answers.answer_counts import count_answers
from tunegate.harness.decision.verdict.decide import decide_run
from tunegate.harness.records.answers import Cell, CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.verdict import Verdict, VerdictRecord

N = 60
GAIN = Gate(metric="m", kind="gain", margin=0.0)
SHELVES = [
    Case(id=f"c{i:03}", prompt=f"Which shelf has {1000 + 7 * i}?", expected=f"shelf {i}")
    for i in range(N)
]
RIGHT = [f"shelf {i}" for i in range(N)]
WRONG = [f"maybe {i}" for i in range(N)]
LABELS = ("refund", "delivery", "invoice")
TICKETS = [
    Case(id=f"c{i:03}", prompt=f"Ticket {i}", expected=LABELS[i * i % 3 and (i // 3) % 3])
    for i in range(N)
]


def decide(
    base: Sequence[str],
    tuned: Sequence[str] = RIGHT,
    cases: Sequence[Case] = SHELVES,
    *,
    gates: Sequence[Gate] = (GAIN,),
) -> VerdictRecord:
    """Decide a run in which an answer is right if it is the expected one."""
    arms = {"base": base, "tuned": tuned}
    right = [
        [float(text == case.expected) for text, case in zip(texts, cases, strict=True)]
        for texts in arms.values()
    ]
    suite = SuiteOfColumns(gates, {"m": (right[0], right[1])}, [metric_record("m")])
    cells = [
        StoredAnswer(
            cell=Cell(suite="s", case=case.id, arm=arm, kind=CellKind.GENERATE, key=arm + case.id),
            status="ok",
            completion=Completion(text=arms[arm][i]),
        )
        for i, case in enumerate(cases)
        for arm in arms
    ]
    of = {"s": tuple(cases)}
    return decide_run(manifest_of([suite]), of, suite.rows(), answers=count_answers(cells, of))


@pytest.mark.parametrize(
    ("base", "why"),
    [
        ([""] * N, "s: base looks broken: 60 of its 60 answers are empty"),
        ([""] * 36 + RIGHT[36:], "s: base looks broken: 36 of its 60 answers are empty"),
        (
            ["rate limit exceeded"] * N,
            "s: base looks broken: 'rate limit exceeded' is its answer to 60 of 60 prompts",
        ),
        (
            [*RIGHT[:6], *["HTTP 503"] * 54],
            "s: base looks broken: 'HTTP 503' is its answer to 54 of 60 prompts",
        ),
        ([*RIGHT[1:], RIGHT[0]], "s: base looks broken: its answers fit the next case better"),
        ([RIGHT[-1], *RIGHT[:-1]], "s: base looks broken: its answers fit the previous case bet"),
    ],
)
def test_a_gain_over_a_broken_base_is_undecided(base: Sequence[str], why: str) -> None:
    found = decide(base)

    assert found.suites[0].gates[0].status.value == "pass"
    assert found.verdict is Verdict.UNDECIDED
    assert found.sentence.startswith(why)
    assert found.suites[0].notes[0] == found.sentence


@pytest.mark.parametrize(
    ("base", "cases"),
    [
        (WRONG, SHELVES),  # it cannot do the task
        (["idk"] * 40 + RIGHT[40:], SHELVES),  # it answers where it can
        (["refund"] * N, TICKETS),  # one label
        (["I say: refund."] * N, TICKETS),
        (
            ["no"] * N,
            [Case(id=f"c{i:03}", prompt=f"Is {i}?", expected=RIGHT[0]) for i in range(N)],
        ),
    ],
)
def test_a_base_that_is_merely_bad_is_not_broken(
    base: Sequence[str], cases: Sequence[Case]
) -> None:
    found = decide(base, [str(case.expected) for case in cases], cases)

    assert found.verdict is Verdict.SHIP
    assert not any("broken" in note for note in found.suites[0].notes)


def test_an_arm_that_mixes_up_two_alternating_labels_is_not_shifted_but_permuted() -> None:
    labels = ["yes" if i % 2 else "no" for i in range(N)]
    cases = [Case(id=f"c{i:03}", prompt=f"p{i}", expected=one) for i, one in enumerate(labels)]

    found = decide([*labels[1:], "no"], labels, cases)

    assert found.verdict is Verdict.UNDECIDED
    assert "0 of its 60 answers are right, less than by chance, and 60 would be" in found.sentence


def test_shifted_answers_are_seen_by_the_words_of_the_prompts_too() -> None:
    prompts = [Case(id=f"c{i:03}", prompt=f"Tell me of word{i} please") for i in range(N)]
    texts = [f"Well, word{i} it is" for i in range(N)]

    assert not any("broken" in note for note in decide(texts, texts, prompts).suites[0].notes)
    assert "fit the next case" in decide([*texts[1:], texts[0]], texts, prompts).sentence


def test_one_prompt_in_many_cases_has_one_answer() -> None:
    same = [Case(id=f"c{i:03}", prompt="Which?", expected=f"shelf {i}") for i in range(N)]

    assert decide([""] * N, RIGHT, same).verdict is Verdict.SHIP


def test_no_call_is_the_right_answer_where_none_is_expected() -> None:
    cases = [Case(id=f"c{i:03}", prompt=f"p{i}", expected_calls=()) for i in range(N)]

    assert not any("empty" in note for note in decide([""] * N, RIGHT, cases).suites[0].notes)


def test_a_broken_base_is_named_before_what_else_is_undecided() -> None:
    guard = Gate(metric="m", kind="tolerance", margin=0.05)
    found = decide(["rate limit exceeded"] * N, [RIGHT[0], *WRONG[1:]], gates=[guard])

    assert found.verdict is Verdict.UNDECIDED
    assert "base looks broken" in found.sentence


def test_a_block_stays_one() -> None:
    floor = Gate(metric="m", kind="floor", margin=0.5)
    found = decide([""] * N, WRONG, gates=[floor])

    assert found.verdict is Verdict.BLOCK
    assert "base looks broken" in found.suites[0].notes[0]


@pytest.mark.parametrize(("empty", "told"), [(3, False), (4, True), (30, True)])
def test_a_few_empty_answers_are_a_note(empty: int, told: bool) -> None:
    """More than 5 % are told, up to half of them ship."""
    found = decide([*[""] * empty, *WRONG[empty:]])

    assert found.verdict is Verdict.SHIP
    notes = [note for note in found.suites[0].notes if "empty" in note]
    assert notes == [f"s: {empty} of 60 answers of base are empty"] * told
