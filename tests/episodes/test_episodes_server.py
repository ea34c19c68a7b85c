"""Episodes over an OpenAI-compatible server: calls and results cross in OpenAI's own form."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fake_server import FakeServer, completion
from tests.played_suites import write_desk
from tunegate.harness.models.server import server
from tunegate.harness.run.prepare import prepare
from tunegate.harness.suite import load_suite


def _reply(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Call find, then refund, as the API has calls; a probe text is just echoed."""
    if "tools" not in body:
        return completion(f"{model}: {body['messages'][-1]['content']}")
    turn = sum(message["role"] == "assistant" for message in body["messages"])
    if model == "base" or turn == 2:
        return completion("Done.")
    function = {"name": ["find", "refund"][turn], "arguments": json.dumps({"order": "A1"})}
    call = {"id": "c", "type": "function", "function": function}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    return completion("", message=message, finish_reason="tool_calls")


def test_calls_cross_as_openai_has_them(
    fake_server: Callable[..., FakeServer], tmp_path: Path
) -> None:
    running = fake_server(reply=_reply)
    arms = {name: server(f"{running.url}#{name}") for name in ("base", "tuned")}
    with prepare([load_suite(write_desk(tmp_path))], arms, None) as run:
        run.answer(io.StringIO())
        rewards = {
            cell.cell.arm: cell.completion.episode.reward
            for cell in run.answers()
            if cell.completion and cell.completion.episode
        }
    last = max(
        (body for body in running.asked if "tools" in body), key=lambda body: len(body["messages"])
    )
    calls = [one["tool_calls"][0] for one in last["messages"] if one.get("tool_calls")]
    results = [one for one in last["messages"] if one["role"] == "tool"]

    assert rewards == {"base": 0.0, "tuned": 1.0}
    assert [tool["function"]["name"] for tool in last["tools"]] == ["find", "refund"]
    assert [call["function"]["name"] for call in calls] == ["find", "refund"]
    assert [json.loads(call["function"]["arguments"]) for call in calls] == [{"order": "A1"}] * 2
    assert [one["tool_call_id"] for one in results] == [call["id"] for call in calls]
    assert [one["content"] for one in results] == ["A1 is lost", "paid"]


def test_a_slow_turn_holds_up_no_other_episode(
    fake_server: Callable[..., FakeServer], tmp_path: Path
) -> None:
    through, waited = threading.Event(), []

    def reply(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        said = _reply(model, path, body)
        if "tools" in body and model == "tuned":
            if "slow" in body["messages"][0]["content"] and len(body["messages"]) == 1:
                waited.append(through.wait(20))
            elif "fast" in body["messages"][0]["content"] and len(body["messages"]) == 5:
                through.set()
        return said

    tasks = [{"id": name, "prompt": name, "row": {"order": "A1"}} for name in ("slow", "fast")]
    running = fake_server(reply=reply)
    arms = {name: server(f"{running.url}#{name}") for name in ("base", "tuned")}
    with prepare([load_suite(write_desk(tmp_path, tasks=tasks))], arms, None) as run:
        run.answer(io.StringIO())
        rewards = [
            cell.completion.episode.reward
            for cell in run.answers()
            if cell.completion and cell.completion.episode and cell.cell.arm == "tuned"
        ]

    assert waited == [True]
    assert rewards == [1.0, 1.0]
