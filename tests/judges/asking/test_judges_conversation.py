"""Asking: each question once, two re-asks, failures that are no scores, replies that are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fake_judges import FakeModel, graded, reply_to
from tunegate.harness.contracts.judge import TEXT, Judge, JudgeQuestion, Steps, question
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.judges.asking.conversation import AskedJudgeModel
from tunegate.harness.judges.asking.judge_model import JudgementOutcome, JudgementTask
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import BackendError
from tunegate.harness.records.scores import Score


def outcomes(judge_model: AskedJudgeModel, *tasks: JudgementTask) -> list[JudgementOutcome]:
    """Judge tasks; return the outcomes in the tasks' order."""
    found = {id(task): outcome for task, outcome in judge_model.judge(tasks)}
    assert len(found) == len(tasks)
    return [found[id(task)] for task in tasks]


def test_a_good_reply_is_a_score(task: Callable[..., JudgementTask]) -> None:
    """Step 5 of 5 is 1, with reason, raw reply and what it took."""
    model = FakeModel(graded)

    (outcome,) = outcomes(AskedJudgeModel(model), task("I am sorry."))

    assert outcome.score == Score.of(1.0, "r")
    assert (outcome.status, outcome.attempts, outcome.error) == ("ok", 1, None)
    assert (outcome.input_tokens, outcome.output_tokens) == (100, 20)
    assert (outcome.cost, outcome.latency_s) == (0.001, 0.5)
    assert outcome.replies[0].text == graded(model.asked[0])


def test_an_unreadable_reply_is_asked_again_and_told_why(
    task: Callable[..., JudgementTask],
) -> None:
    """The second reply counts; both are kept, and both are paid."""
    model = FakeModel(lambda q: graded(q) if "could not be used" in q.text else "Well: 5.")

    (outcome,) = outcomes(AskedJudgeModel(model), task("I am sorry."))

    assert outcome.score is not None
    assert outcome.score.value == 1.0
    assert outcome.attempts == 2
    assert outcome.output_tokens == 40
    assert [reply.problem is None for reply in outcome.replies] == [False, True]
    assert "not JSON alone" in model.asked[1].text
    assert model.asked[1].nonce == model.asked[0].nonce


def test_three_unreadable_replies_are_a_judge_error(task: Callable[..., JudgementTask]) -> None:
    """No score, no fourth question; the replies are kept."""
    model = FakeModel(lambda q: "5")

    (outcome,) = outcomes(AskedJudgeModel(model), task("I am sorry."))

    assert (outcome.score, outcome.status) == (None, "judge_error")
    assert outcome.error is not None
    assert outcome.error.startswith(
        "unreadable reply, asked 3 times: the reply is not a JSON object"
    )
    assert [reply.text for reply in outcome.replies] == ["5"] * 3
    assert len(model.asked) == 3


def test_a_failure_is_a_judge_error_and_not_asked_again(task: Callable[..., JudgementTask]) -> None:
    model = FakeModel(lambda q: ValueError("HTTP 500"))

    (outcome,) = outcomes(AskedJudgeModel(model), task("a"))

    assert (outcome.score, outcome.error, outcome.attempts) == (None, "HTTP 500", 1)


def test_a_judge_that_is_gone_is_asked_no_more(task: Callable[..., JudgementTask]) -> None:
    """What was judged before counts; the rest are judge errors with the cause."""
    asked: list[int] = []

    def answer(q: JudgeQuestion) -> str | Exception:
        asked.append(1)
        return graded(q) if len(asked) == 1 else BackendError("the key is wrong")

    judge_model = AskedJudgeModel(FakeModel(answer))

    found = outcomes(judge_model, *(task(f"sorry {i}") for i in range(5)))

    assert [o.status for o in found] == ["ok"] + ["judge_error"] * 4
    assert {o.error for o in found[1:]} == {"the key is wrong"}
    assert len(asked) == 2


def test_replies_are_stored_and_never_asked_for_again(
    task: Callable[..., JudgementTask], tmp_path: Path
) -> None:
    """The second judging costs nothing; errors are tried again."""
    store = AnswerCache(tmp_path / "s.sqlite")
    first = FakeModel(lambda q: graded(q) if "sorry" in q.text else "?")
    outcomes(AskedJudgeModel(first, store), task("sorry"), task("never"))
    again = FakeModel(graded)

    good, bad = outcomes(AskedJudgeModel(again, store), task("sorry"), task("never"))
    store.close()

    assert good.score == Score.of(1.0, "r")
    assert (good.attempts, good.cost) == (0, None)
    assert bad.score is not None
    assert bad.attempts == 1
    assert ["never" in q.text for q in again.asked] == [True]


