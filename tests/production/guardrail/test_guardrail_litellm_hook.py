"""The class that the proxy loads: its name, its settings, and what it does in its hooks."""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tunegate.harness.records.errors import UsageError

# litellm's types make pydantic warn when they are used first.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def _made(**given: Any) -> Any:
    litellm_way: Any = importlib.import_module(
        "tunegate.harness.production.guardrail"
    ).TunegateGuardrail
    return litellm_way(
        guardrail_name="g", event_hook=["pre_call", "post_call"], default_on=True, **given
    )


def _requested(text: str) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], "metadata": {}}


def test_it_is_a_guardrail_of_litellm() -> None:
    from litellm.integrations.custom_guardrail import CustomGuardrail

    made = _made()

    assert isinstance(made, CustomGuardrail)
    assert made.guardrail_name == "g"
    assert "async_post_call_streaming_iterator_hook" in type(made).__dict__


def test_another_name_in_config_is_an_error() -> None:
    with pytest.raises(AttributeError, match="TunegateGuardrial"):
        importlib.import_module("tunegate.harness.production.guardrail").TunegateGuardrial  # noqa: B018


@pytest.mark.parametrize("mode", ["during_call", "logging_only"])
def test_modes_without_a_hook_are_refused(mode: str) -> None:
    found: Any = importlib.import_module("tunegate.harness.production.guardrail").TunegateGuardrail

    with pytest.raises(ValueError, match=mode):
        found(guardrail_name="g", event_hook=mode)


def test_own_settings_are_checked_and_litellms_passed_on() -> None:
    with pytest.raises(UsageError, match='violation: "warn"'):
        _made(violation="warn")
    assert _made(violation="log", run_in_parallel=True).run_in_parallel is True


def test_a_blocked_request_is_an_error_and_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    from litellm.exceptions import GuardrailRaisedException

    with (
        caplog.at_level(logging.WARNING, logger="tunegate.guardrail"),
        pytest.raises(GuardrailRaisedException) as caught,
    ):
        asyncio.run(
            _made(violation="block").async_pre_call_hook(None, None, _requested("a@b.example"), "x")
        )

    assert caught.value.status_code == 400
    assert str(caught.value) == "request blocked by guardrail g: personal: 1 email"
    assert '"violations": {"personal": "1 email"}' in caplog.text
    assert "a@b.example" not in caplog.text


def test_an_unreadable_stream_is_blocked_or_logged() -> None:
    from litellm.exceptions import GuardrailRaisedException

    async def events() -> AsyncIterator[bytes]:
        yield b"event: content_block_delta\n"

    async def read(made: Any) -> list[Any]:
        hook = made.async_post_call_streaming_iterator_hook
        return [chunk async for chunk in hook(None, events(), _requested("?"))]

    with pytest.raises(GuardrailRaisedException, match="unreadable"):
        asyncio.run(read(_made(violation="block")))
    assert asyncio.run(read(_made(violation="log"))) == [b"event: content_block_delta\n"]


def test_an_embedding_passes() -> None:
    response = {"data": [{"embedding": [0.1]}]}
    hook = _made(max_answer_characters=1, violation="block").async_post_call_success_hook

    assert asyncio.run(hook(_requested("?"), None, response)) is response


class _Answer:
    """A streamed or whole answer as litellm hands it over."""

    @staticmethod
    def whole(text: str) -> Any:
        """Return a chat completion."""
        from litellm.types.utils import Choices, Message, ModelResponse

        message = Message(role="assistant", content=text)
        return ModelResponse(choices=[Choices(index=0, message=message, finish_reason="stop")])

    @staticmethod
    async def chunks(text: str, size: int, ends: bool = True) -> AsyncIterator[Any]:
        """Yield a chat completion in pieces of a size."""
        from litellm.types.utils import Delta, ModelResponseStream, StreamingChoices

        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        for piece in pieces:
            choice = StreamingChoices(index=0, delta=Delta(content=piece, role="assistant"))
            choice.finish_reason = None
            yield ModelResponseStream(choices=[choice])
        if ends:
            last = StreamingChoices(index=0, delta=Delta(), finish_reason="stop")
            yield ModelResponseStream(choices=[last])


LEAK = (
    "Sure. Write to jo@example.org or ann@shop.example, or call +49 151 2345 6789 today; the token "
    "is sk-abcdefghij0123456789klmn, and the order number is AB-1234 of 2026-11-02, as ever."
)
MASKED = (
    "Sure. Write to <email> or ann@shop.example, or call <phone> today; the token "
    "is <key>, and the order number is AB-1234 of 2026-11-02, as ever."
)
"""What the caller wrote, ann's address, is not a leak."""
ASKED = "My address is ann@shop.example."


def _stream(made: Any, text: str, size: int, **more: Any) -> list[str]:
    """Return the pieces that a caller gets."""

    async def read() -> list[str]:
        hook = made.async_post_call_streaming_iterator_hook
        found = hook(None, _Answer.chunks(text, size, **more), _requested(ASKED))
        return [chunk.choices[0].delta.content or "" async for chunk in found]

    return asyncio.run(read())


