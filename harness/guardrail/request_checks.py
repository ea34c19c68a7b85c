"""Request checks: what users and tools wrote, and phrases of prompt injection in it.

Phrases that try to take over a model: the common ones, in English, as people copy them. A list of
phrases stops the lazy and nobody else: whoever rewords gets through. It is a count to be watched
and a first fence, no defence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tunegate.harness.guardrail.settings import KINDS, Settings, Violation, personal_data

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


_WORDS = (
    r"(?:(?:all|any|every|the|your|my|these|those|of|previous|prior|preceding|above|earlier"
    r"|foregoing|original|existing|system|safety) ){0,5}"
)
_ORDERS = (
    r"(?:instructions?|prompts?|rules|directions|guidelines|directives|commands|context"
    r"|programming)"
)
_PHRASES = (
    rf"\b(?:ignore|disregard|forget|override|bypass) {_WORDS}{_ORDERS}\b",
    r"\b(?:ignore|disregard|forget) (?:everything|all|anything) "
    r"(?:above|before|you (?:were|have been) told|i said)\b",
    r"\b(?:reveal|show|print|repeat|output|display|leak|tell me) (?:me )?(?:all of )?"
    r"(?:your|the) (?:(?:hidden|full|entire|initial|original|exact|secret) ){0,3}"
    r"(?:system prompt|system message|initial prompt|instructions above)\b",
    r"\byou are now (?:in )?(?:dan|developer mode|jailbroken|unrestricted"
    r"|an? (?:unrestricted|unfiltered|uncensored))\b",
    r"\b(?:enable|enter|activate) (?:developer|dan|jailbreak|god) mode\b",
    r"\bdo anything now\b",
    r"\bpretend (?:that )?you (?:have no|are not bound by) "
    r"(?:rules|restrictions|guidelines|limits|limitations)\b",
    r"\bnew (?:system )?instructions?:",
    r"<\|(?:im_start|im_end|system|endoftext|start_header_id|eot_id)\|>",
    r"\[/?INST\]|<</?SYS>>",
)
_FOUND = re.compile("|".join(f"(?:{phrase})" for phrase in _PHRASES), re.IGNORECASE)
_SPACES = re.compile(r"\s+")
_LONGEST = 80


def injection_in(text: str) -> str | None:
    """Return the first phrase of a text that tries to take over the model; None if none does."""
    found = _FOUND.search(_SPACES.sub(" ", text))
    return None if found is None else found.group()[:_LONGEST]
