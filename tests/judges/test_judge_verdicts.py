"""The other judges: what they ask, and how verdicts become scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.contracts import lookup
from tunegate.harness.contracts.judge import Judge, JudgeQuestion, ParsedReply
from tunegate.harness.records.answers import Completion
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
        assert "Short. Warm. {completion} stays" in asked.task


GUIDE = """\
# Our voice
We are neighbours, not a company.

- Say sorry once.
  Never for rules.
* No exclamation marks
1. Name a day.
"""
RULES = ("Say sorry once. Never for rules.", "No exclamation marks", "Name a day.")


@pytest.fixture(name="guide")
def _guide(tmp_path: Path) -> Path:
    """A style guide with three rules."""
    path = tmp_path / "voice.md"
    path.write_text(GUIDE, encoding="utf-8")
    return path


def test_each_rule_of_the_guide_is_asked_by_itself(judged: Any, guide: Path) -> None:
    """One kept, one broken, one that does not apply: 1/2, with the broken rule named."""
    verdicts = {"Rule 1.": "does_not_apply", "Rule 2.": "broken", "Rule 3.": "kept"}

    outcome, asked = judged(
        "brand_voice", CASE, "Tea!", guide=guide,
        answer=lambda q: {"reason": "an exclamation mark", "verdict": verdicts[q.ask]},
    )  # fmt: skip

    assert outcome.score.value == 0.5
    assert outcome.score.parts == {"rule 2": 0.0, "rule 3": 1.0}
    assert outcome.score.reason == "rule 2, 'No exclamation marks': an exclamation mark"
    assert len({q.system for q in asked}) == len({q.texts for q in asked}) == 1
    numbered = "\n".join(f"{n}. {rule}" for n, rule in enumerate(RULES, start=1))
    assert f"\n{numbered}\n" in asked[0].task


def test_an_answer_without_occasion_for_any_rule_is_unscored(judged: Any, guide: Path) -> None:
    answer = {"reason": "", "verdict": "does_not_apply"}
    outcome, _ = judged("brand_voice", CASE, "Tea", guide=guide, answer=lambda q: answer)

    assert outcome.status == "abstained"


def test_a_local_models_weights_count_without_those_of_no_occasion(
    guide: Path,
) -> None:
    """0.6 kept, 0.2 broken, 0.2 does not apply: 0.75; a rule that likely does not apply is out."""
    weights = {"kept": 0.6, "broken": 0.2, "does_not_apply": 0.2}
    out = {"kept": 0.1, "broken": 0.1, "does_not_apply": 0.8}
    judge = replace(_judge_named("brand_voice"), options={"guide": guide})
    steps = judge.begin(CASE, Completion(text="Tea."))
    next(steps)
    replies = [
        ParsedReply({"verdict": "kept"}, "verdict", weights),
        ParsedReply({"verdict": "does_not_apply"}, "verdict", out),
        ParsedReply({"verdict": "kept"}, "verdict", {**weights, "broken": 0.0}),
    ]
    with pytest.raises(StopIteration) as ended:
        steps.send(replies)

    assert ended.value.value.value == pytest.approx((0.75 + 1.0) / 2)


def test_too_many_rules_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "long.md"
    path.write_text("- rule\n" * 21, encoding="utf-8")

    check = _judge_named("brand_voice").check
    assert check is not None
    (problem,) = check({"guide": path}, [CASE])
    assert "has 21 rules" in problem


def _judge_named(name: str) -> Judge:
    found = lookup.find_object("tunegate.harness.judges", name, what="judge")
    assert isinstance(found, Judge)
    return found


def listed(question: JudgeQuestion, verdicts: Sequence[str], text: str) -> dict[str, Any]:
    """Return a reply that lists verdicts by number; `text` is the key of each one's reason."""
    return {
        "verdicts": [
            {"number": n, text: "why", "verdict": verdict}
            for n, verdict in enumerate(verdicts, start=1)
        ]
    }


def test_all_items_in_one_call_score_as_single_calls_do(judged: Any, guide: Path) -> None:
    done, asked = judged(
        "instruction_following", CASE, "Tea", batched=True, checklist=("a", "b\n4. c", "d"),
        answer=lambda q: listed(q, ("yes", "no", "yes"), "reason"),
    )  # fmt: skip
    voiced, rules = judged(
        "brand_voice", CASE, "Tea!", batched=True, guide=guide,
        answer=lambda q: listed(q, ("does_not_apply", "broken", "kept"), "reason"),
    )  # fmt: skip

    assert done.score.value == pytest.approx(2 / 3)
    assert voiced.score.value == 0.5
    assert len(asked) == len(rules) == 1
    assert "1. a\n2. b 4. c\n3. d\n<</checks" in asked[0].texts  # an item cannot forge another


@pytest.mark.parametrize("numbers", [(1, 2), (1, 2, 3, 4), (1, 3, 2), (1, 1, 2), (0, 1, 2), ()])
def test_a_list_of_other_verdicts_than_asked_for_is_unreadable(
    judged: Any, numbers: tuple[int, ...]
) -> None:
    given = [{"number": n, "reason": "", "verdict": "yes"} for n in numbers]

    outcome, asked = judged(
        "instruction_following", CASE, "Tea", batched=True, checklist=("a", "b", "c"),
        answer=lambda q: {"verdicts": given},
    )  # fmt: skip

    assert (outcome.score, outcome.status, len(asked)) == (None, "judge_error", 3)
    assert "not 1 to 3" in outcome.error


@pytest.mark.parametrize("name", ["tone", "brand_voice"])
def test_silence_has_no_tone(judged: Any, tmp_path: Path, name: str) -> None:
    options = {"guide": tmp_path / "x"} if name == "brand_voice" else {}

    outcome, asked = judged(name, CASE, " ", answer=lambda q: {}, **options)

    assert (outcome.status, asked) == ("abstained", [])


@pytest.mark.parametrize("name", ["instruction_following", "tool_use"])
def test_silence_does_nothing_that_was_asked(judged: Any, name: str) -> None:
    outcome, asked = judged(name, TOOLS, "", answer=lambda q: {})

    assert (outcome.score.value, asked) == (0.0, [])


def test_tool_use_asks_each_question_by_itself(judged: Any) -> None:
    """Six questions that differ only in their last line; one no: 5/6."""

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
    outcome, asked = judged("pairwise", CASE, "Tea.", "Tea. ", answer=lambda q: {})

    assert (outcome.score.value, asked) == (0.0, [])
