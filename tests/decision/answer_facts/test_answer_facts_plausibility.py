"""Plausibility: an arm that did not work is named first, and never the base of a SHIP."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from tests.decided_suites import SuiteOfColumns, manifest_of, metric_record
from tunegate.harness.decision.answer_facts.alignment import permuted_labels
from tunegate.harness.decision.answer_facts.arm_answers import ArmAnswers
from tunegate.harness.decision.answer_facts.read_answers import read_answers
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
SUBJECTS = [
    f"{color} {thing}"
    for color in ("red", "blue", "green", "white", "black", "brown")
    for thing in ("lamp", "desk", "door", "wall", "coat", "boot", "ring", "book", "film", "ship")
]
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
    expects: tuple[str, ...] = (),
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
    manifest = manifest_of([suite])
    meant = manifest.suites[0].model_copy(update={"base_expects": expects})
    manifest = manifest.model_copy(update={"suites": (meant,)})
    answers = read_answers(manifest, of, suite.rows(), cells, {})
    return decide_run(manifest, of, suite.rows(), answers=answers)


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

    assert found.verdict is Verdict.SHIP
    line = "s: base: 0 of its 60 answers are right, less than by chance; does it prefer the wrong"
    assert found.suites[0].notes[0].startswith(line)


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


def ids(number: int) -> str:
    """Return an id that no other number has."""
    return f"{number * 2_654_435_761 % 2**32:08x}{number:04d}"


MANY = 200
"""Cases from which a part that is shifted is proven."""
LONG = [
    Case(id=f"c{i:03}", prompt=f"Which shelf has {1000 + 7 * i}?", expected=f"shelf {i}")
    for i in range(MANY)
]
LONG_RIGHT = [f"shelf {i}" for i in range(MANY)]
TRACES = [f'Traceback (most recent call last):\n  File "a.py", line {i}' for i in range(N)]


@pytest.mark.parametrize(
    ("base", "why"),
    [
        (
            [f"429 Too Many Requests: req_{ids(i)}" for i in range(N)],
            "60 of its 60 answers are error messages, such as '429 Too Many Requests: req_",
        ),
        ([*TRACES[:36], *WRONG[36:]], "36 of its 60 answers are error messages"),
        ([f"maybe {i} \ufffd\ufffd" for i in range(N)], "answers have broken characters"),
        ([f"größe {i}".encode().decode("latin-1") for i in range(N)], "have broken characters"),
        ([f"<|im_start|>shelf {i}<|im_end|>" for i in range(N)], "have marks of a chat template"),
        ([str(case.prompt) for case in SHELVES], "60 of its 60 answers repeat the prompt"),
        ([f"User: {case.prompt}\nAssistant:" for case in SHELVES], "answers repeat the prompt"),
        ([*RIGHT[2:], *RIGHT[:2]], "its answers fit the case 2 lines on better than their own"),
        ([*RIGHT[-3:], *RIGHT[:-3]], "its answers fit the case 3 lines back better"),
        (RIGHT[::-1], "its answers fit the cases in reverse better"),
        (sorted(RIGHT), "its 60 answers stand in alphabetical order"),
        ([RIGHT[i - i % 2] for i in range(N)], "its 60 answers stand twice"),
    ],
)
def test_a_base_that_no_model_wrote_is_never_the_base_of_a_ship(
    base: Sequence[str], why: str
) -> None:
    found = decide(base)

    assert found.verdict is Verdict.UNDECIDED
    assert found.sentence.startswith("s: base looks broken: ")
    assert why in found.sentence


def test_a_template_with_ids_is_one_text_unless_its_numbers_may_be_answers() -> None:
    texts = [f"Please come back to us later ({ids(i)})" for i in range(N)]
    labels = [str(case.expected) for case in TICKETS]

    found = decide(texts, labels, TICKETS)

    assert found.verdict is Verdict.UNDECIDED
    assert "60 of its 60 answers are `Please come back to us later #`, and wrong" in found.sentence
    assert decide(texts).verdict is Verdict.SHIP
    assert decide(texts).suites[0].notes[0].startswith("s: 60 of 60 answers of base are `Please")


def test_answers_that_are_shifted_from_the_middle_on_are_seen() -> None:
    half = MANY // 2
    found = decide([*LONG_RIGHT[:half], *LONG_RIGHT[half + 1 :], "none"], LONG_RIGHT, LONG)

    assert found.verdict is Verdict.UNDECIDED
    assert "fit the next case better" in found.sentence
    assert "cases 101 to 199" in found.sentence


@pytest.mark.parametrize(
    "order",
    [
        [i ^ 1 for i in range(N)],
        [(i + 7) % N for i in range(N)],
        random.Random(1).sample(range(N), N),
        sorted(range(N), key=lambda i: i + 20 * random.Random(i).random()),
    ],
    ids=["pairs swapped", "shifted by 7", "at random", "in the order of completion"],
)
def test_right_answers_in_another_order_are_named(order: list[int]) -> None:
    found = decide([f"It is {RIGHT[i]}." if i == 5 else RIGHT[i] for i in order])

    assert found.verdict is Verdict.UNDECIDED
    assert "are they in another order?" in found.sentence


def test_guesses_among_the_right_answers_repeat_and_are_honest() -> None:
    verdicts = set()
    for seed in range(200):
        rng = random.Random(seed)
        verdicts.add(decide([f"shelf {rng.randrange(N)}" for _ in range(N)]).verdict)

    assert verdicts == {Verdict.SHIP}


def test_labels_that_stand_in_another_order_are_named() -> None:
    moved = dict(zip(LABELS, (*LABELS[1:], LABELS[0]), strict=True))
    found = decide(
        [moved[str(case.expected)] for case in TICKETS],
        [str(case.expected) for case in TICKETS],
        TICKETS,
    )

    assert found.verdict is Verdict.UNDECIDED
    assert "with other labels (delivery for refund" in found.sentence


def test_permuted_choices_are_named_by_their_likelihoods() -> None:
    cases = [
        Case(id=f"c{i:03}", prompt=f"p{i}", choices=("a", "b", "c"), answer=i % 3) for i in range(N)
    ]
    arm = ArmAnswers(cases, picks={case.id: ((case.answer or 0) + 1) % 3 for case in cases})
    honest = ArmAnswers(cases, picks={case.id: i * i % 3 for i, case in enumerate(cases)})

    found = permuted_labels(arm)

    assert found is not None
    assert found.several
    assert "0 of its 60 answers are right" in found.text
    assert permuted_labels(honest) is None


def test_a_quoted_answer_has_no_personal_data_not_even_half_of_it() -> None:
    masked = decide([f"maybe \ufffd {ids(i)} to ann@example.org" for i in range(N)])
    cut = decide([f"maybe \ufffd {ids(i)} {'x' * 25} to ann.lee@example.org" for i in range(N)])

    assert "to <email>'" in masked.sentence
    assert "ann" not in cut.sentence


@pytest.mark.parametrize(
    ("base", "line"),
    [
        ([*TRACES[:6], *WRONG[6:]], "s: 6 of 60 answers of base are error messages, such as "),
        (
            [f"I am sorry, but I cannot help with {i}" for i in range(40)] + RIGHT[40:],
            "s: 40 of 60 answers of base start with `I am sorry, but` and earn nothing; tuned: 0",
        ),
        (
            [f"Rivers, lakes and green hills lie north of old town {i}." for i in range(N)],
            "s: 60 of 60 answers of base start with `Rivers, lakes and green`",
        ),
    ],
)
def test_what_may_be_honest_is_told_before_the_gain_and_ships(
    base: Sequence[str], line: str
) -> None:
    found = decide(base)

    assert found.verdict is Verdict.SHIP
    assert found.suites[0].notes[0].startswith(line)


@pytest.mark.parametrize(
    "base",
    [
        [f"The shelf is {60 - i}." for i in range(N)],  # numbers are answers here
        [f'{{"place": "{ids(i)}", "floor": {i}}}' for i in range(N)],
        [f"{case.prompt} Look in aisle {i}." for i, case in enumerate(SHELVES)],
        [f"You asked of {case.prompt.split()[-1]} and I do not know it." for case in SHELVES],
        [f"{one} or error {i}" for i, one in enumerate(WRONG)],
    ],
)
def test_a_base_that_never_learned_the_form_is_the_base_of_a_ship(base: Sequence[str]) -> None:
    found = decide(base)

    assert found.verdict is Verdict.SHIP
    assert not any("broken" in note for note in found.suites[0].notes)


@pytest.mark.parametrize(
    "base",
    [
        [f"I am sorry that your {one} timed out; please try again." for one in SUBJECTS],
        [f"You have used up your quota for the {one}; ask for more." for one in SUBJECTS],
        [f"<s>The {one}</s> is sold; look on the shelf." for one in SUBJECTS],
        ["timeout"] * 24 + ["quota"] * 18 + WRONG[42:],  # labels
    ],
)
def test_a_reply_about_an_error_and_text_struck_through_are_no_error(
    base: Sequence[str],
) -> None:
    found = decide(base)

    assert found.verdict is Verdict.SHIP
    assert not any("error" in note or "marks" in note for note in found.suites[0].notes)


def test_labels_at_random_in_order_or_upside_down_are_honest() -> None:
    right = [str(case.expected) for case in TICKETS]
    for base in ([LABELS[i % 3] for i in range(N)], ["refund"] * 50 + ["invoice"] * 10):
        assert decide(base, right, TICKETS).verdict is Verdict.SHIP


def test_a_shape_that_the_right_answers_have_is_none() -> None:
    cases = [Case(id=f"c{i:03}", prompt=f"p{i}", expected=f"Error: code {i % 7}") for i in range(N)]
    base = [f"Error: code {(i + 2) % 7}" for i in range(N)]

    assert not any(
        "error messages" in note
        for note in decide(base, [str(c.expected) for c in cases], cases).suites[0].notes
    )


def test_a_base_that_corrects_nothing_is_no_echo() -> None:
    """Where the right answer is the prompt with a word changed, a poor model changes none."""
    wrong = [
        f"The {one} and the {other} is near the old house" for one in LABELS for other in "xyzuvw"
    ]
    cases = [
        Case(id=f"c{i:03}", prompt=f"Correct this: {text}", expected=text.replace(" is ", " are "))
        for i, text in enumerate(wrong)
    ]
    right = [str(case.expected) for case in cases]

    for base in (wrong, [str(case.prompt) for case in cases]):
        assert decide(base, right, cases).verdict is Verdict.SHIP


def test_one_short_text_to_most_prompts_is_told_unless_it_is_a_label() -> None:
    short = decide([*["N/A"] * 47, *WRONG[47:]])
    label = decide(["refund"] * 47 + ["none"] * 13, [str(c.expected) for c in TICKETS], TICKETS)

    assert short.verdict is label.verdict is Verdict.SHIP
    assert any("47 of 60 answers of base are `N/A`" in note for note in short.suites[0].notes)
    assert not any("`refund`" in note for note in label.suites[0].notes)


def test_a_suite_expects_a_form_by_its_name_and_nothing_else() -> None:
    meant = decide([""] * N, expects=("empty",))

    assert meant.verdict is Verdict.SHIP
    assert meant.suites[0].notes[0].endswith("([base] expects it)")
    assert decide([""] * N, expects=("error messages",)).verdict is Verdict.UNDECIDED
    assert decide(["HTTP 503"] * N, expects=("HTTP 503",)).verdict is Verdict.SHIP
    assert decide(["HTTP 502"] * N, expects=("HTTP 503",)).verdict is Verdict.UNDECIDED
    shifted = decide([*RIGHT[1:], RIGHT[0]], expects=("empty", "shelf 1", ""))
    assert shifted.verdict is Verdict.UNDECIDED


def test_the_sentence_says_how_a_suite_expects_the_form() -> None:
    assert decide([""] * N).sentence.endswith(
        'if that is meant: [base] expect = "empty" in suite.toml'
    )
