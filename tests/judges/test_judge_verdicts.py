"""The other judges: what they ask, and how verdicts become scores."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.judge import JudgeQuestion
from tunegate.harness.records.cases import Case

CASE = Case(id="c1", prompt="Write two lines about tea, without the word hot.")
TOOLS = Case(
    id="t1",
    prompt="What is the weather in Bonn?",
    tools=({"type": "function", "function": {"name": "weather"}},),
)


def test_instruction_following_asks_a_checklist_and_each_item(judged: Any) -> None:
    """Two of three demands are kept: 2/3; the broken one is the reason."""
    checks = ["The answer has two lines.", "The answer is about tea.", "No word hot."]

    def answer(question: JudgeQuestion) -> dict[str, Any]:
        if question.step == "checklist":
            assert "Tea is hot" not in question.text  # the list is made without the answer
            return {"checks": checks}
        broken = checks[2] in question.text
        return {"reason": "r", "verdict": "no" if broken else "yes"}

    outcome, asked = judged("instruction_following", CASE, "Tea is hot.\nYes.", answer=answer)

    assert outcome.score.value == pytest.approx(2 / 3)
    assert outcome.score.parts == {"checks": 3.0}
    assert outcome.score.reason == "not kept: No word hot."
    assert len(asked) == 4


def test_instruction_following_takes_a_checklist_of_the_suite(judged: Any) -> None:
    """With items of the user's own nothing is derived."""
    outcome, asked = judged(
        "instruction_following",
        CASE,
        "Tea.",
        answer=lambda q: {"reason": "", "verdict": "yes"},
        checklist=("It is about tea.",),
    )

    assert outcome.score.value == 1.0
    assert [q.step for q in asked] == ["check"]


@pytest.mark.parametrize(
    ("name", "verdict", "value", "options"),
    [
        ("tone", "fits", 1.0, {}),
        ("tone", "partly", 0.5, {"tone": "dry"}),
        ("tone", "misses", 0.0, {}),
        ("brand_voice", "on_brand", 1.0, {"guide": True}),
        ("brand_voice", "mixed", 0.5, {"guide": True, "examples": ("Done!",)}),
        ("brand_voice", "off_brand", 0.0, {"guide": True}),
    ],
)
def test_a_verdict_is_a_value(
    judged: Any, tmp_path: Path, name: str, verdict: str, value: float, options: dict[str, Any]
) -> None:
    """One question; its reason is the score's."""
    own = dict(options)
    if "guide" in own:
        own["guide"] = tmp_path / "voice.md"
        own["guide"].write_text("Short. Warm. {completion} stays as it is.", encoding="utf-8")

    outcome, (asked,) = judged(
        name, CASE, "Tea!", answer=lambda q: {"reason": "why", "verdict": verdict}, **own
    )

    assert (outcome.score.value, outcome.score.reason) == (value, "why")
    assert f"<<completion {asked.nonce}>>\nTea!\n" in asked.text
    for shown in (own.get("tone"), *own.get("examples", ())):
        assert shown is None or shown in asked.system + asked.text
    if "guide" in own:
        assert "Short. Warm. {completion} stays" in asked.text


@pytest.mark.parametrize("name", ["tone", "brand_voice"])
def test_silence_has_no_tone(judged: Any, tmp_path: Path, name: str) -> None:
    """An empty answer is unscored where there is nothing to hear."""
    options = {"guide": tmp_path / "x"} if name == "brand_voice" else {}

    outcome, asked = judged(name, CASE, " ", answer=lambda q: {}, **options)

    assert (outcome.status, asked) == ("abstained", [])


@pytest.mark.parametrize("name", ["instruction_following", "tool_use"])
def test_silence_does_nothing_that_was_asked(judged: Any, name: str) -> None:
    """An empty answer is the lowest score where something was demanded."""
    outcome, asked = judged(name, TOOLS, "", answer=lambda q: {})

    assert (outcome.score.value, asked) == (0.0, [])


def test_tool_use_asks_each_question_by_itself(judged: Any) -> None:
    """Six questions on the same texts, of which they differ in the last line; one no: 5/6."""

    def answer(question: JudgeQuestion) -> dict[str, Any]:
        invented = "Question: grounded." in question.text
        return {"reason": "Paris", "verdict": "no" if invented else "yes"}

    call = '{"name": "weather", "arguments": {"city": "Paris"}}'
    outcome, asked = judged("tool_use", TOOLS, call, answer=answer)

    assert outcome.score.value == pytest.approx(5 / 6)
    assert outcome.score.parts == {
        "needed": 1.0, "choice": 1.0, "complete": 1.0,
        "grounded": 0.0, "restraint": 1.0, "asking": 1.0,
    }  # fmt: skip
    assert outcome.score.reason == "Paris"
    assert len({q.texts for q in asked}) == len({q.system for q in asked}) == 1
    assert '"name": "weather"' in asked[0].texts
    assert all(f"\n{name}: " in asked[0].task for name in outcome.score.parts)


@pytest.mark.parametrize(
    ("base_first", "tuned_first", "advantage", "first_slot"),
    [
        ("second", "first", 1.0, 0.0),  # tuned both times
        ("first", "second", -1.0, 0.0),  # base both times
        ("first", "first", 0.0, 1.0),  # whatever stands first: a tie
        ("second", "second", 0.0, -1.0),
        ("second", "tie", 0.5, -0.5),
        ("tie", "tie", 0.0, 0.0),
    ],
)
def test_pairwise_is_asked_in_both_orders(
    judged: Any, base_first: str, tuned_first: str, advantage: float, first_slot: float
) -> None:
    """A verdict that turns with the order is a tie; the first slot's share is kept."""

    def answer(question: JudgeQuestion) -> dict[str, Any]:
        first = question.text.split("<<first ")[1].partition(">>\n")[2]
        return {"reason": "r", "verdict": base_first if first.startswith("BASE") else tuned_first}

    outcome, asked = judged("pairwise", CASE, "BASE says", "TUNED says so", answer=answer)

    assert outcome.score.value == advantage
    assert outcome.score.parts["first_slot"] == first_slot
    assert outcome.score.parts["log_length_ratio"] == pytest.approx(math.log(14 / 10))
    assert len(asked) == 2


def test_pairwise_asks_nothing_about_the_same_answer(judged: Any) -> None:
    """Identical answers are a tie by rule."""
    outcome, asked = judged("pairwise", CASE, "Tea.", "Tea. ", answer=lambda q: {})

    assert (outcome.score.value, asked) == (0.0, [])
