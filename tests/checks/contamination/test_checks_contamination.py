"""Words, templates, and what training rows and cases have in common, against a naive reference."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.property_settings import examples
from tunegate.harness.checks.contamination import scan as scanning
from tunegate.harness.checks.contamination.check import classify_overlap
from tunegate.harness.checks.contamination.index import CaseIndex, CaseOverlap
from tunegate.harness.checks.contamination.ngrams import N
from tunegate.harness.checks.contamination.scan import TrainingText, scan_rows
from tunegate.harness.checks.contamination.templates import SHARED_BY
from tunegate.harness.checks.contamination.text import case_text, row_texts, split_words
from tunegate.harness.records.cases import Case
from tunegate.harness.records.contamination import OverlapKind

ALPHABET = [f"w{i}" for i in range(40)]


def numbered(first: int, last: int, stem: str = "w") -> str:
    """Return a text of the words first … last."""
    return " ".join(f"{stem}{i}" for i in range(first, last + 1))


def overlaps(cases: list[Case], *rows: Any) -> list[CaseOverlap]:
    """Return what each case has in common with rows, which are texts or lists of texts."""
    index = CaseIndex.of([[case_text(case) for case in cases]])
    texts = [tuple(row) if isinstance(row, list) else (row,) for row in rows]
    scan_rows(index, [TrainingText(f"f:{i}", text) for i, text in enumerate(texts, start=1)])
    return list(index.overlaps)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't PANIC: it's 42 €!", ["dont", "panic", "its", "42"]),
        ('{"order": "AB-1234"}', ["order", "ab", "1234"]),
        ("Straße STRASSE", ["strasse", "strasse"]),
        ("ﬁne ２０", ["fine", "20"]),
        ("snake_case", ["snake", "case"]),
        ("東京へ行く now", ["東", "京", "へ", "行", "く", "now"]),
        ("हिन्दी", ["हिन्दी"]),
        (" \n\t.,!", []),
        ("Fr\u200ban\u00adce, P\u0430r\u0456s", ["france", "paris"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    """Case, punctuation and forms of letters do not matter; unspaced scripts go by character."""
    assert split_words(text) == expected


@pytest.mark.parametrize(
    "row",
    [
        ["What\u200b is the c\u0430pital of Fr\u200dance?", "Paris"],
        ["Please answer shortly: what is the CAPITAL of France? Thank you.", "It is P\u0430ris."],
        ["Q: Wh\u0430t is the capit\u0430l of France?\u200b A: Paris"],
    ],
)
def test_a_short_prompt_is_found_however_it_is_dressed(row: list[str]) -> None:
    case = Case(id="a", prompt="What is the capital of France?", expected="Paris")

    (found,) = overlaps([case], row)

    assert classify_overlap(found) in (OverlapKind.EXACT, OverlapKind.WHOLE)


def test_a_short_prompt_of_a_template_is_found_between_other_words() -> None:
    """Of `Which shelf holds article 7?` only the number is a case's own, and the whole is found."""
    cases = [
        Case(id=str(i), prompt=f"Which shelf holds article {i}?", expected=f"shelf {i}x")
        for i in range(20)
    ]
    rows = [
        ["Tell me quickly: Which shelf holds article 7? Cheers!", "shelf 7x"],
        ["Tell me quickly: Which shelf holds article 8? Cheers!", "no idea"],
        ["Which shelf holds articles, and 9 of them?", "shelf 9x"],
    ]

    found = [classify_overlap(overlap) for overlap in overlaps(cases, *rows)]

    assert found[7] is OverlapKind.WHOLE
    assert found.count(None) == 19


def test_every_text_of_a_row_is_compared() -> None:
    """Columns may have any name; roles and ids are no texts."""
    row = {
        "id": "r1",
        "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
        "question": "c",
        "n": 3,
        "choices": ["d", "e"],
        "chosen": [{"role": "assistant", "content": [{"type": "text", "text": "f"}]}],
        "empty": "",
    }

    assert row_texts(row) == ["a", "b", "c", "d", "e", "f"]


