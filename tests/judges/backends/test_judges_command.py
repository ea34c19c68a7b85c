"""Any program as judge: JSON lines in and out, whatever goes wrong is a judge error."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.judges.asking.judge_model import JudgementOutcome, JudgementTask
from tunegate.harness.judges.backends.command import CommandJudgeModel, command
from tunegate.harness.records.errors import ModelError

PROGRAM = """
import json, sys, time
for line in sys.stdin:
    asked = json.loads(line)
    text = asked["completion"]
    key = asked["key"]
    {body}
    sys.stdout.flush()
"""
LENGTH = 'print(json.dumps({"key": key, "value": min(len(text) / 10, 1), "reason": text}))'


@pytest.fixture(name="program")
def _program(tmp_path: Path) -> Callable[..., CommandJudgeModel]:
    def write(body: str, **settings: float) -> CommandJudgeModel:
        path = tmp_path / "judge.py"
        path.write_text(PROGRAM.replace("{body}", body), encoding="utf-8")
        judge_model = command(shlex.join([sys.executable, str(path)]))
        for name, value in settings.items():
            setattr(judge_model, name, value)
        return judge_model

    return write


def judged(judge_model: CommandJudgeModel, *tasks: JudgementTask) -> list[JudgementOutcome]:
    """Judge tasks; return the outcomes in their order."""
    found = {id(task): outcome for task, outcome in judge_model.judge(tasks)}
    return [found[id(task)] for task in tasks]


def test_a_program_judges(
    program: Callable[..., CommandJudgeModel], task: Callable[..., JudgementTask]
) -> None:
    """It sees completion and case, and its value and reason are the score."""
    tasks = [task("x" * n) for n in range(1, 40)]

    outcomes = judged(program(LENGTH), *tasks)

    assert [o.score.value for o in outcomes if o.score] == [min(n / 10, 1) for n in range(1, 40)]
    assert outcomes[2].score is not None
    assert outcomes[2].score.reason == "xxx"


def test_answers_may_come_in_any_order(
    program: Callable[..., CommandJudgeModel], task: Callable[..., JudgementTask]
) -> None:
    body = """held = globals().setdefault("held", [])
    held.append({"key": key, "value": len(text) / 10})
    if len(held) == 3:
        print("\\n".join(map(json.dumps, reversed(held))))
        held.clear()"""

    outcomes = judged(program(body), *(task("x" * n) for n in range(1, 7)))

    assert [o.score.value for o in outcomes if o.score] == [n / 10 for n in range(1, 7)]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('print(json.dumps({"key": key, "error": "rate limit"}))', "rate limit"),
        ('print(json.dumps({"key": key, "value": 7}))', "the value 7 is outside 0 to 1"),
        ('print(json.dumps({"key": key, "value": "0.5 or so"}))', "unreadable line: value"),
        ('print(json.dumps({"key": key, "value": float("nan")}))', "unreadable line"),
        ('print(json.dumps({"key": key}))', "needs exactly one of value"),
        ('print(json.dumps({"key": key, "value": 1, "error": "x"}))', "needs exactly one of"),
        (
            'print(json.dumps({"key": key, "score": 1, "value": 1}))',
            "unreadable line: unknown key 'score'",
        ),
        ('print("score: 1"); sys.exit(3)', "ended (exit code 3) without an answer; it wrote 'sc"),
        ("sys.exit(0)", "ended (exit code 0) without an answer"),
        ("raise ValueError", "ended (exit code 1) without an answer"),
    ],
)
def test_what_is_no_judgement_is_a_judge_error(
    program: Callable[..., CommandJudgeModel],
    task: Callable[..., JudgementTask],
    body: str,
    said: str,
) -> None:
    outcomes = judged(program(body), task("a"), task("b"))

    assert [o.score for o in outcomes] == [None, None]
    assert all(said in (o.error or "") for o in outcomes)


def test_silence_ends_at_the_deadline(
    program: Callable[..., CommandJudgeModel], task: Callable[..., JudgementTask]
) -> None:
    """A program that hangs is ended; what it had said counts."""
    body = f"time.sleep(60) if text == 'hang' else {LENGTH}"
    started = time.monotonic()

    good, hung = judged(program(body, deadline_s=1.0), task("x"), task("hang"))

    assert time.monotonic() - started < 1.0 + 2
    assert good.status == "ok"
    assert hung.error is not None
    assert "no answer within 1 s" in hung.error


def test_an_abstention_is_unscored(
    program: Callable[..., CommandJudgeModel], task: Callable[..., JudgementTask]
) -> None:
    (outcome,) = judged(program('print(json.dumps({"key": key, "abstained": "empty"}))'), task(""))

    assert outcome.status == "abstained"


def test_judgements_are_stored_and_errors_are_not(
    program: Callable[..., CommandJudgeModel], task: Callable[..., JudgementTask], tmp_path: Path
) -> None:
    """The second time only what failed is asked; another program is asked everything."""
    store = AnswerCache(tmp_path / "s.sqlite")
    bad = 'print(json.dumps({"key": key, "error": "busy"}))'
    judge_model = program(f"{bad} if text == 'bad' else {LENGTH}").keeping(store)
    judged(judge_model, task("good"), task("bad"))

    good, again = judged(judge_model, task("good"), task("bad"))
    changed = program(LENGTH).keeping(store)
    (other,) = judged(changed, task("bad"))
    store.close()

    assert good.status == "ok"
    assert again.error == "busy"
    assert other.status == "ok"
    assert changed.fingerprint != judge_model.fingerprint


@pytest.mark.parametrize(
    ("target", "said"),
    [("", "no program"), ("no-such-program-4711 x", "no program 'no-such-program-4711'"),
     ("python 'x", "No closing quotation")],
)  # fmt: skip
def test_a_program_that_is_not_there_is_told_at_once(target: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        command(target)
