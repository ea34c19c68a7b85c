"""A judge through litellm: asked at temperature 0, counted and priced, its failures in words."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

if importlib.util.find_spec("litellm") is None:
    pytest.skip("litellm is not installed", allow_module_level=True)

from tests.fake_server import FakeServer, completion, fake_server, prompt_of
from tunegate.harness.errors import ModelError
from tunegate.harness.judging.backends.litellm import litellm
from tunegate.harness.judging.contract import JudgementTask
from tunegate.harness.judging.conversation import ModelJuror

__all__ = ["fake_server"]  # the fixture


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
        t.completions[0].text: o for t, o in ModelJuror(judge).judge([task("sorry"), task("no")])
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

    outcomes = [o for _, o in ModelJuror(judge).judge([task(f"t{i}") for i in range(30)])]

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
    """An unknown provider and a missing key are one line, before any completion."""
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)

    with pytest.raises(ModelError, match=said):
        litellm(model)