def test_what_of_a_case_is_compared() -> None:
    """Turns but the system's, context, answers; of JSON answers the strings, not the keys."""
    case = Case(
        id="c",
        messages=(
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Where is it?"},
        ),
        context="It is in the box.",
        expected='{"place": "the box", "sure": true}',
    )

    text = case_text(case)

    assert text.prompt == (("where", "is", "it"), ("it", "is", "in", "the", "box"))
    assert text.answer == (("the", "box"),)
    assert text.right == (("place", "the", "box", "sure", "true"),)


def test_the_right_choice_is_the_answer() -> None:
    text = case_text(Case(id="c", prompt="Which?", choices=("This one", "That one"), answer=1))

    assert text.answer == (("that", "one"), ("this", "one"))
    assert text.right == (("that", "one"),)


@pytest.mark.parametrize(
    ("row", "runs", "seen", "longest"),
    [
        # 20 words hold 13 runs of 8: 1-8, 2-9, … 13-20
        (numbered(1, 20), 13, 13, 20),
        (numbered(1, 12), 13, 5, 12),
        (numbered(4, 16), 13, 6, 13),
        (numbered(1, 7), 13, 0, 0),
        (numbered(1, 8) + " x " + numbered(13, 20), 13, 2, 8),
        ("x " + numbered(1, 10) + " y " + numbered(10, 20), 13, 3 + 4, 11),
    ],
)
def test_runs_by_hand(row: str, runs: int, seen: int, longest: int) -> None:
    """8-grams of the case that a row holds, and the longest run of words."""
    [overlap] = overlaps([Case(id="c", prompt=numbered(1, 20))], row)

    assert (overlap.runs, overlap.seen, overlap.longest) == (runs, seen, longest)


def test_runs_do_not_cross_texts() -> None:
    case = Case(id="c", prompt=numbered(1, 12), expected=numbered(13, 24))

    [split] = overlaps([case], [numbered(1, 6), numbered(7, 12)])
    [whole] = overlaps([case], numbered(1, 24))

    assert (split.seen, split.longest) == (0, 0)
    assert (whole.seen, whole.runs, whole.longest) == (10, 10, 12)


def test_the_row_with_the_most_is_named() -> None:
    """`one_at` and `longest_at` say where a person should look."""
    case = Case(id="c", prompt=numbered(1, 30))

    [overlap] = overlaps(
        [case],
        numbered(1, 10),
        numbered(1, 9) + " x " + numbered(11, 20) + " y " + numbered(22, 30),
        numbered(2, 13),
    )

    assert (overlap.in_one, overlap.one_at) == (2 + 3 + 2, "f:2")
    assert (overlap.longest, overlap.longest_at) == (12, "f:3")


def test_a_template_is_no_cases_own() -> None:
    template = numbered(1, 30, "t")
    cases = [Case(id=str(i), prompt=f"{template} {numbered(1, 15, f'c{i}x')}") for i in range(9)]

    found = overlaps(cases, template, f"{template} {numbered(1, 15, 'c4x')}")

    assert {overlap.words for overlap in found} == {15}
    assert [overlap.longest for overlap in found] == [0, 0, 0, 0, 15, 0, 0, 0, 0]


def test_few_shot_examples_of_a_part_of_the_suite_are_a_template() -> None:
    shots = numbered(1, 40, "s")
    cases = [Case(id=f"m{i}", prompt=f"{shots} {numbered(1, 15, f'm{i}x')}") for i in range(3)]
    cases += [Case(id=f"o{i}", prompt=numbered(1, 20, f"o{i}x")) for i in range(97)]

    found = overlaps(cases, shots)

    assert [overlap.longest for overlap in found[:3]] == [0, 0, 0]


