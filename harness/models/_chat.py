"""What a chat API is sent for a request, and what of its answer counts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from harness.generation import Generation
from harness.model import Request
from harness.records import Case

_STOPS = 4
"""Texts that OpenAI and most others take; the answer is cut at all of them here."""


def settings_of(request: Request, accepted: Collection[str]) -> dict[str, Any]:
    """Return OpenAI's parameters for a request.

    A seed and stops are left out where the API does not take them: the one can only steady the
    answers, the others are cut here.

    Args:
        request: The request.
        accepted: Names of the parameters that the API takes.
    """
    generation = request.generation
    settings = sampling(generation) | bounds_of(request.case)
    if generation.temperature and "seed" in accepted:
        settings["seed"] = request.seed
    if generation.stop and "stop" in accepted:
        settings["stop"] = list(generation.stop[:_STOPS])
    return settings


def sampling(generation: Generation) -> dict[str, Any]:
    """Return the parameters that an API must take, or the answers are other ones."""
    settings: dict[str, Any] = {
        "temperature": generation.temperature,
        "max_tokens": generation.max_new_tokens,
    }
    if generation.top_p != 1.0:
        settings["top_p"] = generation.top_p
    return settings


def bounds_of(case: Case) -> dict[str, Any]:
    """Return what the case offers and asks of the answer, in OpenAI's form, as parameters.

    Tools, the choice among them, and the form of the answer; nothing where it has none.
    """
    tools = [
        t if "function" in t else {"type": "function", "function": t} for t in case.tools or ()
    ]
    found = {
        "tools": tools,
        "tool_choice": case.tool_choice if tools else None,
        "response_format": case.response_format,
    }
    return {name: value for name, value in found.items() if value}


def cut(text: str, stops: Sequence[str]) -> str:
    """Return the text up to the first place where a stop begins."""
    return text[: min((at for stop in stops if (at := text.find(stop)) >= 0), default=len(text))]
