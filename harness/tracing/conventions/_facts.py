"""What every convention says of a call beside its messages, under whatever name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

_MODEL = (
    "gen_ai.request.model", "llm.request.model_name", "llm.model_name", "llm.request.model",
    "gen_ai.response.model", "llm.response.model_name",
)  # fmt: skip
_PROVIDER = (
    "gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system", "llm.vendor",
    "ls_provider",
)  # fmt: skip
_INPUT = ("gen_ai.usage.input_tokens", "llm.token_count.prompt", "gen_ai.usage.prompt_tokens")
_OUTPUT = (
    "gen_ai.usage.output_tokens", "llm.token_count.completion", "gen_ai.usage.completion_tokens",
)  # fmt: skip
_COST = ("llm.cost.total", "gen_ai.cost.total", "gen_ai.usage.cost", "operation.cost")
_REASON = (
    "gen_ai.response.finish_reasons", "gen_ai.response.finish_reason", "llm.finish_reason",
    "llm.response.finish_reason", "llm.response.stop_reason",
)  # fmt: skip
_REASONS = {
    "tool_call": "tool_calls", "tool_use": "tool_calls", "function_call": "tool_calls",
    "end_turn": "stop", "stop_sequence": "stop", "eos_token": "stop", "max_tokens": "length",
    "max_output_tokens": "length",
}  # fmt: skip
"""What providers and conventions call the same ends → OpenAI's words."""


def facts(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a Call that single attributes hold; None for what is not recorded."""
    return {
        "model": _text(attributes, _MODEL),
        "provider": _text(attributes, _PROVIDER),
        "input_tokens": _count(attributes, _INPUT),
        "output_tokens": _count(attributes, _OUTPUT),
        "cost": _price(attributes),
    }


def finish_reason(attributes: Mapping[str, Any], told: str | None) -> str | None:
    """Return why the answer ended, as OpenAI says it; `told` is what the answer itself says."""
    for value in (told, *(attributes.get(name) for name in _REASON)):
        if isinstance(value, list | tuple):
            value = value[0] if value else None
        if isinstance(value, str) and value:
            return _REASONS.get(value, value)
    return None


def _text(attributes: Mapping[str, Any], names: Iterable[str]) -> str | None:
    found = (attributes.get(name) for name in names)
    return next((value for value in found if isinstance(value, str) and value), None)


def _count(attributes: Mapping[str, Any], names: Iterable[str]) -> int | None:
    for name in names:
        value = attributes.get(name)
        if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 16:
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None


def _price(attributes: Mapping[str, Any]) -> float | None:
    for name in _COST:
        value = attributes.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            price = _finite(value)
            if price is not None and price >= 0:
                return price
    return None


def _finite(value: float) -> float | None:
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer beyond the range of floats
        return None
