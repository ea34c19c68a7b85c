"""What caches hold of requests, by the rules that their makers document; expected by hand."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import cached_prompts
from benchmarks.cached_prompts import (
    PromptCounts,
    anthropic_read,
    blocks_read,
    common_beginnings,
    openai_read,
)

CACHED = {"type": "ephemeral"}


def test_the_share_is_that_of_common_beginnings() -> None:
    """Three requests of 10, 10 and 10 characters more than the turns' marks; by hand."""
    bodies = [{"messages": [{"role": "r", "content": text}]} for text in ("abcd", "abce", "x")]
    frame = len("null\n[r]\n")
    counts = PromptCounts(bodies)

    assert counts.cacheable == pytest.approx((frame + 3 + frame) / (3 * frame + 9))
    assert (counts.systems, counts.schemas) == (3, 1)


def test_what_is_asked_at_once_is_not_known_yet() -> None:
    assert common_beginnings(["abc", "abd", "abe"], behind=1) == [0, 2, 2]
    assert common_beginnings(["abc", "abd", "abe"], behind=2) == [0, 0, 2]


def test_blocks_of_vllm_have_16_tokens() -> None:
    """Of 40 shared tokens two blocks are whole; 15 are none."""
    one = list(range(50))

    assert blocks_read([one, [*one[:40], -1]]) == 32
    assert blocks_read([one, [*one[:15], -1]]) == 0


@pytest.mark.parametrize(
    ("shared", "read"), [(1023, 0), (1024, 1024), (1151, 1024), (1152, 1152), (1300, 1280)]
)
def test_openai_caches_from_1024_tokens_in_steps_of_128(shared: int, read: int) -> None:
    """As its guide says of models before GPT-5.6."""
    one = list(range(1400))

    assert openai_read([one, [*one[:shared], -1]], at_once=1) == read
    assert openai_read([one, [*one[:shared], -1]], at_once=2) == 0


def _body(system: str, *parts: str, marked: int) -> dict[str, Any]:
    content = [
        {"type": "text", "text": text, **({"cache_control": CACHED} if at < marked else {})}
        for at, text in enumerate(parts)
    ]
    first = {"type": "text", "text": system, "cache_control": CACHED}
    return {"system": [first], "messages": [{"role": "user", "content": content}]}


def test_anthropic_caches_what_is_marked_and_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token a character: a system turn of 1,000 is too short, with 100 of a source it is not."""
    monkeypatch.setattr(cached_prompts, "encode", list)
    source, claims = "s" * 100, ("first", "other")
    bodies = [_body("x" * 1000, source, claim, marked=1) for claim in claims]

    together = anthropic_read(bodies, at_once=1)

    assert (together.read, together.written, together.total) == (1100, 1100, 2 * 1105)
    assert anthropic_read(bodies, at_once=2).read == 0
    bare = anthropic_read([_body("x" * 1000, source, c, marked=0) for c in claims], at_once=1)
    assert (bare.read, bare.written) == (0, 0)


def test_a_longer_beginning_writes_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached_prompts, "encode", list)
    bodies = [_body("x" * 1024, text, "q", marked=1) for text in ("s" * 50, "t" * 60)]

    found = anthropic_read(bodies, at_once=1)

    assert (found.read, found.written) == (1024, 1074 + 60)
