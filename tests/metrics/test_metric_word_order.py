"""word_order: neighbouring words that are known, beyond those of a random order; by hand."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tunegate.harness.metrics._recorded_answers import RecordedAnswers
from tunegate.harness.metrics.word_order import MOST_ANSWERS, known_pairs, word_order
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case

RECORDED = {"a": "the parcel left our house", "b": "your parcel left today"}


@pytest.fixture(name="recorded")
def _recorded(tmp_path: Path) -> Path:
    """Return a file of two recorded answers."""
    return write(tmp_path / "recorded.jsonl", RECORDED)


def write(path: Path, answers: Mapping[str, str]) -> Path:
    """Write recorded answers; return the file."""
    rows = (json.dumps({"id": name, "completion": text}) for name, text in answers.items())
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def value(recorded: Path, text: str | None, *, case: str = "c", prompt: str = "?") -> float | None:
    """Return the score of an answer."""
    asked = Case(id=case, prompt=prompt)
    return word_order(asked, Completion(text=text), recorded=recorded).value


def test_known_neighbours_are_counted_against_a_random_order(recorded: Path) -> None:
    """`the parcel left today`: 3 of 3 are known, as are 3 of its 12 ordered pairs of words."""
    assert value(recorded, "The parcel LEFT today") == pytest.approx(
        (3 / 3 - 3 / 12) / (1 - 3 / 12)
    )
    # the parcel, parcel today, today left: one is known
    assert value(recorded, "the parcel today left") == pytest.approx((1 / 3 - 1 / 4) / (3 / 4))
    assert value(recorded, "left the today parcel") == 0


def test_the_random_order_is_the_mean_over_all_orders(recorded: Path) -> None:
    """The mean share of the 120 orders of five words, one of them twice, is that of chance."""
    words = ["the", "parcel", "left", "the", "house"]
    known = {("the", "parcel"), ("parcel", "left")}
    shares = [
        sum(pair in known for pair in itertools.pairwise(order)) / 4
        for order in itertools.permutations(words)
    ]
    chance = sum(shares) / len(shares)

    found = value(recorded, " ".join(words), case="other")

    # left our, our house: not among these words
    assert found == pytest.approx((2 / 4 - chance) / (1 - chance))


def test_the_cases_own_recorded_answer_is_not_known(recorded: Path) -> None:
    """`parcel left` is in the other answer, too; `the parcel` is in the own one alone."""
    # known: parcel left. 1 of 3 pairs, 1 of 12 ordered pairs
    expected = (1 / 3 - 1 / 12) / (1 - 1 / 12)

    assert value(recorded, "the parcel left our", case="a") == pytest.approx(expected)


def test_the_conversation_is_known(recorded: Path) -> None:
    assert value(recorded, "where is my lamp") == 0
    assert value(recorded, "where is my lamp", prompt="Where is my lamp?") == 1


@pytest.mark.parametrize("text", ["", "yes", "all is fine"])
def test_a_short_answer_has_no_order(recorded: Path, text: str) -> None:
    assert value(recorded, text) == 1


def test_what_cannot_be_read_is_unscored(recorded: Path, tmp_path: Path) -> None:
    assert value(recorded, None) is None
    score = word_order(
        Case(id="c", prompt="?"), Completion(text="x"), recorded=tmp_path / "none.jsonl"
    )
    assert (score.reason or "").startswith("the recorded answers cannot be read:")


def test_of_many_answers_the_first_are_looked_at() -> None:
    texts = {f"{n:05d}": f"word{n} again" for n in range(MOST_ANSWERS + 5)}

    known = known_pairs(RecordedAnswers(texts, tuple(texts)))

    assert len(known.texts) == MOST_ANSWERS
    assert (f"word{MOST_ANSWERS}", "again") not in known.counts
