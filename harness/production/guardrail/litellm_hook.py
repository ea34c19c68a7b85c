"""litellm hook: the class that the proxy calls before a request and after its answer.

A streamed answer is checked whole. If it may be blocked, its chunks are held back until it is
complete and checked; if violations are only logged, chunks pass and the check follows the last one.
A masked stream is held back by a few words, enough to see that a value is complete.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from tunegate.harness.production.guardrail.classifiers import open_classifier
from tunegate.harness.production.guardrail.content_checks import (
    OURS,
    CheckViolation,
    FailureAction,
    FailureMode,
    GuardrailSettings,
    ResponseChecks,
    callers_texts,
    choices_of,
    chosen_kinds,
    format_violations,
    known_values,
    parse_settings,
    request_violations,
)
from tunegate.harness.production.guardrail.visible_text import visible_characters, visible_text
from tunegate.harness.records.errors import MissingExtra
from tunegate.harness.telemetry.export.redaction import mask_values, personal_values

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
    """The callbacks of the proxy, with their required names and arguments."""

    guardrail_name: str | None

    def __init__(self, **given: Any) -> None:
        """Take our settings out of those of the entry; the others are litellm's.

        Raises:
            UsageError: a setting of ours cannot be.
            ValueError: the mode is another than `pre_call` and `post_call`.
        """
        self.own = parse_settings({key: given.pop(key) for key in OURS & given.keys()})
        self.answers = ResponseChecks(self.own)
        spec = self.own.classifier
        self.classifier = None if spec is None else open_classifier(spec)
        from litellm.types.guardrails import GuardrailEventHooks

        # A mode that nothing is done in would look like a guardrail and be none.
        modes = [GuardrailEventHooks.pre_call, GuardrailEventHooks.post_call]
        super().__init__(**{**given, "supported_event_hooks": modes})

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
    ) -> dict[str, Any]:
        """Check a request, and mask its personal data where that is wanted."""
        found = await self._checked(request_violations, data, self.own, self.classifier)
        self._decide("request", data, found)
        kinds = chosen_kinds(self.own.personal)
        if self.own.violation is FailureAction.MASK and kinds:
            for place in callers_texts(data):
                rewrite_texts(place, lambda text: mask_text(text, kinds))
        return data

    async def async_post_call_success_hook(
        self, data: dict[str, Any], user_api_key_dict: Any, response: Any
    ) -> Any:
        """Check an answer that came whole, and mask what it leaks where that is wanted."""
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
            return  # an embedding, an image: there is nothing to read
        self._decide("answer", data, await self._checked(self.answers.violations, data, choices))

    async def _checked(
        self, check: Callable[..., list[CheckViolation]], *given: Any
    ) -> list[CheckViolation]:
        """Return what a check finds; where it breaks down, that it did.

        Checks may wait for a child process or a model, which must not stop the proxy's other calls.
        """
        try:
            return await asyncio.to_thread(check, *given)
        except Exception as error:
            why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            return [CheckViolation("guardrail", why, failed=True)]

    def _decide(self, what: str, data: dict[str, Any], found: list[CheckViolation]) -> None:
        if not found:
            return
        told = {one.check: one.reason for one in found if not one.failed}
        failed = {one.check: one.reason for one in found if one.failed}
        line = {
            "guardrail": self.guardrail_name,
            "action": self.own.violation.value,
            "what": what,
            "model": data.get("model"),
            "call": data.get("litellm_call_id"),
            "violations": told,
        }
        if failed:
            line |= {"failed": failed, "fails": self.own.fails.value}
        LOGGER.warning("%s", json.dumps(line))
        refused = [one for one in found if self._refuses(one)]
        acts = refused or self.own.violation is FailureAction.MASK
        status = "guardrail_intervened" if acts else "success"
        self._record(
            told | failed, data, "guardrail_failed_to_respond" if failed and not told else status
        )
        if refused:
            raise self._blocked(f"{what} blocked by guardrail {self.guardrail_name}", refused)

    def _refuses(self, one: CheckViolation) -> bool:
        """Return whether the caller gets an error for it."""
        if one.failed:
            return self.own.fails is FailureMode.CLOSED
        return self.own.violation is FailureAction.BLOCK

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


def mask_text(text: str, kinds: Collection[str], keep: Collection[str] = ()) -> str:
    """Return a text with marks for personal data, hidden characters within them or not.

    Where nothing is masked the text stays as it is; else it becomes its `visible_text`.
    """
    visible = visible_text(text)
    masked = mask_values(visible, kinds=kinds, keep=keep)
    # Where nothing is masked, joined emoji keep the characters that join them.
    return text if masked == visible else masked


_BRANCHES = (
    "choices", "message", "output", "content", "reasoning_content", "reasoning", "thinking_blocks",
    "thinking", "summary", "refusal", "text", "input", "source", "title", "context",
)  # fmt: skip


def rewrite_texts(node: Any, rewrite: Callable[[str], str]) -> None:
    """Rewrite the texts of a message or an answer in place, in any of the interfaces' forms.

    Where a text was rewritten, the likelihoods of its tokens, which spell it out, are taken away.
    """
    places = list(_find_places(node))
    changed = False
    for holder, name, value in places:
        if isinstance(value, str) and (new := rewrite(value)) != value:
            _set_value(holder, name, new)
            changed = True
    for holder, name, _ in places if changed else ():
        if name == "logprobs":
            _set_value(holder, name, None)


def _find_places(node: Any) -> Iterator[tuple[Any, str | int, Any]]:
    """Yield every object with the place of a text in it, or of likelihoods; however deep it is."""
    rest = [node]
    while rest:
        holder = rest.pop()
        if isinstance(holder, list):
            places: list[tuple[str | int, Any]] = list(enumerate(holder))
        else:
            own = ("data",) if _value(holder, "type") == "text" else ()
            places = [(name, _value(holder, name)) for name in (*_BRANCHES, *own, "logprobs")]
        for name, value in places:
            if isinstance(value, str) or (name == "logprobs" and value is not None):
                yield holder, name, value
            elif value is not None:
                rest.append(value)


def _value(node: Any, name: str) -> Any:
    return node.get(name) if isinstance(node, dict) else getattr(node, name, None)


def _set_value(node: Any, name: str | int, value: Any) -> None:
    if isinstance(node, dict | list):
        node[name] = value  # type: ignore[index]  # a list has numbers for names
    else:
        setattr(node, str(name), value)


HELD = 64
"""Characters that are held back: no value with spaces in it is longer."""
_KEY_END = re.compile(r"-----END [A-Z ]{0,24}PRIVATE KEY-----")
_LONGEST_VALUE = 8_500
"""Characters without a space, or of a private key, that are held back at most."""


@dataclass
class TextMasking:
    """Masks a text that comes in pieces; what it holds back may be the beginning of a value."""

    kinds: tuple[str, ...]
    keep: Collection[str] = ()
    held: str = ""

    def feed(self, piece: str) -> str:
        """Return what may be sent after one more piece."""
        if not self.kinds:
            return piece
        self.held += piece
        cut = self._cut()
        ready, self.held = self.held[:cut], self.held[cut:]
        return mask_text(ready, self.kinds, self.keep)

    def flush(self) -> str:
        """Return what is left at the end."""
        ready, self.held = self.held, ""
        return mask_text(ready, self.kinds, self.keep)

    def _cut(self) -> int:
        """Return how much is certain: up to a space, outside of every value that is seen."""
        visible = list(visible_characters(self.held))
        seen = "".join(character for _, character in visible)
        limit = len(seen) - HELD
        full = len(seen) > _LONGEST_VALUE
        opened = seen.rfind("-----BEGIN")
        if not full and opened >= 0 and not _KEY_END.search(seen, opened):
            limit = min(limit, opened)
        cut = next((at for at in range(limit, 0, -1) if seen[at - 1].isspace()), 0)
        cut = cut or (limit if full else 0)
        inside = (begin for _, begin, end in personal_values(seen) if begin < cut < end)
        cut = max(0, next(inside, cut))
        return visible[cut][0] if cut else 0


@dataclass
class StreamMasking:
    """Masks the chunks of a stream in place, each choice for itself."""

    settings: GuardrailSettings
    request: Mapping[str, Any]
    texts: dict[tuple[int, str], TextMasking] = field(default_factory=dict)
    """Choice and attribute → its text so far."""
    last: Any = None

    def mask(self, chunk: Any) -> None:
        """Replace the texts of a chunk by what may be sent."""
        for choice in getattr(chunk, "choices", None) or ():
            if getattr(choice, "logprobs", None) is not None:
                choice.logprobs = None  # they spell out what is masked
            for place, name in _text_places(choice):
                piece = getattr(place, name, None)
                own = self.texts.get((choice.index, name))
                if own is None and not isinstance(piece, str):
                    continue
                own = own or self.texts.setdefault((choice.index, name), self._start())
                ready = own.feed(piece) if isinstance(piece, str) else ""
                if choice.finish_reason:
                    ready += own.flush()
                if isinstance(piece, str) or ready:
                    setattr(place, name, ready)
                    self.last = chunk

    def _start(self) -> TextMasking:
        return TextMasking(chosen_kinds(self.settings.leaks), known_values(self.request))

    def rest(self) -> Iterator[Any]:
        """Yield chunks of what is left where a stream ended without a finish reason."""
        for (index, name), own in self.texts.items():
            if own.held and self.last is not None:
                chunk = self.last.model_copy(deep=True)
                chunk.choices = chunk.choices[:1]
                chunk.choices[0].index = index
                for place, other in _text_places(chunk.choices[0]):
                    if other == name or hasattr(place, other):
                        setattr(place, other, own.flush() if other == name else None)
                yield chunk


def _text_places(choice: Any) -> list[tuple[Any, str]]:
    """Return the objects and attributes that hold a chunk's texts."""
    delta = getattr(choice, "delta", None)
    if delta is None:
        return [(choice, "text")]
    names = ("reasoning_content", "reasoning", "refusal", "content")
    return [(delta, name) for name in names]
