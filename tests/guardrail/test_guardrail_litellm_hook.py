"""The class that the proxy loads: its name, its settings, and what it does in its hooks."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tunegate.harness.errors import UsageError


def _made(**given: Any) -> Any:
    litellm_way: Any = importlib.import_module("tunegate.harness.guardrail").TunegateGuardrail
    return litellm_way(
        guardrail_name="g", event_hook=["pre_call", "post_call"], default_on=True, **given
    )


def _requested(text: str) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], "metadata": {}}


def test_litellm_knows_it() -> None:
    """It is a guardrail of litellm's, with its hooks in the class itself."""
    from litellm.integrations.custom_guardrail import CustomGuardrail

    made = _made()

    assert isinstance(made, CustomGuardrail)
    assert made.guardrail_name == "g"
    assert "async_post_call_streaming_iterator_hook" in type(made).__dict__


def test_no_other_name() -> None:
    """A slip in config.yaml is an error of the module's."""
    with pytest.raises(AttributeError, match="TunegateGuardrial"):
        importlib.import_module("tunegate.harness.guardrail").TunegateGuardrial  # noqa: B018


@pytest.mark.parametrize("mode", ["during_call", "logging_only"])
def test_other_modes(mode: str) -> None:
    """What would never be called is refused at the start."""
    found: Any = importlib.import_module("tunegate.harness.guardrail").TunegateGuardrail

    with pytest.raises(ValueError, match=mode):
        found(guardrail_name="g", event_hook=mode)


def test_settings() -> None:
    """Ours are checked, litellm's passed on."""
    with pytest.raises(UsageError, match="violation='warn'"):
        _made(violation="warn")
    assert _made(violation="log", run_in_parallel=True).run_in_parallel is True


def test_a_blocked_request(caplog: pytest.LogCaptureFixture) -> None:
    """An exception with status 400, and a line in the log."""
    from litellm.exceptions import GuardrailRaisedException

    with (
        caplog.at_level(logging.WARNING, logger="tunegate.guardrail"),
        pytest.raises(GuardrailRaisedException) as caught,
    ):
        asyncio.run(_made().async_pre_call_hook(None, None, _requested("a@b.example"), "x"))

    assert caught.value.status_code == 400
    assert str(caught.value) == "request blocked by guardrail g: personal: 1 email"
    assert '"violations": {"personal": "1 email"}' in caplog.text
    assert "a@b.example" not in caplog.text


def test_a_stream_of_another_interface() -> None:
    """It is held back, for nothing has read it; where violations are logged it passes."""
    from litellm.exceptions import GuardrailRaisedException

    async def events() -> AsyncIterator[bytes]:
        yield b"event: content_block_delta\n"

    async def read(made: Any) -> list[Any]:
        hook = made.async_post_call_streaming_iterator_hook
        return [chunk async for chunk in hook(None, events(), _requested("?"))]

    with pytest.raises(GuardrailRaisedException, match="unreadable"):
        asyncio.run(read(_made()))
    assert asyncio.run(read(_made(violation="log"))) == [b"event: content_block_delta\n"]


def test_an_embedding_passes() -> None:
    """There is nothing to read in it."""
    response = {"data": [{"embedding": [0.1]}]}
    hook = _made(max_answer_characters=1).async_post_call_success_hook

    assert asyncio.run(hook(_requested("?"), None, response)) is response