@pytest.mark.parametrize("changed", ["model", "criteria", "text", "prompt", "repeat"])
def test_what_can_change_a_reply_is_part_of_its_key(
    task: Callable[..., JudgementTask], rubric: Judge, tmp_path: Path, changed: str
) -> None:
    """Another model, rubric, completion, prompt or repetition is asked; the same is not."""
    store = AnswerCache(tmp_path / "s.sqlite")
    one = task("sorry")
    outcomes(AskedJudgeModel(FakeModel(graded), store), one)
    other = {
        "criteria": replace(one, judge=replace(rubric, options={"criteria": "Is short."})),
        "text": task("sorry, sir"),
        "prompt": replace(one, case=Case(id="c1", prompt="Other?")),
        "repeat": replace(one, repeat=1),
    }.get(changed, one)
    model = FakeModel(graded, name="other" if changed == "model" else "fake")

    outcomes(AskedJudgeModel(model, store), other)
    outcomes(AskedJudgeModel(model, store), other)
    store.close()

    assert len(model.asked) == 1


def two_steps(case: Case, completion: Completion) -> Steps:
    """Ask for the checklist of a prompt, then whether the completion keeps each rule."""
    path = Path(__file__).with_name("two_steps.txt")
    (listed,) = yield [
        question(path, "list", data={"prompt": case.prompt or ""},
                 fields={"rules": {"type": "array", "items": TEXT}})
    ]  # fmt: skip
    rules = listed.fields["rules"]
    if not rules:
        return Score.unscored("no rules")
    replies = yield [
        question(path, "kept", data={"completion": completion.text or "", "rule": rule},
                 fields={"kept": {"enum": ["yes", "no"]}}, choice="kept")
        for rule in rules
    ]  # fmt: skip
    return Score.of(sum(r.verdict == "yes" for r in replies) / len(rules))


@pytest.fixture(name="stepping")
def _stepping() -> Judge:
    """A judge of two steps with its prompt."""
    path = Path(__file__).with_name("two_steps.txt")
    return Judge("two_steps", two_steps, path)


def stepwise(q: JudgeQuestion) -> str:
    """List two rules; a rule is kept by a completion that holds its word."""
    if q.step == "list":
        return reply_to(q, rules=["say a", "say b"])
    word = q.text.split("<<rule")[1].split("say ")[1][0]
    body = q.text.split("<<completion")[1].split("<</completion")[0]
    return reply_to(q, kept="yes" if f" {word}" in body else "no")


def test_steps_go_on_and_shared_questions_are_asked_once(
    task: Callable[..., JudgementTask], stepping: Judge
) -> None:
    """The checklist of one prompt serves both completions: 1 + 2 x 2 questions; 1 and 0.5."""
    model = FakeModel(stepwise)

    found = outcomes(
        AskedJudgeModel(model), task("say a b", judge=stepping), task("say a", judge=stepping)
    )

    assert [o.score and o.score.value for o in found] == [1.0, 0.5]
    assert [q.step for q in model.asked] == ["list"] + ["kept"] * 4
    assert sum(o.attempts for o in found) == 5


def test_an_abstention_is_no_failure(task: Callable[..., JudgementTask], stepping: Judge) -> None:
    model = FakeModel(lambda q: reply_to(q, rules=[]))

    (outcome,) = outcomes(AskedJudgeModel(model), task("x", judge=stepping))

    assert (outcome.status, outcome.error) == ("abstained", None)
    assert outcome.score == Score.unscored("no rules")


def raising(case: Case, completion: Completion) -> Steps:
    """Fail before anything is asked."""
    raise KeyError("context")
    yield []


def too_high(case: Case, completion: Completion) -> Steps:
    return Score.of(7.0)
    yield []


@pytest.mark.parametrize(
    ("steps", "said"),
    [(raising, "the judge 'own' failed: KeyError: 'context'"),
     (too_high, "the judge 'own' returned 7, outside 0 to 1")],
)  # fmt: skip
def test_a_broken_judge_is_a_judge_error(
    task: Callable[..., JudgementTask], steps: Callable[..., Steps], said: str
) -> None:
    own = Judge("own", steps, Path(__file__).with_name("two_steps.txt"))

    (outcome,) = outcomes(AskedJudgeModel(FakeModel(graded)), task("x", judge=own))

    assert (outcome.score, outcome.error) == (None, said)