def test_short_opening_and_closing_words_are_a_template() -> None:
    """`Question: … Answer:` around a prompt hides no leak of its 12 words."""
    cases = [
        Case(id=str(i), prompt=f"Question: {numbered(1, 12, f'c{i}x')}\nAnswer:") for i in range(4)
    ]

    found = overlaps(cases, numbered(1, 12, "c2x"))

    assert [overlap.words for overlap in found] == [12] * 4
    assert [classify_overlap(overlap) for overlap in found] == [None, None, OverlapKind.WHOLE, None]


def test_a_passage_shared_within_a_cluster_is_its_cases_own() -> None:
    passage = numbered(1, 30, "p")
    texts = [f"{passage} {numbered(1, 9, f'q{i}x')}" for i in range(5)]
    apart = [Case(id=str(i), prompt=text) for i, text in enumerate(texts)]
    together = [case.model_copy(update={"cluster": "p"}) for case in apart]
    other = Case(id="other", prompt=numbered(1, 20, "o"))

    assert [o.longest for o in overlaps([*apart, other], passage)] == [0] * 6
    assert [o.longest for o in overlaps([*together, other], passage)] == [30] * 5 + [0]


def test_templates_are_those_of_one_suite() -> None:
    text = numbered(1, 20)
    form = [Case(id=str(i), prompt=f"{text} c{i}") for i in range(5)]
    own = [Case(id="x", prompt=text)]
    index = CaseIndex.of([[case_text(c) for c in suite] for suite in (form, own)])

    scan_rows(index, [TrainingText("f:1", (text,))])

    assert [overlap.longest for overlap in index.overlaps] == [0] * 5 + [20]


@pytest.mark.parametrize(
    ("prompt", "row", "found"),
    [
        ("Hi there", ["hi, there!"], True),
        ("Hi there", ["oh hi there"], False),
        (numbered(1, 40), [numbered(1, 40)], True),
    ],
)
def test_a_whole_prompt_is_a_turn(prompt: str, row: list[str], found: bool) -> None:
    [overlap] = overlaps([Case(id="c", prompt=prompt)], row)

    assert bool(overlap.exact_at) is found


def test_a_conversation_is_exact_if_a_row_has_all_its_turns() -> None:
    """A common turn (`yes please`) does not count."""
    turns = ("yes please", "which colour would you like", "blue")
    case = Case(
        id="c",
        messages=tuple(
            {"role": role, "content": text}
            for role, text in zip(("user", "assistant", "user"), turns, strict=True)
        ),
    )

    [one] = overlaps([case], ["yes please", "of course"])
    [all_] = overlaps([case], [*turns, "done"])

    assert (one.exact_at, all_.exact_at) == ("", "f:1")


@pytest.mark.parametrize(
    ("row", "found"),
    [
        (["Question: What is the capital of France?\nAnswer: Paris"], True),
        (["Question: What is the capital of France?", "It is Paris."], True),
        (["Question: What is the capital of France?", "It is Lyon."], False),
        (["Paris is what is called the capital of France"], False),
    ],
)
def test_a_short_prompt_counts_where_its_answer_stands_too(row: list[str], found: bool) -> None:
    """Six words within a longer text are weak evidence; with the right answer they are a leak."""
    [overlap] = overlaps(
        [Case(id="c", prompt="What is the capital of France?", expected="Paris")], row
    )

    assert bool(overlap.answered_at) is found
    assert (classify_overlap(overlap) is OverlapKind.WHOLE) is found


