"""Settings of a request, under the names that OpenAI's API has for them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from harness.tracing.conventions._json import loaded, structured

_NAMES = {
    "max_completion_tokens": "max_tokens", "max_new_tokens": "max_tokens",
    "max_output_tokens": "max_tokens", "max_tokens_to_sample": "max_tokens",
    "num_predict": "max_tokens",
    "stop_sequences": "stop", "chat.stop_sequences": "stop", "random_seed": "seed",
    "choice.count": "n", "candidate_count": "n", "reasoning.level": "reasoning_effort",
}  # fmt: skip
_NO_SETTINGS = {
    "model", "model_name", "model_id", "messages", "input", "prompt", "system", "instructions",
    "tools", "functions", "stream", "stream_options", "stream_usage", "is_stream", "is_streaming",
    "streaming", "type", "parameters", "encoding_formats", "class_name", "user", "metadata",
    "store", "timeout", "request_timeout", "extra_headers", "extra_query", "headers", "api_key",
    "base_url", "context_window", "num_output", "is_chat_model", "is_function_calling_model",
    "system_role", "service_tier", "betas",
}  # fmt: skip
"""What requests hold beside their settings: read elsewhere, or of no weight for the answer."""
_REQUEST = "gen_ai.request."
_SCHEMA = "structured_output_schema"


def parameters(raw: Any) -> dict[str, Any]:
    """Return the settings of an object, or of its JSON.

    Names are OpenAI's, `stop` is a list, `tool_choice` as OpenAI has it; what no table here knows
    keeps its name. None, what is empty and numbers that are not finite are no settings.
    """
    found = structured(raw)
    if not isinstance(found, Mapping):
        return {}
    more = found.get("extra_body")
    known: dict[str, Any] = {}
    for name, value in [*(more.items() if isinstance(more, Mapping) else ()), *found.items()]:
        if _is_setting(name, value):
            known[_NAMES.get(name, name)] = value
    return _shaped(_of_responses(known))


def request_parameters(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that stand in attributes of their own: `gen_ai.request.temperature`."""
    found = {
        name.removeprefix(_REQUEST): value
        for name, value in attributes.items()
        if name.startswith(_REQUEST)
    }
    schema = structured(found.pop(_SCHEMA, None))
    known = parameters(found)
    if isinstance(schema, Mapping):
        shape = {"name": "answer", "schema": dict(schema)}
        known["response_format"] = {"type": "json_schema", "json_schema": shape}
    elif (kind := _output_type(attributes)) is not None:
        known["response_format"] = {"type": kind}
    return known


def _output_type(attributes: Mapping[str, Any]) -> str | None:
    named = attributes.get("gen_ai.openai.request.response_format")
    if isinstance(named, str):
        return named
    return "json_object" if attributes.get("gen_ai.output.type") == "json" else None


def _of_responses(known: dict[str, Any]) -> dict[str, Any]:
    """Return settings with those that OpenAI's Responses API nests as its chat API has them."""
    text, reasoning = structured(known.get("text")), structured(known.get("reasoning"))
    if isinstance(text, Mapping):
        known = {**known, **{name: value for name, value in text.items() if name != "format"}}
        del known["text"]
        if isinstance(form := text.get("format"), Mapping):
            known["response_format"] = _response_format(form)
    if isinstance(reasoning, Mapping):
        del known["reasoning"]
        if isinstance(effort := reasoning.get("effort"), str):
            known["reasoning_effort"] = effort
    return known


def _response_format(form: Mapping[str, Any]) -> dict[str, Any]:
    if form.get("type") != "json_schema" or "json_schema" in form:
        return dict(form)
    schema = {name: value for name, value in form.items() if name != "type"}
    return {"type": "json_schema", "json_schema": schema}


def _is_setting(name: Any, value: Any) -> bool:
    if not isinstance(name, str) or name.startswith("_") or name in _NO_SETTINGS:
        return False
    if name == "extra_body" or value is None or value in ([], (), {}):
        return False
    return not isinstance(value, float) or math.isfinite(value)


def _shaped(known: dict[str, Any]) -> dict[str, Any]:
    stop = loaded(known.pop("stop", None)) if not isinstance(known.get("stop"), str) else None
    stop = [known.pop("stop")] if "stop" in known else stop
    if isinstance(stop, list | tuple) and stop:
        known["stop"] = list(stop)
    if "tool_choice" in known:
        known["tool_choice"] = _tool_choice(loaded(known["tool_choice"]))
    return known


def _tool_choice(value: Any) -> Any:
    """Return Anthropic's `{"type": "any"}` as `required`, and so on."""
    if not isinstance(value, Mapping):
        return value
    if value.get("type") == "tool" or (value.get("type") == "function" and "name" in value):
        return {"type": "function", "function": {"name": value.get("name")}}
    return {"auto": "auto", "any": "required", "none": "none"}.get(str(value.get("type")), value)
