"""The checks of a request: what users and tools say in it, never the operator's system prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.guarding.injection import injection_in
from harness.guarding.personal import KINDS, personal_data
from harness.guarding.settings import Settings
from harness.guarding.violation import Violation

_OPERATOR = ("system", "developer", "assistant")
"""Roles whose texts are not the callers'."""


def request_violations(request: Mapping[str, Any], settings: Settings) -> list[Violation]:
    """Return what is wrong with a request in OpenAI's form: `messages`, `prompt` or `input`."""
    return list(_violations("\n".join(_texts(request)), settings))


def _violations(text: str, settings: Settings) -> Iterator[Violation]:
    most = settings.max_input_characters
    if most is not None and len(text) > most:
        yield Violation("length", f"{len(text)} characters, and {most} are allowed")
    phrase = injection_in(text) if settings.injection else None
    if phrase is not None:
        yield Violation("injection", repr(phrase))
    kinds = settings.personal
    if kinds:
        found = personal_data(text, kinds if isinstance(kinds, tuple) else KINDS)
        if found:
            told = ", ".join(f"{count} {kind}" for kind, count in found.items())
            yield Violation("personal", told)


def _texts(request: Mapping[str, Any]) -> Iterator[str]:
    for message in request.get("messages") or ():
        if isinstance(message, Mapping) and message.get("role") not in _OPERATOR:
            yield from _strings(message.get("content"))
    yield from _strings(request.get("prompt"))
    yield from _strings(request.get("input"))


def _strings(content: Any) -> Iterator[str]:
    """Yield the texts of a content: itself, or those of its parts."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            yield from _strings(part)
    elif isinstance(content, Mapping) and content.get("role") not in _OPERATOR:
        yield from _strings(content.get("text"))
        yield from _strings(content.get("content"))