class TestMasking:
    """Personal data and secrets in answers become marks, and the log counts them."""

    def test_a_whole_answer_is_masked_in_place(self, caplog: pytest.LogCaptureFixture) -> None:
        answer = _Answer.whole(LEAK)
        with caplog.at_level(logging.WARNING, logger="tunegate.guardrail"):
            made = _made(violation="mask")
            asyncio.run(made.async_post_call_success_hook(_requested(ASKED), None, answer))

        assert answer.choices[0].message.content == MASKED
        assert '"violations": {"leaks": "1 email, 1 phone, 1 key"}' in caplog.text
        assert "jo@example" not in caplog.text

    @pytest.mark.parametrize("size", [1, 3, 7, 40, 1000])
    @pytest.mark.parametrize("ends", [True, False])
    def test_a_stream_is_masked_however_it_is_cut(self, size: int, ends: bool) -> None:
        pieces = _stream(_made(violation="mask"), LEAK, size, ends=ends)

        assert "".join(pieces) == MASKED

    def test_a_masked_stream_is_sent_before_its_end(self) -> None:
        pieces = _stream(_made(violation="mask"), "word " * 200, 5)

        assert sum(bool(piece) for piece in pieces) > 150

    @pytest.mark.parametrize("ends", [True, False])
    def test_the_thoughts_of_a_stream(self, ends: bool) -> None:
        from litellm.types.utils import Delta, ModelResponseStream, StreamingChoices

        async def chunks() -> AsyncIterator[Any]:
            parts = [("reasoning_content", LEAK), ("content", "Done, jo@example.org.")]
            for name, text in parts:
                for at in range(0, len(text), 5):
                    delta = Delta(**{name: text[at : at + 5]})
                    choice = StreamingChoices(index=0, delta=delta)
                    choice.finish_reason = None
                    yield ModelResponseStream(choices=[choice])
            if ends:
                last = StreamingChoices(index=0, delta=Delta(), finish_reason="stop")
                yield ModelResponseStream(choices=[last])

        async def read() -> tuple[str, str]:
            hook = _made(violation="mask").async_post_call_streaming_iterator_hook
            deltas = [
                chunk.choices[0].delta async for chunk in hook(None, chunks(), _requested(ASKED))
            ]
            thoughts = "".join(getattr(one, "reasoning_content", None) or "" for one in deltas)
            return thoughts, "".join(one.content or "" for one in deltas)

        assert asyncio.run(read()) == (MASKED, "Done, <email>.")

    def test_a_private_key_is_masked_whole(self) -> None:
        lines = "MIIEvQIBADANBg\n" * 40
        key = f"-----BEGIN PRIVATE KEY-----\n{lines}-----END PRIVATE KEY-----"

        pieces = _stream(_made(violation="mask"), f"Here it is: {key} Keep it.", 16)

        assert "".join(pieces) == "Here it is: <key> Keep it."

    def test_a_request_is_masked_but_for_the_operators_words(self) -> None:
        data = _requested("I am jo@example.org.")
        data["messages"].insert(0, {"role": "system", "content": "Mail ops@example.org."})
        data["messages"].append(
            {"role": "user", "content": [{"type": "text", "text": "or jo@exa\u200bmple.org"}]}
        )
        asyncio.run(_made(violation="mask").async_pre_call_hook(None, None, data, "x"))

        contents = [message["content"] for message in data["messages"]]
        assert contents[:2] == ["Mail ops@example.org.", "I am <email>."]
        assert contents[2] == [{"type": "text", "text": "or <email>"}]

    def test_the_forms_of_other_interfaces(self) -> None:
        responses = {"output": [{"content": [{"type": "output_text", "text": LEAK}]}]}
        message = {"role": "assistant", "content": [{"type": "text", "text": LEAK}]}
        hook = _made(violation="mask").async_post_call_success_hook
        for answer in (responses, message):
            asyncio.run(hook(_requested(ASKED), None, answer))

        assert responses["output"][0]["content"][0]["text"] == MASKED  # type: ignore[index]
        assert message["content"][0]["text"] == MASKED  # type: ignore[index]

    def test_a_leak_blocks_only_if_violations_block(self) -> None:
        from litellm.exceptions import GuardrailRaisedException

        with pytest.raises(GuardrailRaisedException, match="leaks: 1 email"):
            _stream(_made(violation="block"), LEAK, 9)
        assert "".join(_stream(_made(), LEAK, 9)) == LEAK
        assert "".join(_stream(_made(violation="block", leaks=["card"]), LEAK, 9)) == LEAK


class TestFailures:
    """A check that cannot be made: open by default, closed by an option, told in the log."""

    BROKEN = f"command:{sys.executable} -c 'raise SystemExit(3)'"

    def test_a_failed_check_lets_a_call_pass_by_default(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING, logger="tunegate.guardrail"):
            made = _made(violation="block", classifier=self.BROKEN)
            asyncio.run(made.async_pre_call_hook(None, None, _requested("hello"), "x"))

        assert '"failed": {"classifier": "RuntimeError: the program ended"}' in caplog.text
        assert '"fails": "open"' in caplog.text

    def test_a_failed_check_blocks_if_fails_is_closed(self) -> None:
        from litellm.exceptions import GuardrailRaisedException

        made = _made(violation="log", fails="closed", classifier=self.BROKEN)
        with pytest.raises(GuardrailRaisedException, match="classifier: RuntimeError"):
            asyncio.run(made.async_pre_call_hook(None, None, _requested("hello"), "x"))

    def test_a_defect_of_a_check_is_a_failure(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from litellm.exceptions import GuardrailRaisedException

        made = _made(fails="closed")
        monkeypatch.setattr(made.answers, "violations", lambda *_: 1 / 0)
        with pytest.raises(GuardrailRaisedException, match="ZeroDivisionError"):
            _stream(made, "fine", 2)
