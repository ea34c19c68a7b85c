"""Masking: personal data in requests and answers becomes `<email>` and so on.

A masked stream is held back by a few words, enough to see that a value is complete.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tunegate.harness.production.guardrail.personal_data import known_values
from tunegate.harness.production.guardrail.settings import (
    GuardrailSettings,
    chosen_kinds,
)
from tunegate.harness.production.guardrail.visible_text import visible_characters, visible_text
from tunegate.harness.telemetry.export.redaction import mask_values, personal_values


def mask_text(
    text: str, kinds: Collection[str], keep: Collection[str] = (), *, after: str = ""
) -> str:
    """Return a text with marks for personal data, even if hidden characters split it.

    A text without any stays as it is; others become their `visible_text`. The text before it,
    `after`, may show that a value is a secret.
    """
    visible = visible_text(text)
    masked = mask_values(after + visible, kinds=kinds, keep=keep, start=len(after))
    # An unmasked text keeps the characters that join emoji.
    return text if masked == visible else masked


_BRANCHES = (
    "choices", "message", "output", "content", "reasoning_content", "reasoning", "thinking_blocks",
    "thinking", "summary", "refusal", "text", "input", "source", "title", "context",
)  # fmt: skip


def rewrite_texts(node: Any, rewrite: Callable[[str], str]) -> None:
    """Rewrite the texts of a message or an answer in place, in the format of any API.

    If a text was rewritten, the log probabilities of its tokens, which spell it out, are removed.
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
    """Yield holder, key and value of every text or log probabilities, at any depth."""
    rest = [node]
    while rest:
        holder = rest.pop()
        if isinstance(holder, list):
            places: list[tuple[str | int, Any]] = list(enumerate(holder))
        else:
            more_keys = ("data",) if _value(holder, "type") == "text" else ()
            places = [(name, _value(holder, name)) for name in (*_BRANCHES, *more_keys, "logprobs")]
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
"""Characters that are held back: no value with spaces is longer."""
_CONTEXT = 256
"""Characters already sent that may name what follows, such as `aws_secret_access_key =`."""
_KEY_END = re.compile(r"-----END[ A-Z0-9_-]{0,100}KEY(?: BLOCK)?-----", re.IGNORECASE)
_LONGEST_VALUE = 8_500
"""Most characters without a space, or of a private key, that are held back."""


@dataclass
class TextMasking:
    """Masks a text that comes in pieces; it holds back what may be the beginning of a value."""

    kinds: tuple[str, ...]
    keep: Collection[str] = ()
    held: str = ""
    sent: str = ""
    """The last characters that were sent, as they were before masking."""

    def feed(self, piece: str) -> str:
        """Add a piece; return what may be sent."""
        if not self.kinds:
            return piece
        self.held += piece
        cut = self._cut()
        return self._send(cut) if cut else ""

    def flush(self) -> str:
        """Return the rest, at the end."""
        return self._send(len(self.held))

    def _send(self, count: int) -> str:
        ready, self.held = self.held[:count], self.held[count:]
        masked = mask_text(ready, self.kinds, self.keep, after=self.sent)
        self.sent = (self.sent + visible_text(ready))[-_CONTEXT:]
        return masked

    def _cut(self) -> int:
        """Return how much may be sent: up to a space, outside of every value."""
        visible = list(visible_characters(self.held))
        seen = "".join(character for _, character in visible)
        limit = len(seen) - HELD
        full = len(seen) > _LONGEST_VALUE
        opened = seen.rfind("-----BEGIN")
        if not full and opened >= 0 and not _KEY_END.search(seen, opened):
            limit = min(limit, opened)
        cut = next((at for at in range(limit, 0, -1) if seen[at - 1].isspace()), 0)
        cut = cut or (limit if full else 0)
        if not cut:
            return 0
        at = len(self.sent)
        values = personal_values(self.sent + seen)
        inside = (begin - at for _, begin, end in values if begin - at < cut < end - at)
        cut = max(0, next(inside, cut))
        return visible[cut][0] if cut else 0


@dataclass
class StreamMasking:
    """Masks the chunks of a stream in place, each choice by itself."""

    settings: GuardrailSettings
    request: Mapping[str, Any]
    texts: dict[tuple[int, str], TextMasking] = field(default_factory=dict)
    """Choice and attribute → its text so far."""
    last: Any = None

    def mask(self, chunk: Any) -> None:
        """Replace the texts of a chunk with what may be sent."""
        for choice in getattr(chunk, "choices", None) or ():
            if getattr(choice, "logprobs", None) is not None:
                choice.logprobs = None  # they spell out masked text
            for place, name in _text_places(choice):
                piece = getattr(place, name, None)
                masked = self.texts.get((choice.index, name))
                if masked is None and not isinstance(piece, str):
                    continue
                masked = masked or self.texts.setdefault((choice.index, name), self._start())
                ready = masked.feed(piece) if isinstance(piece, str) else ""
                if choice.finish_reason:
                    ready += masked.flush()
                if isinstance(piece, str) or ready:
                    setattr(place, name, ready)
                    self.last = chunk

    def _start(self) -> TextMasking:
        return TextMasking(chosen_kinds(self.settings.leaks), known_values(self.request))

    def rest(self) -> Iterator[Any]:
        """Yield chunks with the rest of a stream that ended without a finish reason."""
        for (index, name), masked in self.texts.items():
            if masked.held and self.last is not None:
                chunk = self.last.model_copy(deep=True)
                chunk.choices = chunk.choices[:1]
                chunk.choices[0].index = index
                for place, other in _text_places(chunk.choices[0]):
                    if other == name or hasattr(place, other):
                        setattr(place, other, masked.flush() if other == name else None)
                yield chunk


def _text_places(choice: Any) -> list[tuple[Any, str]]:
    """Return the objects and attributes that hold a chunk's texts."""
    delta = getattr(choice, "delta", None)
    if delta is None:
        return [(choice, "text")]
    names = ("reasoning_content", "reasoning", "refusal", "content")
    return [(delta, name) for name in names]
