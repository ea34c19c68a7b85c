"""litellm hook: the class that the proxy calls before a request and after its answer.

A streamed answer is checked whole. If it may be blocked, its chunks are held back until it is
complete and checked; if violations are only logged, chunks pass and the check follows the last one.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from functools import cache
from typing import Any

from tunegate.harness.production.guardrail.api_formats import callers_texts, choices_of
from tunegate.harness.production.guardrail.classifiers import open_classifier
from tunegate.harness.production.guardrail.masking import StreamMasking, mask_text, rewrite_texts
from tunegate.harness.production.guardrail.personal_data import known_values
from tunegate.harness.production.guardrail.request_checks import request_violations
from tunegate.harness.production.guardrail.response_checks import ResponseChecks
from tunegate.harness.production.guardrail.settings import (
    OURS,
    FailureAction,
    FailureMode,
    chosen_kinds,
    parse_settings,
)
from tunegate.harness.production.guardrail.violations import (
    CheckViolation,
    format_violations,
    shorten_reason,
)
from tunegate.harness.records.errors import MissingExtra, error_summary

LOGGER = logging.getLogger("tunegate.guardrail")


@cache
def guardrail_class() -> type:
    """Return the guardrail, a subclass of litellm's `CustomGuardrail`."""
    try:
        from litellm.integrations.custom_guardrail import CustomGuardrail
    except ImportError as error:
        raise MissingExtra("the guardrail of litellm's proxy", "litellm") from error
    # The proxy looks for hooks in the class itself, not in its bases.
    hooks = {name: hook for name, hook in vars(_LitellmHooks).items() if name.startswith("async_")}
    return type("TunegateGuardrail", (_LitellmHooks, CustomGuardrail), hooks)


class _LitellmHooks:
    """The callbacks of the proxy, with their required names and arguments."""

    guardrail_name: str | None

    def __init__(self, **entry: Any) -> None:
        """Take our settings out of the entry's; the others are litellm's."""
        self.own = parse_settings({key: entry.pop(key) for key in OURS & entry.keys()})
        self.answers = ResponseChecks(self.own)
        spec = self.own.classifier
        self.classifier = None if spec is None else open_classifier(spec)
        from litellm.types.guardrails import GuardrailEventHooks

        # In any other mode the guardrail would do nothing, unnoticed.
        modes = [GuardrailEventHooks.pre_call, GuardrailEventHooks.post_call]
        super().__init__(**{**entry, "supported_event_hooks": modes})

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
    ) -> dict[str, Any]:
        """Check a request, and mask its personal data if `violation` is mask."""
        violations = await self._checked(request_violations, data, self.own, self.classifier)
        self._decide("request", data, violations)
        kinds = chosen_kinds(self.own.personal)
        if self.own.violation is FailureAction.MASK and kinds:
            for place in callers_texts(data):
                rewrite_texts(place, lambda text: mask_text(text, kinds))
        return data

    async def async_post_call_success_hook(
        self, data: dict[str, Any], user_api_key_dict: Any, response: Any
    ) -> Any:
        """Check a whole answer, and mask what it leaks if `violation` is mask."""
        await self._check(data, response)
        kinds = chosen_kinds(self.own.leaks)
        if self.own.violation is FailureAction.MASK and kinds:
            keep = known_values(data)
            rewrite_texts(response, lambda text: mask_text(text, kinds, keep))
        return response

    async def async_post_call_streaming_iterator_hook(
        self, user_api_key_dict: Any, response: Any, request_data: dict[str, Any]
    ) -> AsyncIterator[Any]:
        """Check an answer that comes in chunks."""
        from litellm import stream_chunk_builder

        masks = self.own.violation is FailureAction.MASK
        holds = self.own.violation is FailureAction.BLOCK or self.own.fails is FailureMode.CLOSED
        masking = StreamMasking(self.own, request_data)
        chunks, held = [], []
        async for chunk in response:
            unreadable = isinstance(chunk, bytes | str)
            chunks.append(chunk.model_copy(deep=True) if masks and not unreadable else chunk)
            if masks and not unreadable:
                masking.mask(chunk)
            if holds:
                held.append(chunk)
            else:
                yield chunk
        for chunk in masking.rest():
            held.append(chunk)
        if any(isinstance(chunk, bytes | str) for chunk in chunks):
            why = "a stream of events of another interface"
            self._decide("answer", request_data, [CheckViolation("unreadable", why, failed=masks)])
        else:
            await self._check(request_data, stream_chunk_builder(chunks=chunks))
        for chunk in held:
            yield chunk

    async def _check(self, data: dict[str, Any], response: Any) -> None:
        choices = choices_of(response)
        if choices is None:
            return  # an embedding or an image
        self._decide("answer", data, await self._checked(self.answers.violations, data, choices))

    async def _checked(
        self, check: Callable[..., list[CheckViolation]], *arguments: Any
    ) -> list[CheckViolation]:
        """Return what a check finds, or that it crashed.

        It runs in a thread: waiting for a child process or a model must not stop other calls.
        """
        try:
            return await asyncio.to_thread(check, *arguments)
        except Exception as error:
            why = shorten_reason(error_summary(error))
            return [CheckViolation("guardrail", why, failed=True)]

    def _decide(self, what: str, data: dict[str, Any], findings: list[CheckViolation]) -> None:
        if not findings:
            return
        violations = {
            violation.check: violation.reason for violation in findings if not violation.failed
        }
        failed = {violation.check: violation.reason for violation in findings if violation.failed}
        line = {
            "guardrail": self.guardrail_name,
            "action": self.own.violation.value,
            "what": what,
            "model": data.get("model"),
            "call": data.get("litellm_call_id"),
            "violations": violations,
        }
        if failed:
            line |= {"failed": failed, "fails": self.own.fails.value}
        LOGGER.warning("%s", json.dumps(line))
        refused = [violation for violation in findings if self._refuses(violation)]
        acts = refused or self.own.violation is FailureAction.MASK
        status = "guardrail_intervened" if acts else "success"
        self._record(
            violations | failed,
            data,
            "guardrail_failed_to_respond" if failed and not violations else status,
        )
        if refused:
            raise self._blocked(f"{what} blocked by guardrail {self.guardrail_name}", refused)

    def _refuses(self, one: CheckViolation) -> bool:
        """Return whether the caller gets an error."""
        if one.failed:
            return self.own.fails is FailureMode.CLOSED
        return self.own.violation is FailureAction.BLOCK

    def _record(self, reasons: Mapping[str, str], data: dict[str, Any], status: str) -> None:
        """Add the result to litellm's own logs and spans."""
        inherited: Any = self
        inherited.add_standard_logging_guardrail_information_to_request_data(
            guardrail_json_response=reasons, request_data=data, guardrail_status=status
        )

    def _blocked(self, what: str, violations: list[CheckViolation]) -> Exception:
        from litellm.exceptions import GuardrailRaisedException

        error: Exception = GuardrailRaisedException(
            guardrail_name=self.guardrail_name,
            message=f"{what}: {format_violations(violations)}",
            should_wrap_with_default_message=False,
            blocked_content=True,
        )
        return error
