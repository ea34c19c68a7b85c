"""A judge through litellm: asked at temperature 0, counted and priced, its failures in words."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

if importlib.util.find_spec("litellm") is None:
    pytest.skip("litellm is not installed", allow_module_level=True)

from tests.fake_server import FakeServer, completion, prompt_of
from tunegate.harness.contracts import lookup
from tunegate.harness.contracts.judge import Judge, JudgeQuestion
from tunegate.harness.judges.asking.conversation import AskedJudgeModel
from tunegate.harness.judges.asking.judge_model import JudgementTask
from tunegate.harness.judges.backends._chat import spread_questions
from tunegate.harness.judges.backends.litellm import litellm
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import ModelError


@pytest.fixture(name="running")
def _running(fake_server: Callable[..., FakeServer], monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    """A server in the place of OpenAI."""

    def reply(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        found = re.search(r"Nonce: (\w+)", prompt_of(body))
        assert found is not None
        score = 5 if "sorry" in prompt_of(body) else 2
        text = json.dumps({"nonce": found[1], "reason": "r", "score": score})
        more = {"id": "1", "created": 1}
        return {**completion(text), **more, "object": "chat.completion"}

    running = fake_server(models={"gpt-4o-mini": {}}, reply=reply)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-tests")
    monkeypatch.setenv("OPENAI_API_BASE", running.url)
    return running


def test_a_model_of_litellm_judges(running: FakeServer, task: Callable[..., JudgementTask]) -> None:
    """Steps 5 and 2 of 5 are 1 and 0.25; tokens are counted, and the price is the list's."""
    judge = litellm("openai/gpt-4o-mini?concurrency=1")

    found = {
        t.completions[0].text: o
        for t, o in AskedJudgeModel(judge).judge([task("sorry"), task("no")])
    }

    assert found["sorry"].score is not None
    assert found["no"].score is not None
    assert (found["sorry"].score.value, found["no"].score.value) == (1.0, 0.25)
    assert found["sorry"].input_tokens == 5
    # 0.15 and 0.60 dollars a million tokens
    tokens = found["sorry"].output_tokens or 0
    assert found["sorry"].cost == pytest.approx((5 * 0.15 + tokens * 0.60) / 1e6)
    body = running.asked[0]
    assert body["temperature"] == 0.0
    assert body["response_format"]["type"] == "json_schema"


def test_a_wrong_key_is_told_once(running: FakeServer, task: Callable[..., JudgementTask]) -> None:
    """Every completion is a judge error with the cause; the key is in none of them."""
    running.key = "another"
    judge = litellm("openai/gpt-4o-mini?concurrency=1")

    outcomes = [o for _, o in AskedJudgeModel(judge).judge([task(f"t{i}") for i in range(30)])]

    assert {o.status for o in outcomes} == {"judge_error"}
    assert all("the key is missing or wrong" in (o.error or "") for o in outcomes)
    assert "sk-of-the-tests" not in str(outcomes)


@pytest.mark.parametrize(
    ("model", "said"),
    [("gpt", "no provider that litellm knows"), ("anthropic/claude-x", "ANTHROPIC_API_KEY")],
)
def test_what_cannot_be_asked_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, model: str, said: str
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)

    with pytest.raises(ModelError, match=said):
        litellm(model)


