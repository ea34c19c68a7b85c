"""A judge behind a server that misbehaves: no bad reply is a score, and nothing good is lost."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fake_server import FakeServer, completion, prompt_of
from tests.judges.asking.test_judges_reply import BAD, NONCE
from tunegate.harness.contracts.judge import Judge
from tunegate.harness.contracts.model import PoolLimits
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.judges.asking.conversation import AskedJudgeModel
from tunegate.harness.judges.asking.judge_model import JudgementOutcome, JudgementTask
from tunegate.harness.judges.backends.server import ServerJudge, server
from tunegate.harness.models.servers.target import ServerTarget
from tunegate.harness.records.errors import ModelError

MODELS: dict[str, dict[str, Any]] = {"judge": {}}
QUICK = PoolLimits(concurrency=4, deadline_s=1.0, attempts=2)


def nonce_of(body: dict[str, Any]) -> str:
    found = re.search(r"Nonce: (\w+)", prompt_of(body))
    assert found is not None
    return found[1]


def good(body: dict[str, Any], score: int = 5) -> dict[str, Any]:
    return completion(json.dumps({"nonce": nonce_of(body), "reason": "r", "score": score}))


def judge_of(running: FakeServer, limits: PoolLimits = QUICK, **more: Any) -> ServerJudge:
    return ServerJudge(ServerTarget(running.url, "judge"), limits=limits, **more)


def judged(
    judge: ServerJudge, tasks: list[JudgementTask], store: AnswerCache | None = None
) -> list[JudgementOutcome]:
    """Judge tasks; return the outcomes in their order."""
    found = {id(task): outcome for task, outcome in AskedJudgeModel(judge, store).judge(tasks)}
    return [found[id(task)] for task in tasks]


def test_a_good_reply_is_a_score(
    fake_server: Callable[..., FakeServer], task: Callable[..., JudgementTask]
) -> None:
    """The question goes out at temperature 0 with its schema, and comes back as a score."""
    running = fake_server(models=MODELS, reply=lambda m, p, body: good(body))

    (outcome,) = judged(judge_of(running), [task("sorry")])

    assert outcome.score is not None
    assert outcome.score.value == 1.0
    assert outcome.input_tokens == 5
    (body,) = running.asked
    assert (body["temperature"], body["model"]) == (0.0, "judge")
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["nonce"] == {"type": "string"}
    assert schema["properties"]["score"] == {"enum": [1, 2, 3, 4, 5], "type": "integer"}
    assert schema["additionalProperties"] is False


def test_no_bad_reply_becomes_a_score(
    fake_server: Callable[..., FakeServer], task: Callable[..., JudgementTask], rubric: Judge
) -> None:
    names = list(BAD)

    def reply(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        number = int(prompt_of(body).split("bad number ")[1].split("\n")[0])
        return completion(BAD[names[number]].replace(NONCE, nonce_of(body)))

    running = fake_server(models=MODELS, reply=reply)
    three = replace(rubric, options={"criteria": "Apologises.", "scale": 3})
    tasks = [task(f"bad number {number}", judge=three) for number in range(len(names))]

    outcomes = judged(judge_of(running, PoolLimits(concurrency=4, deadline_s=10.0)), tasks)

    assert len(names) >= 40
    assert [n for n, o in zip(names, outcomes, strict=True) if o.score is not None] == []
    assert {o.status for o in outcomes} == {"judge_error"}
    assert len(running.asked) == 3 * len(names)


@pytest.mark.parametrize(
    "fault", ["500", "503", "html", "array", "empty", "reset", "truncated", "400", "404"]
)
def test_a_fault_is_a_judge_error(
    fake_server: Callable[..., FakeServer], task: Callable[..., JudgementTask], fault: str
) -> None:
    running = fake_server(models=MODELS, faults=lambda number: fault)
    started = time.monotonic()

    (outcome,) = judged(judge_of(running), [task("a")])

    assert (outcome.score, outcome.status) == (None, "judge_error")
    assert outcome.error
    assert time.monotonic() - started < QUICK.deadline_s + 2


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_a_server_that_never_ends_is_left_at_the_deadline(
    fake_server: Callable[..., FakeServer], task: Callable[..., JudgementTask], fault: str
) -> None:
    """Silence and a byte now and then both end by the wall clock; the others are judged."""
    running = fake_server(
        models=MODELS,
        faults=lambda number: fault if number == 0 else None,
        reply=lambda m, p, body: good(body),
    )
    started = time.monotonic()

    outcomes = judged(
        judge_of(running, PoolLimits(concurrency=4, deadline_s=1.0, attempts=1)),
        [task(f"text {i}") for i in range(8)],
    )

    assert time.monotonic() - started < 1.0 + 2
    assert sorted(o.status for o in outcomes) == ["judge_error"] + ["ok"] * 7


def test_an_answer_that_a_filter_withheld_is_not_asked_for_again(
    fake_server: Callable[..., FakeServer], task: Callable[..., JudgementTask]
) -> None:
    withheld = completion("", finish_reason="content_filter")
    running = fake_server(models=MODELS, reply=lambda m, p, body: withheld)

    (outcome,) = judged(judge_of(running), [task("a")])

    assert (outcome.status, outcome.attempts) == ("judge_error", 1)
    assert "content filter" in (outcome.error or "")
    assert running.posts == 1


def test_a_server_may_call_the_model_otherwise(
    fake_server: Callable[..., FakeServer], task: Callable[..., JudgementTask]
) -> None:
    """An arm's answer would be refused as that of a proxy's fallback."""
    running = fake_server(
        models=MODELS, reply=lambda m, p, body: {**good(body), "model": "judge.gguf"}
    )

    (outcome,) = judged(judge_of(running), [task("a")])

    assert outcome.status == "ok"


def test_requests_for_a_failure_are_counted(
    fake_server: Callable[..., FakeServer], task: Callable[..., JudgementTask]
) -> None:
    running = fake_server(models=MODELS, faults=lambda number: "500")

    (outcome,) = judged(judge_of(running, PoolLimits(deadline_s=10.0, attempts=2)), [task("a")])

    assert (outcome.status, outcome.attempts) == ("judge_error", 2)
    assert running.posts == 2


def test_too_many_requests_are_waited_out(
    fake_server: Callable[..., FakeServer], task: Callable[..., JudgementTask]
) -> None:
    """A 429 that names a wait is asked again after it, and judged."""
    running = fake_server(
        models=MODELS,
        faults=lambda number: "429:0.3" if number == 0 else None,
        reply=lambda m, p, body: good(body),
    )
    started = time.monotonic()

    (outcome,) = judged(judge_of(running, PoolLimits(deadline_s=10.0)), [task("a")])

    assert outcome.status == "ok"
    assert time.monotonic() - started >= 0.3


def test_a_server_without_schemas_is_asked_without(
    fake_server: Callable[..., FakeServer], task: Callable[..., JudgementTask]
) -> None:
    def reply(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if "response_format" in body:
            raise LookupError(400, "response_format is not supported")
        return good(body)

    running = fake_server(models=MODELS, reply=reply)
    limits = PoolLimits(concurrency=1, deadline_s=5.0)

    outcomes = judged(judge_of(running, limits), [task(f"t{i}") for i in range(4)])

    assert [o.status for o in outcomes] == ["ok"] * 4
    assert running.posts == 5


def test_nothing_judged_is_lost_when_the_judge_dies(
    fake_server: Callable[..., FakeServer], task: Callable[..., JudgementTask], tmp_path: Path
) -> None:
    """After 12 of 40 it is gone: 12 scores are kept, and the next run asks for the other 28."""
    running = fake_server(
        models=MODELS,
        faults=lambda number: None if number < 12 else "500",
        reply=lambda m, p, body: good(body),
    )
    tasks = [task(f"text {i}") for i in range(40)]
    store = AnswerCache(tmp_path / "s.sqlite")
    limits = PoolLimits(concurrency=4, deadline_s=2.0, attempts=1)
    first = judged(judge_of(running, limits), tasks, store)
    running.faults = lambda number: None
    asked = len(running.asked)

    second = judged(judge_of(running, limits), tasks, store)
    store.close()

    assert [o.status for o in first].count("ok") == 12
    assert [o.status for o in second] == ["ok"] * 40
    assert len(running.asked) - asked == 28
    assert [o.attempts for o in second].count(0) == 12


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("localhost:8000#m", "no address of a server"),
        ("http://localhost:80x/v1#m", "no address of a server"),
        ("#m", "no address of a server"),
        ("", "no address of a server"),
        ("http://localhost:8000/v1", "no model"),
    ],
)
def test_a_spec_names_address_and_model(target: str, said: str) -> None:
    with pytest.raises(ModelError, match=f"^judge server:{target}: {said}; write"):
        server(target)


def test_the_key_is_in_no_record(
    fake_server: Callable[..., FakeServer], task: Callable[..., JudgementTask], monkeypatch: Any
) -> None:
    monkeypatch.setenv("TUNEGATE_JUDGE_KEY", "secret-4711")
    running = fake_server(models=MODELS, key="secret-4711", reply=lambda m, p, body: good(body))
    judge = server(f"{running.url}#judge")
    (ok,) = judged(judge, [task("a")])
    running.key = "another"

    (bad,) = judged(judge, [task("b")])

    assert ok.status == "ok"
    assert bad.status == "judge_error"
    assert "secret-4711" not in f"{judge} {judge.identity} {bad}"


def test_a_malformed_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEGATE_JUDGE_KEY", "sk 4711")

    with pytest.raises(ModelError, match="TUNEGATE_JUDGE_KEY holds characters that no key has"):
        server("http://localhost:8000/v1#m")


@pytest.mark.parametrize("rest", ["#m", "", "?rpn=3#m", "?batch=true#m"])
def test_an_address_with_a_password_is_refused(rest: str) -> None:
    """It would be in every record of the run; the refusal does not repeat it."""
    with pytest.raises(ModelError) as caught:
        server(f"http://bob:pw@localhost:8000/v1{rest}")

    assert "must hold no password" in str(caught.value)
    assert "pw" not in str(caught.value)
