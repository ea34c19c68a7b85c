"""resemblance: similarity to the recorded answer beyond chance, by hand and by rouge-score."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.contracts.reasoning import without_thoughts
from tunegate.harness.metrics._recorded_answers import (
    OTHERS,
    RecordedAnswers,
    read_answers,
    split_words,
)
from tunegate.harness.metrics.resemblance import resemblance
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

RECORDED = {"a": "the parcel left our house", "b": "please pay the bill"}


@pytest.fixture(name="recorded")
def _recorded(tmp_path: Path) -> Path:
    """Return a file of two recorded answers."""
    return write(tmp_path / "recorded.jsonl", RECORDED)


def write(path: Path, answers: Mapping[str, str]) -> Path:
    """Write recorded answers; return the file."""
    rows = (json.dumps({"id": name, "completion": text}) for name, text in answers.items())
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def score(recorded: Path, text: str | None, **fields: Any) -> Score:
    """Score an answer to the case `a` without the safety net of Metric.__call__."""
    case = Case(**{"id": "a", "prompt": "where is it", **fields})
    return resemblance.score(case, without_thoughts(Completion(text=text)), recorded=recorded)


@pytest.mark.parametrize(
    ("text", "likeness", "chance"),
    [
        # twice the common words in order, over the words of both
        ("the parcel left our house", 1.0, 2 / 9),  # "the" alone is in the other answer
        ("The parcel left", 6 / 8, 2 / 7),
        ("left parcel the", 2 / 8, 2 / 7),  # one of three is in order: below chance
        ("where is it", 0.0, 1.0),  # the prompt itself
        ("please pay the bill", 2 / 9, 1.0),  # the answer to another prompt
        ("", 0.0, 0.0),
        ("<think>the bill</think>the parcel left", 6 / 8, 2 / 7),  # reasoning is left out
    ],
)
def test_the_score_is_kappa(recorded: Path, text: str, likeness: float, chance: float) -> None:
    """(similarity − chance) / (1 − chance), at least 0, with both as parts."""
    found = score(recorded, text)

    assert found.parts == pytest.approx({"similarity": likeness, "chance": chance})
    expected = max(0.0, (likeness - chance) / (1 - chance)) if chance < 1 else 0.0
    assert found.value == pytest.approx(expected)


def test_similarity_is_rouge_l_of_rouge_score(recorded: Path) -> None:
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"])

    for text in ("our house the parcel left", "a parcel has left the house of ours", "bill house"):
        found = score(recorded, text)
        assert found.parts is not None
        expected = scorer.score(RECORDED["a"], text)["rougeL"].fmeasure
        assert found.parts["similarity"] == pytest.approx(expected)


def test_any_turn_of_the_conversation_is_chance(recorded: Path) -> None:
    turns = [
        {"role": "assistant", "content": "the parcel left our house"},
        {"role": "user", "content": [{"type": "text", "text": "are you sure"}]},
    ]

    assert score(recorded, "the parcel left our house", prompt=None, messages=turns).value == 0.0


def test_scripts_without_spaces_are_compared_by_letter(tmp_path: Path) -> None:
    """Four of six Han letters in order are a similarity of 8/12."""
    file = write(tmp_path / "r.jsonl", {"a": "包裹已经寄出", "b": "请付款"})

    found = score(file, "包裹没有寄出")

    assert split_words("包裹 ok") == ("包", "裹", "ok")
    assert found.parts == pytest.approx({"similarity": 8 / 12, "chance": 0.0})


def test_a_case_without_a_line_is_compared_with_its_expected_answer(recorded: Path) -> None:
    assert score(recorded, "yes", id="c", expected="yes").value == 1.0
    assert score(recorded, "yes", id="c").value is None
    assert score(recorded, None).value is None


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "recorded.jsonl:1: not JSON"),
        ("\n[]", "recorded.jsonl:2: a line must be an object with an id"),
        ('{"id": "z", "completion": "x"}', "has no answer to any of the 1 cases"),
        ('{"id": "a", "completion": "x"}\n{"id": "b", "completion": "x"}', "are equal"),
        ("", "has no answer to any"),
    ],
)
def test_a_useless_file_is_refused_before_anything_is_spent(
    tmp_path: Path, content: str, problem: str
) -> None:
    file = tmp_path / "recorded.jsonl"
    file.write_text(content, encoding="utf-8")
    assert resemblance.check is not None

    (found,) = resemblance.check({"recorded": file}, [Case(id="a", prompt="p")])

    assert problem in found


def test_the_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    file = write(tmp_path / "r.jsonl", RECORDED)
    assert read_answers(file).texts["a"] == RECORDED["a"]

    write(file, {"a": "another and longer answer than before", "b": "x"})

    assert read_answers(file).texts["a"].startswith("another")


def test_other_answers_are_drawn_by_the_case() -> None:
    """Eight of a hundred, never its own, the same each time; all others of few."""
    names = tuple(f"{n:03d}" for n in range(100))
    answers = RecordedAnswers({name: name for name in names}, names)

    drawn = list(answers.others("007"))

    assert drawn == list(answers.others("007"))
    assert len(set(drawn)) == OTHERS
    assert "007" not in drawn
    assert drawn != list(answers.others("008"))
    few = RecordedAnswers({"a": "1", "b": "2"}, ("a", "b"))
    assert list(few.others("a")) == ["2"]


def test_it_judges_content() -> None:
    assert resemblance.judges_content_of([])