def test_the_static_part_is_marked_for_anthropics_cache(
    fake_server: Callable[..., FakeServer],
    monkeypatch: pytest.MonkeyPatch,
    task: Callable[..., JudgementTask],
) -> None:
    def reply(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        found = re.search(r"Nonce: (\w+)", json.dumps(body["messages"]))
        assert found is not None
        text = json.dumps({"nonce": found[1], "reason": "r", "score": 5})
        usage = {"input_tokens": 5, "output_tokens": 9, "cache_read_input_tokens": 400}
        return {
            "id": "m", "type": "message", "role": "assistant", "stop_reason": "end_turn",
            "content": [{"type": "text", "text": text}], "usage": usage,
        }  # fmt: skip

    running = fake_server(models={"claude-sonnet-4-5": {}}, reply=reply)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-of-the-tests")
    monkeypatch.setenv("ANTHROPIC_API_BASE", running.url.removesuffix("/v1"))
    judge = litellm("anthropic/claude-sonnet-4-5?concurrency=1")

    outcomes = [o for _, o in AskedJudgeModel(judge).judge([task(f"sorry {n}") for n in range(5)])]

    assert [o.score and o.score.value for o in outcomes] == [1.0] * 5
    systems = [body["system"] for body in running.asked]
    assert len(systems) == 5
    assert all(system == systems[0] for system in systems)
    assert systems[0][-1]["cache_control"] == {"type": "ephemeral"}
    static = len(systems[0][-1]["text"])
    assert static > 2 * max(len(json.dumps(body["messages"])) for body in running.asked)


def test_others_get_a_plain_system_turn(
    running: FakeServer, task: Callable[..., JudgementTask]
) -> None:
    list(AskedJudgeModel(litellm("openai/gpt-4o-mini")).judge([task("sorry")]))

    (body,) = running.asked
    assert isinstance(body["messages"][0]["content"], str)


def test_a_source_of_several_questions_is_marked_and_asked_about_first(
    fake_server: Callable[..., FakeServer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Claims about one source: it is marked where it is sent twice, and nothing else of the user's
    turn is; a second question about it waits until others were asked.
    """

    def reply(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        found = re.search(r"Nonce: (\w+)", json.dumps(body["messages"]))
        assert found is not None
        text = json.dumps({"nonce": found[1], "evidence": "", "verdict": "not_found"})
        return {
            "id": "m", "type": "message", "role": "assistant", "stop_reason": "end_turn",
            "content": [{"type": "text", "text": text}],
            "usage": {"input_tokens": 5, "output_tokens": 9},
        }  # fmt: skip

    running = fake_server(models={"claude-sonnet-4-5": {}}, reply=reply)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-of-the-tests")
    monkeypatch.setenv("ANTHROPIC_API_BASE", running.url.removesuffix("/v1"))
    found = lookup.find_object("tunegate.harness.judges", "faithfulness", what="judge")
    assert isinstance(found, Judge)
    judge = replace(found, options={"split": "sentences"})
    answers = {"A": "One. Two. Three.", "B": "Four. Five.", "C": "Six.", "D": "Seven."}
    tasks = [
        JudgementTask("f", judge, Case(id=c, prompt="p", context=c), (Completion(text=text),))
        for c, text in answers.items()
    ]

    model = litellm("anthropic/claude-sonnet-4-5?concurrency=1")
    outcomes = [outcome for _, outcome in AskedJudgeModel(model).judge(tasks)]

    assert [outcome.error for outcome in outcomes] == [None] * 4
    asked = []
    for body in running.asked:
        *lead, rest = body["messages"][0]["content"]
        assert "cache_control" not in rest
        assert [part["cache_control"] for part in lead] == [{"type": "ephemeral"}] * len(lead)
        whole = "".join(part["text"] for part in (*lead, rest))
        source, claim = re.findall(r"^<<\w+ \w+>>\n(.*)\n<</", whole, re.MULTILINE)
        assert [part["text"].startswith("<<context ") for part in lead] == [True] * len(lead)
        asked.append((source, claim, len(lead)))
    assert asked == [
        ("A", "One.", 1), ("B", "Four.", 1), ("C", "Six.", 0), ("A", "Two.", 1),
        ("A", "Three.", 1), ("B", "Five.", 1), ("D", "Seven.", 0),
    ]  # fmt: skip


@pytest.mark.parametrize("stopped", [False, True])
def test_what_waits_for_its_source_is_asked_in_the_end(stopped: bool) -> None:
    question = JudgeQuestion("v", "task", "source claim", "n", {}, lead=6)
    questions = dict.fromkeys("abc", question)

    class Taken(dict[str, JudgeQuestion]):
        def items(self) -> Any:
            yield from list(super().items())[: 2 if stopped else 3]

    found = [key for key, _ in spread_questions(Taken(questions), lag=5)]

    assert found == (["a"] if stopped else ["a", "b", "c"])
