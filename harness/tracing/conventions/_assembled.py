"""The last step of every convention: what was read becomes a Call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.records import readable
from harness.tracing.call import Call
from harness.tracing.conventions._facts import facts, finish_reason
from harness.tracing.conventions._messages import Answer, Transcript
from harness.tracing.conventions._tools import tools
from harness.tracing.span import Span

NO_CONTENT = "no content was captured"
CONTINUED = "the conversation before it is kept by the provider"
_TOLD = 3
"""Obstacles that are named; of more, their number is."""


def assembled(
    span: Span,
    convention: str,
    transcript: Transcript,
    offered: Any,
    settings: Mapping[str, Any],
    answer: Answer,
) -> Call:
    """Return the call of a span; in its texts U+FFFD stands for half a surrogate pair.

    Args:
        span: Where it was read.
        convention: Name of who read it.
        transcript: What was sent.
        offered: The tool definitions, in any form that `_tools` knows.
        settings: The parameters of the request.
        answer: What came back.
    """
    transcript.pair()
    known, strange = tools(offered)
    obstacles = [*transcript.obstacles, *strange]
    if is_continued(settings) or _PREVIOUS in span.attributes:
        obstacles.append(CONTINUED)
    obstacles = obstacles or list(_unasked(transcript.messages))
    return Call(
        span=span,
        convention=convention,
        messages=tuple(readable(transcript.messages)),
        tools=tuple(readable(known)),
        parameters=readable(dict(settings)),
        answer=readable(answer.text),
        answer_calls=tuple(readable(list(answer.calls))),
        finish_reason=readable(finish_reason(span.attributes, answer.finish_reason)),
        unreplayable=readable(_sentence(obstacles) if transcript.messages else NO_CONTENT),
        **readable(facts(span.attributes)),
    )


def is_continued(settings: Mapping[str, Any]) -> bool:
    """Return whether a request goes on with a conversation that it does not hold."""
    return any(settings.get(name) for name in ("previous_response_id", "conversation"))


_PREVIOUS = "gen_ai.request.previous_response.id"


def _unasked(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what is wrong with a turn, or with a tool result that no message before asked for."""
    for number, message in enumerate(messages, 1):
        if message["role"] == "assistant" and not (message["content"] or "tool_calls" in message):
            yield f"message {number} was recorded without its content"
            return
    for number, message in enumerate(messages, 1):
        if "tool_calls" in message:
            return
        if message["role"] == "tool":
            yield f"message {number} answers a tool call that was not recorded"
            return


def _sentence(obstacles: list[str]) -> str | None:
    told = "; ".join(obstacles[:_TOLD])
    more = len(obstacles) - _TOLD
    return (f"{told}; and {more} more" if more > 0 else told) or None
