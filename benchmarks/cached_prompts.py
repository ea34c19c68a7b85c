"""Cached prompts: how much of what was asked a provider or an engine could read from its cache.

A cache knows beginnings of requests. Each rule below is the documented one of a kind of cache:

- by character: what an earlier request began with, too. No cache is so fine.
- vLLM: blocks of 16 tokens, of any request before.
- OpenAI: requests of 1,024 tokens and more, in steps of 128 tokens from 1,024 on.
- Anthropic: what is up to a mark, where that has 1,024 tokens (Sonnet 4.5; Opus 4.5 and Haiku 4.5
  take 4,096).

A provider is asked several questions at once, and knows a beginning once a reply to it has begun:
a request can read what requests 16 places before it and earlier have written. Tokens are those of
`o200k_base`, OpenAI's newer vocabulary; other models have others.

Source: OpenAI's cookbook, "Prompt Caching 201"; Anthropic's documentation, "Prompt caching"; vLLM's
documentation, "Automatic Prefix Caching".
"""

from __future__ import annotations

import json
import os
from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

BLOCK = 16
"""Tokens of a block of vLLM."""
LEAST = 1024
"""Tokens from which OpenAI and Anthropic cache."""
STEP = 128
"""Tokens in which OpenAI counts what was cached."""
AT_ONCE = 16
"""Questions in progress at a provider, by default."""


@dataclass
class PromptCounts:
    """What a server was asked by one judge."""

    bodies: list[dict[str, Any]] = field(default_factory=list)

    @property
    def systems(self) -> int:
        """How many system turns there were."""
        return len({body["messages"][0]["content"] for body in self.bodies})

    @property
    def schemas(self) -> int:
        """How many schemas there were."""
        return len({json.dumps(body.get("response_format")) for body in self.bodies})

    @property
    def cacheable(self) -> float:
        """Share of the characters with which an earlier request began, too."""
        shared, total = self.characters
        return shared / total

    @property
    def characters(self) -> tuple[int, int]:
        """Characters with which an earlier request began, too, and all."""
        texts = [request_text(body) for body in self.bodies]
        return sum(common_beginnings(texts)), sum(map(len, texts))

    @property
    def tokens(self) -> list[list[int]]:
        """The tokens of each request."""
        return [encode(request_text(body)) for body in self.bodies]

    @property
    def static_tokens(self) -> int:
        """Tokens of the longest system turn with its schema."""
        return max(
            len(encode(request_text({**body, "messages": body["messages"][:1]})))
            for body in self.bodies
        )


def blocks_read(tokens: Sequence[Sequence[int]]) -> int:
    """Return how many tokens vLLM's cache of prefixes holds when they are asked for."""
    return sum(shared // BLOCK * BLOCK for shared in common_beginnings(tokens))


def openai_read(tokens: Sequence[Sequence[int]], *, at_once: int = AT_ONCE) -> int:
    """Return how many tokens OpenAI's cache gives."""
    shares = common_beginnings(tokens, behind=at_once)
    return sum(shared // STEP * STEP for shared in shares if shared >= LEAST)


@dataclass(frozen=True, slots=True)
class CachedTokens:
    """Tokens of requests at a provider whose cache is written by mark."""

    read: int
    """Read from the cache, at a tenth of the price."""
    written: int
    """Written to it, at a quarter more than the price."""
    total: int


def anthropic_read(bodies: Sequence[Mapping[str, Any]], *, at_once: int = AT_ONCE) -> CachedTokens:
    """Return what Anthropic's cache takes and gives.

    Args:
        bodies: Requests of the Messages API.
        at_once: Requests in progress at once.
    """
    read = written = total = 0
    known: set[str] = set()
    waiting: list[list[str]] = []
    for body in bodies:
        if len(waiting) >= at_once:
            known.update(waiting.pop(0))
        marks = [text for text in _marked(body) if len(encode(text)) >= LEAST]
        lengths = [len(encode(text)) for text in marks]
        hit = max((n for n, text in zip(lengths, marks, strict=True) if text in known), default=0)
        read += hit
        written += max(lengths, default=0) - hit
        total += len(encode(_whole(body)))
        waiting.append(marks)
    return CachedTokens(read, written, total)


def _parts(body: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield each part's text, and whether it ends with a mark."""
    turns = [body.get("system", []), *(turn["content"] for turn in body["messages"])]
    for content in turns:
        for part in [{"text": content}] if isinstance(content, str) else content:
            yield part["text"], "cache_control" in part


def _marked(body: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is up to each mark; another form of the reply is another beginning."""
    text = ""
    for part, marked in _parts(body):
        text += part
        if marked:
            yield text


def _whole(body: Mapping[str, Any]) -> str:
    return "".join(part for part, _ in _parts(body))


def common_beginnings(texts: Sequence[Any], *, behind: int = 1) -> list[int]:
    """Return with how much of each text an earlier one began.

    Args:
        texts: In the order in which they were asked; characters or tokens.
        behind: How many places earlier the latest is that counts.
    """
    known: list[Any] = []
    found = []
    for at, text in enumerate(texts):
        if at >= behind:
            insort(known, texts[at - behind])
        place = bisect_left(known, text)
        near = known[max(0, place - 1) : place + 1]
        found.append(max((_shared(text, other) for other in near), default=0))
    return found


def _shared(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Return with how much both begin."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def request_text(body: Mapping[str, Any]) -> str:
    """Return a request as a model reads it: the schema comes before the turns."""
    turns = "".join(f"\n[{turn['role']}]\n{turn['content']}" for turn in body["messages"])
    return json.dumps(body.get("response_format")) + turns


def encode(text: str) -> list[int]:
    """Return a text's tokens."""
    tokens: list[int] = _encoding().encode(text, disallowed_special=())
    return tokens


@cache
def _encoding() -> Any:
    """Return the vocabulary, from the copy that litellm brings along."""
    from importlib.util import find_spec

    found = find_spec("litellm")
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent / "litellm_core_utils" / "tokenizers"
    os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(folder))
    import tiktoken

    return tiktoken.get_encoding("o200k_base")
