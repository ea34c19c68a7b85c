"""loops: 4 repeats back to back that make up enough of the text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunegate.harness.metrics.loops import loops
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

CASE = Case(id="c", prompt="p")
PROSE = (
    "We have looked into your order and found that the parcel left our warehouse on Monday but was "
    "returned by the carrier because the address had no house number. Please send us the full "
    "address and we will post it again on the same day, free of charge."
)


def score(text: str | None) -> Score:
    """Score a text without the safety net of Metric.__call__."""
    return loops.score(CASE, Completion(text=text))


def distinct(count: int) -> str:
    """Return that many different words of one letter and a number: nothing in them repeats."""
    return " ".join(f"{chr(97 + index % 26)}{index * index}" for index in range(count))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", 0.0),
        ("   ", 0.0),
        ("yes", 0.0),
        (PROSE, 0.0),
        ("no no no no", 0.0),  # 4 repeats, but 4 words are under the 8 of the shortest run
        ("no " * 7, 0.0),
        ("no " * 8, 1.0),
        ("I am sure. " * 4, 1.0),  # 12 words of 12
        ("I am quite sure. " * 3, 0.0),  # 12 words, but only 3 repeats
        ("I am quite sure. " * 4, 1.0),
        (f"{distinct(16)} {'so it is ' * 4}", 1.0),  # 12 words of 28 = 43 %
        (f"{distinct(40)} {'so it is ' * 4}", 0.0),  # 12 of 52 = 23 %
        (f"{distinct(200)} {'so it is not ' * 5}", 1.0),  # 20 words count in any text
        (f"{distinct(200)} {'so it is not ' * 4}", 0.0),  # 16 do not
        (f"{'so it is not ' * 5}{distinct(200)}", 1.0),  # wherever it stands
        (f"{PROSE} {distinct(200)} " * 4, 0.0),  # longer units are not searched
        (f"{PROSE} {PROSE.upper()} " * 4, 1.0),
        (f"{PROSE} {PROSE.upper()} " * 3, 0.0),
        ("Is it? is it? IS it? is It? Is it? is it? IS It?", 0.0),  # exactly alike, or no repeat
        ("1. yes 2. yes 3. yes 4. yes 5. yes 6. yes", 0.0),  # changes each time: documented limit
        ("哈" * 39, 0.0),  # one "word": the rule for characters, from 40
        ("哈" * 40, 1.0),
        ("我很确定" * 10, 1.0),
        ("!" * 64, 1.0),  # what broken half-precision weights write
        ("שלום " * 20, 1.0),
        ("\0" * 100, 1.0),
        ("\ud800" * 100, 1.0),
    ],
)
def test_follows_the_written_rule(text: str, value: float) -> None:
    assert score(text).value == value


@pytest.mark.parametrize(
    "text",
    [
        "| order | status | date | sum |\n| --- | --- | --- | --- |\n| A-1 | lost | May 4 | 12 |",
        "|order|status|weekday|amount|\n|------------|------------|------------|------------|\n"
        "|A-1|lost|Monday|12.50|\n|B-2|sent|Tuesday|7.80|\n|C-3|back|Friday|100.00|\n"
        "|D-4|lost|Sunday|3.20|\n|E-5|sent|Monday|1.10|\n|F-6|open|Tuesday|99.00|",
        "Title\n" + "=" * 60 + "\n" + PROSE,
        "def f():\n" + " " * 60 + "return 1  # indented far\n" + PROSE,
        '{"a": null, "b": null, "c": null, "d": null, "e": null, "f": null, "g": null}',
        "- apples\n- pears\n- plums\n- figs\n- dates\n- limes\n- kiwis\n- leeks\n- beans",
        "Row, row, row your boat, gently down the stream. Merrily, merrily, merrily, merrily, "
        "life is but a dream.",
    ],
)
def test_ordinary_repetition_passes(text: str) -> None:
    """Tables, rules, indentation, lists, JSON and refrains are no loops."""
    assert score(text) == Score(value=0.0)


def test_the_reason_quotes_the_unit() -> None:
    assert score("I am sure. " * 5).reason == "'I am sure.' occurs 5 times in a row"


def test_the_smallest_unit_is_named() -> None:
    """`no no` eight times is `no` sixteen times."""
    assert score("no no " * 8).reason == "'no' occurs 16 times in a row"


@given(st.lists(st.sampled_from(["a", "b", "c1"]), min_size=1, max_size=16), st.integers(20, 40))
def test_a_pure_repetition_is_a_loop(unit: list[str], times: int) -> None:
    """Any unit that stands 20 times or more alone is found."""
    assert score(" ".join(unit * times)).value == 1.0


@given(st.integers(0, 400))
def test_words_that_never_come_back_are_no_loop(count: int) -> None:
    assert score(distinct(count)).value == 0.0


def test_every_period_is_found_at_every_place() -> None:
    """The shortest run that counts, of each unit length, anywhere; a shorter one does not count."""
    fresh = "".join(chr(0x4E00 + at) for at in range(200))
    for size in range(1, 65):
        unit = "".join(chr(0x3041 + at) for at in range(size))
        run = max(40, 4 * size)
        for start in (0, 1, 7, 14, 15, 16, 29, 30):
            tail = 30 - start
            text = fresh[:start] + (unit * 41)[:run] + fresh[100 : 100 + tail]
            assert score(text).value == 1.0, (size, start)
        assert score(fresh[:7] + (unit * 41)[: run - 1] + fresh[100:110]).value == 0.0, size


def test_every_period_of_words_is_found_at_every_place() -> None:
    """Likewise for units of 1 to 200 words, the longest that is searched."""
    fresh = [f"{chr(0x4E00 + at)}{at}" for at in range(60)]
    for size in range(1, 202):
        unit = [f"{chr(0x3041 + at % 80)}{at}{at}" for at in range(size)]
        run = max(8, 4 * size)
        for start in range(8):
            words = [*fresh[:start], *(unit * 9)[:run], *fresh[30 : 38 - start]]
            assert score(" ".join(words)).value == float(size <= 200), (size, start)
        short = [*fresh[:7], *(unit * 9)[: run - 1], *fresh[30:40]]
        assert score(" ".join(short)).value == 0.0, size
