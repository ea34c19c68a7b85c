"""litellm hook: the class that the proxy calls before a request and after its answer.

A streamed answer is checked whole. Where violations block, its chunks are held back until it is
complete and checked, for what was sent cannot be taken back; where they are logged, chunks pass as
they come and the check follows the last one.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from functools import cache
from typing import Any

from tunegate.harness.errors import MissingExtra
from tunegate.harness.guardrail.content_checks import (
    OURS,
    CheckViolation,
    FailureAction,
    ResponseChecks,
    choices_of,
    format_violations,
    parse_settings,
    request_violations,
)

LOGGER = logging.getLogger("tunegate.guardrail")


@cache
def guardrail_class() -> type:
    """Return the guardrail, a subclass of litellm's `CustomGuardrail`.

    Raises:
        MissingExtra: litellm is not installed.
    """
    try:
        from litellm.integrations.custom_guardrail import CustomGuardrail
    except ImportError as error:
        raise MissingExtra("the guardrail of litellm's proxy", "litellm") from error
    # The proxy looks for its hooks in the class itself, not in what it inherits from.
    hooks = {name: hook for name, hook in vars(_LitellmHooks).items() if name.startswith("async_")}
    return type("TunegateGuardrail", (_LitellmHooks, CustomGuardrail), hooks)


class _LitellmHooks:
    """What the proxy calls, with the names and arguments that it calls it by."""

    guardrail_name: str | None

    def __init__(self, **given: Any) -> None:
        """Take our settings out of those of the entry; the others are litellm's.

        Raises:
            UsageError: a setting of ours cannot be.
            ValueError: the mode is another than `pre_call` and `post_call`.
        """
        self.own = parse_settings({key: given.pop(key) for key in OURS & given.keys()})
        self.answers = ResponseChecks(self.own)
        from litellm.types.guardrails import GuardrailEventHooks

        # A mode that nothing is done in would look like a guardrail and be none.
        modes = [GuardrailEventHooks.pre_call, GuardrailEventHooks.post_call]
        super().__init__(**{**given, "supported_event_hooks": modes})

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
    ) -> dict[str, Any]:
        """Check a request."""
        self._decide("request", data, request_violations(data, self.own))
        return data

    async def async_post_call_success_hook(
        self, data: dict[str, Any], user_api_key_dict: Any, response: Any
    ) -> Any:
        """Check an answer that came whole."""
        await self._check(data, response)
        return response

    async def async_post_call_streaming_iterator_hook(
        self, user_api_key_dict: Any, response: Any, request_data: dict[str, Any]
    ) -> AsyncIterator[Any]:
        """Check an answer that comes in chunks."""
        from litellm import stream_chunk_builder

        holds = self.own.violation is FailureAction.BLOCK
        chunks = []
        async for chunk in response:
            chunks.append(chunk)
            if not holds:
                yield chunk
        if any(isinstance(chunk, bytes | str) for chunk in chunks):
            unread = [CheckViolation("unreadable", "a stream of events of another interface")]
            self._decide("answer", request_data, unread)
        else:
            await self._check(request_data, stream_chunk_builder(chunks=chunks))
        for chunk in chunks if holds else ():
            yield chunk

    async def _check(self, data: dict[str, Any], response: Any) -> None:
        choices = choices_of(response)
        if choices is None:
            return  # an embedding, an image: there is nothing to read
        # Metrics may wait for a child process, which must not stop the proxy's other calls.
        found = await asyncio.to_thread(self.answers.violations, data, choices)
        self._decide("answer", data, found)

    def _decide(self, what: str, data: dict[str, Any], found: list[CheckViolation]) -> None:
        if not found:
            return
        told = {one.check: one.reason for one in found}
        line = {
            "guardrail": self.guardrail_name,
            "action": self.own.violation.value,
            "what": what,
            "model": data.get("model"),
            "call": data.get("litellm_call_id"),
            "violations": told,
        }
        LOGGER.warning("%s", json.dumps(line))
        blocks = self.own.violation is FailureAction.BLOCK
        self._record(told, data, "guardrail_intervened" if blocks else "success")
        if blocks:
            raise self._blocked(f"{what} blocked by guardrail {self.guardrail_name}", found)

    def _record(self, told: Mapping[str, str], data: dict[str, Any], status: str) -> None:
        """Tell litellm's own logs and spans."""
        inherited: Any = self
        inherited.add_standard_logging_guardrail_information_to_request_data(
            guardrail_json_response=told, request_data=data, guardrail_status=status
        )

    def _blocked(self, what: str, found: list[CheckViolation]) -> Exception:
        from litellm.exceptions import GuardrailRaisedException

        error: Exception = GuardrailRaisedException(
            guardrail_name=self.guardrail_name,
            message=f"{what}: {format_violations(found)}",
            should_wrap_with_default_message=False,
            blocked_content=True,
        )
        return error
