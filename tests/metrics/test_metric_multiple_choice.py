"""multiple_choice: a letter in free text, against a table written from the specification."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.decided_suites import SuiteOfColumns, manifest_of
from tunegate.harness.contracts.reasoning import separate_thoughts, without_thoughts
from tunegate.harness.decision.verdict.decide import decide_run
from tunegate.harness.metrics.multiple_choice import multiple_choice
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.scores import Score

PATH = Path(__file__).with_name("tables") / "multiple_choice.json"
TABLE = json.loads(PATH.read_text("utf-8"))
CITIES = ("London", "Paris", "Rome")


def score(text: str | None, *, letters: str = "ABCD", **fields: Any) -> Score:
    """Score `text` without the safety net of Metric.__call__, so that an exception shows."""
    case = Case(id="c", prompt="p", **fields)
    return multiple_choice.score(case, without_thoughts(Completion(text=text)), letters=letters)


def problems(options: dict[str, Any], **fields: Any) -> list[str]:
    """Return what the metric refuses when a suite is loaded."""
    assert multiple_choice.check is not None
    return list(multiple_choice.check(options, [Case(id="c1", prompt="p", **fields)]))


def test_reads_the_choice() -> None:
    """Each row is an answer and what it names: one letter scores 1 for that letter alone."""
    for row in TABLE:
        choices, why = row.get("choices"), row["why"]
        default = "ABCD"[: len(choices)] if choices else "ABCD"
        letters = row.get("options", {}).get("letters", default)
        for index, letter in enumerate(letters):
            right = {"choices": choices, "answer": index} if choices else {"expected": letter}
            result = score(row["text"], letters=letters, **right)
            if row["reads"] == "ambiguous":
                assert result.value is None, why
                assert str(result.reason).startswith("ambiguous: the answer names "), why
            elif row["reads"] == "none":
                assert result == Score.of(0.0, "the answer names no choice"), why
            else:
                wanted = Score.of(float(letter == row["reads"]), f"read {row['reads']}")
                assert result == wanted, why


@pytest.mark.parametrize(
    ("text", "tags", "reason"),
    [
        ("The answer is A.</think>So it goes.", None, "the answer names no choice"),
        ("The answer is A.</think>So it goes.", (), "read A"),
        ("The answer is A.</think>So it goes.", ("<a>", "</a>"), "read A"),
        ("<a>The answer is A.</a>B", ("<a>", "</a>"), "read B"),
        ("The answer is A, and I end with `</think>`.", None, "read A"),
    ],
)
def test_the_run_alone_says_what_thoughts_are(text: str, tags: Any, reason: str) -> None:
    """With `thinking_tags = []` a model has none, and all that it wrote is the answer."""
    settings = GenerationSettings(thinking_tags=tags)
    completion = separate_thoughts(Completion(text=text), settings)

    result = multiple_choice.score(Case(id="c", prompt="p", expected="A"), completion)

    assert result.reason == reason


def test_an_ambiguous_answer_says_what_it_names() -> None:
    assert score("It is C or A.", expected="A").reason == "ambiguous: the answer names A and C"


@pytest.mark.parametrize("expected", ["A", "B", "C"])
def test_two_choices_are_worth_what_the_option_says(expected: str) -> None:
    case, text = Case(id="c", prompt="p", expected=expected), Completion(text="It is C or A.")
    reason = "ambiguous: the answer names A and C"

    assert multiple_choice.score(case, text) == Score.unscored(reason)
    assert multiple_choice.score(case, text, ambiguous="wrong") == Score.of(0.0, reason)
    alone = multiple_choice.score(case, Completion(text=expected), ambiguous="wrong")
    assert alone == Score.of(1.0, f"read {expected}")


@pytest.mark.parametrize("text", ["", "I don't know.", "The answer is", "<think>The answer is B"])
def test_no_answer_is_worth_what_the_option_says(text: str) -> None:
    wrong, unscored = (
        multiple_choice.score(
            Case(id="c", prompt="p", expected="B"),
            without_thoughts(Completion(text=text)),
            no_answer=no_answer,
        )
        for no_answer in ("wrong", "unscored")
    )

    assert wrong == Score.of(0.0, "the answer names no choice")
    assert unscored == Score.unscored("the answer names no choice")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Let us see. Option A says that", None),
        ("Among A, C and D the first", None),
        ("The answer is B. Among A and C the", "B"),
        ("B because it is the", "B"),
        ("B", "B"),
        ("**B", "B"),
        ("B. Paris is the", "B"),
    ],
)
def test_a_letter_in_a_sentence_that_is_cut_off_is_no_answer(text: str, names: str | None) -> None:
    case = Case(id="c", prompt="p", expected="B")
    result = multiple_choice.score(case, Completion(text=text, finish_reason="length"))

    if names is None:
        assert result == Score.of(0.0, "the answer names no choice; it is cut off")
    else:
        assert result == Score.of(1.0, "read B")


def test_unscored_answers_of_tuned_cannot_hide_a_loss() -> None:
    """Base answers 400 questions, tuned is cut off on 16: less than 5 %, and yet no SHIP."""
    case = Case(id="c", prompt="p", expected="B")
    full, cut = Completion(text="The answer is B."), Completion(text="Let us see whether")
    verdicts = {}
    for name, no_answer, answers in (
        ("complete", "wrong", [full] * 384),
        ("wrong", "wrong", [cut] * 16 + [full] * 384),
        ("unscored", "unscored", [cut] * 16 + [full] * 384),
    ):
        tuned = [multiple_choice.score(case, one, no_answer=no_answer).value for one in answers]
        suite = SuiteOfColumns(
            gates=[Gate(metric="m", kind="tolerance", margin=0.03)],
            columns={"m": ([1.0] * len(tuned), tuned)},
        )
        decided = decide_run(manifest_of([suite]), {"s": suite.cases()}, suite.rows())
        verdicts[name] = decided.verdict.value

    assert verdicts == {"complete": "SHIP", "wrong": "BLOCK", "unscored": "UNDECIDED"}


@pytest.mark.parametrize("expected", ["B", "b", " (B) ", "B.", "paris", " Paris "])
def test_the_right_choice_can_be_written_as_letter_or_text(expected: str) -> None:
    """Without `answer` the expected text names the choice."""
    assert score("B", choices=CITIES, expected=expected).value == 1.0
    assert score("A", choices=CITIES, expected=expected).value == 0.0
    assert problems({}, choices=CITIES, expected=expected) == []


def test_answer_outranks_expected() -> None:
    """Where a case has both, the index counts."""
    assert score("C", choices=CITIES, answer=2, expected="A").value == 1.0


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"expected": "A"}, None),
        ({}, "A"),
        ({"choices": CITIES}, "A"),
        ({"choices": CITIES, "answer": 3}, "A"),
        ({"choices": CITIES, "expected": "D"}, "A"),
        ({"expected": "E"}, "A"),
    ],
)
def test_missing_data_is_unscored(fields: dict[str, Any], text: str | None) -> None:
    result = score(text, **fields)

    assert result.value is None
    assert not str(result.reason).startswith("ambiguous")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "it has no right choice"),
        ({"expected": "E"}, "expected='E' is not a choice"),
        ({"expected": "Paris"}, "expected='Paris' is not a choice"),
        ({"choices": CITIES}, "it has no right choice"),
        ({"choices": CITIES, "expected": "Berlin"}, "expected='Berlin' is not a choice"),
    ],
)
def test_a_case_without_a_right_choice_is_refused(fields: dict[str, Any], problem: str) -> None:
    assert problems({}, **fields) == [
        f"metric 'multiple_choice': case 'c1': {problem}; give 'choices' with 'answer', or a "
        "letter as 'expected'"
    ]


def test_more_choices_than_letters_are_refused() -> None:
    """There are 26 letters."""
    assert problems({}, choices=tuple(map(str, range(26))), answer=25) == []
    assert problems({}, choices=tuple(map(str, range(27))), answer=26) == [
        "metric 'multiple_choice': case 'c1': 27 choices; there are letters for 26"
    ]


@pytest.mark.parametrize("letters", ["", "abc", "AAB", "A-D", "123", "ABÄ"])
def test_letters_are_capitals_each_once(letters: str) -> None:
    assert problems({"letters": letters}, expected="A") == [
        f"metric 'multiple_choice': letters={letters!r}: must be capital letters from A to Z, each "
        'once, such as "ABCDE"'
    ]


@given(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
def test_every_letter_can_be_read(letter: str) -> None:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    for text in (letter, f"({letter})", f"The answer is {letter}.", f"I choose {letter}"):
        assert score(text, letters=letters, expected=letter).value == 1.0
