"""What a chat API is sent for a request, and what of its answer counts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from harness.model import Request
from harness.records import Case
from harness.suite import Generation

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
    settings = sampling(generation) | tools_of(request.case)
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


def tools_of(case: Case) -> dict[str, Any]:
    """Return the case's tools in OpenAI's form, as a parameter; nothing where it has none."""
    tools = [
        t if "function" in t else {"type": "function", "function": t} for t in case.tools or ()
    ]
    return {"tools": tools} if tools else {}


def cut(text: str, stops: Sequence[str]) -> str:
    """Return the text up to the first place where a stop begins."""
    return text[: min((at for stop in stops if (at := text.find(stop)) >= 0), default=len(text))]
