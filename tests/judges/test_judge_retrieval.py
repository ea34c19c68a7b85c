"""Judges of retrieval and citation: passages, ranks, and statements with their sources."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tunegate.harness.contracts import lookup
from tunegate.harness.contracts.judge import JudgeQuestion, retrieved_chunks
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case

CONTEXT = "[1] The pier opened in 1931.\nIt is wooden.\n[2] Tea is hot.\n[3] It has forty piles."
CASE = Case(id="c", prompt="Tell me of the pier.", context=CONTEXT, expected="Built in 1931. Wood.")


def test_passages_are_split_at_their_numbers_or_at_empty_lines() -> None:
    plain = CASE.model_copy(update={"context": "One [2] line\nmore\n\n \t\nTwo"})
    answer = Completion(text="x")

    assert retrieved_chunks(CASE, answer) == (
        "[1] The pier opened in 1931.\nIt is wooden.", "[2] Tea is hot.", "[3] It has forty piles.",
    )  # fmt: skip
    assert retrieved_chunks(plain, answer) == ("One [2] line\nmore", "Two")
    assert retrieved_chunks(Case(id="c", prompt="x"), answer) == ()


def test_each_citation_is_compared_with_its_own_passages(judged: Any) -> None:
    """Supported, half supported, a number without a passage, uncited: (1 + 0.5 + 0) / 3."""
    text = "It opened in 1931 [1]. It has piles and is red. [3, 1] It is old [9]. I like it."
    asked_of: dict[str, str] = {}

    def answer(question: JudgeQuestion) -> dict[str, Any]:
        statement = question.texts.split("<<statement ")[1].split("\n")[1]
        asked_of[statement] = question.texts
        verdict = "supported" if "1931" in statement else "partly"
        return {"reason": "", "verdict": verdict}

    outcome, asked = judged("citations", CASE, text, answer=answer)

    assert outcome.score.value == pytest.approx(0.5)
    assert outcome.score.parts == {"cited": 3 / 4, "unknown": pytest.approx(1 / 3)}
    assert len(asked) == 2
    assert list(asked_of) == ["It opened in 1931 .", "It has piles and is red."]
    first, second = asked_of.values()
    assert "forty piles" not in first
    assert "forty piles" in second
    assert "1931" in second
    assert "Tea is hot" not in first + second


def test_an_answer_that_cites_nothing_is_0_and_an_empty_one_unscored(judged: Any) -> None:
    bare, asked = judged("citations", CASE, "It opened in 1931.", answer=lambda q: {})
    empty, none = judged("citations", CASE, " ", answer=lambda q: {})

    assert (bare.score.value, asked) == (0.0, [])
    assert (empty.status, none) == ("abstained", [])


def test_a_context_without_numbers_is_refused_when_the_suite_is_loaded() -> None:
    judge = lookup.find_object("tunegate.harness.judges", "citations", what="judge")
    plain = CASE.model_copy(update={"context": "no numbers"})

    (problem,) = judge.check({}, [CASE, plain])
    assert problem.startswith("case 'c': the context has no numbered passages")
    (problem,) = judge.check({}, [plain, CASE, plain])
    assert problem.startswith("case 'c' and 1 more: ")


def test_recall_is_the_share_of_the_expected_claims_that_were_retrieved(judged: Any) -> None:
    """Two of three claims are in the passages: 2/3; the missing one is the reason."""

    def answer(question: JudgeQuestion) -> dict[str, Any]:
        if question.step == "claims":
            assert "x" not in question.texts.split("<<expected")[0].split("\n")
            return {"claims": ["Opened in 1931.", "Wooden.", "Cost a million."]}
        return {"evidence": "", "verdict": "no" if "million" in question.texts else "yes"}

    outcome, asked = judged("context_recall", CASE, "x", answer=answer)

    assert outcome.score.value == pytest.approx(2 / 3)
    assert outcome.score.reason == "not retrieved: 'Cost a million.'"
    assert len(asked) == 4
    assert "Tea is hot" in asked[1].texts


@pytest.mark.parametrize("useful", [(1, 0, 1), (0, 1, 1), (0, 0, 1), (1, 1, 1), (0, 0, 0)])
def test_precision_is_the_average_precision_of_the_ranks(
    judged: Any, useful: tuple[int, ...]
) -> None:
    """As scikit-learn computes it from falling scores; 0 where nothing is of use."""
    said = iter("yes" if one else "no" for one in useful)
    outcome, asked = judged(
        "context_precision", CASE, "x", answer=lambda q: {"reason": "", "verdict": next(said)}
    )

    metrics = pytest.importorskip("sklearn.metrics") if any(useful) else None
    wanted = 0.0 if metrics is None else metrics.average_precision_score(useful, (3, 2, 1))
    assert outcome.score.value == pytest.approx(wanted)
    assert len(asked) == 3
    shared = os.path.commonprefix([asked[0].text, asked[1].text])  # noqa: RUF071  characters
    assert "Built in 1931" in shared  # what the passages share is cached


def test_nothing_retrieved_is_0(judged: Any) -> None:
    bare = Case(id="c", prompt="x", expected="y")
    for name in ("context_recall", "context_precision"):
        outcome, asked = judged(name, bare, "x", answer=lambda q: {})
        assert (outcome.score.value, outcome.score.reason, asked) == (
            0.0, "nothing was retrieved", [],
        )  # fmt: skip