@pytest.mark.parametrize(
    ("overlap", "found"),
    [
        (CaseOverlap(words=40, runs=33, exact_at="f:1"), OverlapKind.EXACT),
        (CaseOverlap(words=40, runs=33, seen=6, in_one=6, longest=13), OverlapKind.RUN),
        (CaseOverlap(words=40, runs=33, seen=5, in_one=5, longest=12), None),
        # 20 runs of 40 are half of them; 8 are a fifth
        (CaseOverlap(words=47, runs=40, seen=20, in_one=9, longest=12), OverlapKind.SHARE),
        (CaseOverlap(words=47, runs=40, seen=19, in_one=9, longest=12), OverlapKind.SUSPECT),
        (CaseOverlap(words=47, runs=40, seen=8, in_one=8, longest=12), OverlapKind.SUSPECT),
        (CaseOverlap(words=47, runs=40, seen=7, in_one=7, longest=12), None),
        # fewer than 13 words: all or nothing, in one row
        (CaseOverlap(words=12, runs=5, seen=5, in_one=5, longest=12), OverlapKind.WHOLE),
        (CaseOverlap(words=12, runs=5, seen=5, in_one=4, longest=11), None),
        (CaseOverlap(words=6, runs=0, answered_at="f:1"), OverlapKind.WHOLE),
        (CaseOverlap(words=6, runs=0), None),
        (CaseOverlap(words=0, runs=0), None),
    ],
)
def test_what_counts(overlap: CaseOverlap, found: OverlapKind | None) -> None:
    """The thresholds of the specification, on both sides of each."""
    assert classify_overlap(overlap) is found


def test_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are read in batches, and their size does not change the result."""
    cases = [Case(id=str(i), prompt=numbered(i, i + 25)) for i in range(0, 300, 30)]
    rows = [numbered(i, i + 14) for i in range(0, 300, 7)]
    whole = overlaps(cases, *rows)

    monkeypatch.setattr(scanning, "BATCH", 3)

    assert overlaps(cases, *rows) == whole


def test_one_word_over_and_over_ends() -> None:
    [overlap] = overlaps([Case(id="c", prompt="ha " * 5_000)], "ha " * 5_000)

    assert overlap.longest >= 64
    assert classify_overlap(overlap) is OverlapKind.EXACT


def naive(cases: list[Case], rows: list[str]) -> list[tuple[int, int, int, int]]:
    """Return (runs, seen, in_one, longest) of each case by comparing everything with everything."""
    texts = [split_words(case.prompt or "") for case in cases]
    holders = defaultdict(set)
    for i, text in enumerate(texts):
        for k in range(len(text) - N + 1):
            holders[tuple(text[k : k + N])].add(i)
    found = []
    for text in texts:
        template = {
            p
            for k in range(len(text) - N + 1)
            if len(holders[tuple(text[k : k + N])]) > SHARED_BY
            for p in range(k, k + N)
        }
        own = [k for k in range(len(text) - N + 1) if not template & set(range(k, k + N))]
        per_row, longest = [], 0
        for row in map(split_words, rows):
            held = {tuple(row[k : k + N]) for k in range(len(row) - N + 1)}
            per_row.append({k for k in own if tuple(text[k : k + N]) in held})
            longest = max(longest, _longest(text, row, set(own)))
        seen = set().union(*per_row) if per_row else set()
        found.append((len(own), len(seen), max(map(len, per_row), default=0), longest))
    return found


def _longest(text: list[str], row: list[str], own: set[int]) -> int:
    """Return the words of the longest common run all of whose 8-grams are the case's own."""
    best = 0
    for i in range(len(text)):
        for j in range(len(row)):
            n = 0
            while i + n < len(text) and j + n < len(row) and text[i + n] == row[j + n]:
                n += 1
                if n >= N and i + n - N not in own:
                    break
                if n >= N:
                    best = max(best, n)
    return best


texts = st.lists(st.sampled_from(ALPHABET[:3]), max_size=24).map(" ".join)
patched = st.tuples(st.integers(0, 30), st.integers(0, 25), texts).map(
    lambda t: " ".join([*ALPHABET[t[0] : t[0] + t[1]], t[2]])
)


@examples(150)
@given(st.lists(texts | patched, min_size=1, max_size=6), st.lists(texts | patched, max_size=5))
def test_all_numbers_are_those_of_the_naive_way(prompts: list[str], rows: list[str]) -> None:
    # A word of its own at both ends keeps half of the cases from beginning or ending alike.
    cases = [Case(id=str(i), prompt=f"a{i} {p} z{i}") for i, p in enumerate(prompts)]

    found = overlaps(cases, *rows)

    assert [(o.runs, o.seen, o.in_one, o.longest) for o in found] == naive(cases, rows)
