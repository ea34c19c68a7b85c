"""One chat completion through litellm: what is read from a reply, and what a failure means."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fake_server import FakeServer, completion
from tunegate.harness.models.remote.failures import PermanentError, RetryableError
from tunegate.harness.models.remote.litellm_calls import ChatReply, chat_completion, litellm_library
from tunegate.harness.records.errors import MissingExtra

MODEL = "openai/gpt-4o-mini"
HELLO = [{"role": "user", "content": "Hello"}]


VERSION = {"model": "gpt-4o-mini-2024-07-18", "system_fingerprint": "fp_1"}


@pytest.fixture(name="served")
def _served(fake_server: Callable[..., FakeServer], monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    """A provider that answers `hello` until a test tells it otherwise."""
    served = fake_server(models={"gpt-4o-mini": {}})
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-tests")
    monkeypatch.setenv("OPENAI_BASE_URL", served.url)
    return served


def ask(
    served: FakeServer, reply: dict[str, Any], model: str = MODEL, **settings: Any
) -> ChatReply:
    """Return the reply to one question that is answered with `reply`."""
    served.models = {model.removeprefix("openai/"): {}}
    served.reply = lambda name, path, body: {**VERSION, **reply}
    return chat_completion(model, HELLO, deadline=time.monotonic() + 20, settings=settings)


def failure(served: FakeServer) -> RetryableError | PermanentError:
    """Return what a question is refused with."""
    with pytest.raises((RetryableError, PermanentError)) as caught:
        chat_completion(MODEL, HELLO, deadline=time.monotonic() + 20)
    error = caught.value
    assert isinstance(error, RetryableError | PermanentError)
    return error


def refusing(status: int, text: str) -> Callable[..., dict[str, Any]]:
    """Return a reply that is an error."""

    def reply(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        raise LookupError(status, text)

    return reply


def test_a_reply_says_what_was_answered_and_by_whom(served: FakeServer) -> None:
    """Text, tokens, finish reason, the provider's version, and the price: 5 in and 1 out.

    gpt-4o-mini costs 0.15 dollars a million tokens in and 0.60 out: 0.75e-6 + 0.6e-6.
    """
    reply = ask(served, completion("hello"))

    assert (reply.text, reply.finish_reason) == ("hello", "stop")
    assert (reply.input_tokens, reply.output_tokens) == (5, 1)
    assert reply.model_version == "gpt-4o-mini-2024-07-18"
    assert reply.system_fingerprint == "fp_1"
    assert reply.cost == pytest.approx(1.35e-6)


def test_settings_reach_the_provider_as_they_are(served: FakeServer) -> None:
    settings = {"temperature": 0.0, "max_tokens": 8, "stop": ["\n"], "seed": 3}

    ask(served, completion("hello"), **settings)

    assert served.asked == [{"model": "gpt-4o-mini", "messages": HELLO, **settings}]


def test_a_fine_tune_has_the_price_of_fine_tunes(served: FakeServer) -> None:
    """0.30 dollars a million tokens in and 1.20 out: 1.5e-6 + 1.2e-6."""
    name = "ft:gpt-4o-mini-2024-07-18:acme::abc"

    reply = ask(served, {**completion("hello"), "model": name}, f"openai/{name}")

    assert reply.cost == pytest.approx(2.7e-6)


def test_an_unknown_price_is_none(served: FakeServer) -> None:
    """And not 0, which would make the model free."""
    reply = ask(served, {**completion("hello"), "model": "nobodys-model"}, "openai/nobodys-model")

    assert reply.cost is None
    assert reply.output_tokens == 1


def test_tokens_that_were_not_counted_are_none(served: FakeServer) -> None:
    """litellm writes 0 where the provider wrote nothing; 0 tokens would cost nothing."""
    reply = ask(served, {**completion("hello"), "usage": None})

    assert (reply.input_tokens, reply.output_tokens, reply.cost) == (None, None, None)


def test_tool_calls_and_reasoning_are_kept_in_the_message(served: FakeServer) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    message = {"content": None, "tool_calls": [call], "reasoning_content": "hm"}

    reply = ask(served, completion("", message=message, finish_reason="tool_calls"))

    assert reply.text is None
    assert reply.message["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a": 1}'}
    assert reply.message["reasoning_content"] == "hm"


@pytest.mark.parametrize(
    ("fault", "wait"),
    [
        ("429:7", 7.0),
        ("500", None),
        ("503:2", 2.0),
        ("html", None),
        ("empty", None),
        ("reset", None),
    ],
)
def test_what_may_pass_is_for_later(served: FakeServer, fault: str, wait: float | None) -> None:
    """Asked once, since trying again is the pool's work, which keeps the provider's pause."""
    served.faults = lambda number: fault

    found = failure(served)

    assert isinstance(found, RetryableError)
    assert found.after_s == wait
    assert served.posts == 1


def test_a_reply_without_a_choice_is_for_later(served: FakeServer) -> None:
    served.reply = lambda model, path, body: {"object": "chat.completion", "choices": []}

    assert "without a choice" in str(failure(served))


@pytest.mark.parametrize(
    ("status", "text", "whole"),
    [
        (401, "Incorrect API key provided", True),
        (403, "no access", True),
        (404, "The model `x` does not exist", True),
        (429, "You exceeded your current quota, please check your plan", True),
        (400, "This model's maximum context length is 8 tokens", False),
        (400, "The prompt was filtered by the content management policy", False),
    ],
    ids=["key", "access", "model", "quota", "context", "filter"],
)
def test_what_will_not_pass_is_refused(
    served: FakeServer, status: int, text: str, whole: bool
) -> None:
    served.reply = refusing(status, text)

    found = failure(served)

    assert isinstance(found, PermanentError)
    assert found.whole is whole
    assert str(found).startswith(f"HTTP {status}")
    assert text in str(found)
    assert "litellm" not in str(found)
    assert "\n" not in str(found)


def test_no_message_quotes_a_key(served: FakeServer) -> None:
    served.key = "another"

    found = failure(served)

    assert "sk-of-the-tests" not in str(found)
    assert "<OPENAI_API_KEY>" in str(found)


def test_a_silent_provider_is_for_later(served: FakeServer) -> None:
    served.faults = lambda number: "silent"

    with pytest.raises(RetryableError, match=r"^Timeout: .*timed out"):
        chat_completion(MODEL, HELLO, deadline=time.monotonic() + 1)


def test_nobody_there_is_for_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")

    with pytest.raises(RetryableError, match="Connection error"):
        chat_completion(MODEL, HELLO, deadline=time.monotonic() + 5)


def test_a_parameter_the_model_does_not_take_is_refused_for_all(served: FakeServer) -> None:
    """Dropped in silence, the answers would be sampled while the report says greedy."""
    with pytest.raises(PermanentError, match="temperature") as caught:
        ask(served, completion("hello"), "openai/o1", temperature=0.0)

    assert caught.value.whole
    assert served.asked == []


FIRST = """
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from tunegate.harness.models.remote.litellm_calls import chat_completion
hello = [{"role": "user", "content": "Hello"}]
with ThreadPoolExecutor(16) as threads:
    ask = partial(chat_completion, "openai/gpt-4o-mini", hello, deadline=time.monotonic() + 60)
    asked = [threads.submit(ask) for _ in range(16)]
    assert {reply.result().finish_reason for reply in asked} == {"stop"}
"""


def test_many_first_questions_make_one_client(served: FakeServer) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "always::ResourceWarning", "-c", FIRST],
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_missing_litellm_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(MissingExtra, match=r"pip install 'tunegate\[litellm\]'"):
        litellm_library()


QUIET = """
import os, signal, sys, warnings
from tunegate.harness.models.remote.litellm_calls import litellm_library
before, filters = dict(os.environ), list(warnings.filters)
handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
litellm = litellm_library()
assert dict(os.environ) == before, "the environment changed"
assert warnings.filters[1:] == filters, "more than one filter of warnings is new"
assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers
assert litellm.suppress_debug_info
assert not (litellm.success_callback or litellm.failure_callback or litellm.callbacks)
"""


def test_loading_litellm_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    """No variables of `.env`, no filters, no signal handlers, no prints; no connection is tried."""
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-from-a-file\n", encoding="utf-8")
    guard = (
        "import socket\n"
        "def refuse(*_): raise SystemExit('it connects')\n"
        "socket.socket.connect = refuse\n"
    )

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", guard + QUIET],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
