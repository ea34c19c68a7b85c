"""Shared by all conventions: request facts, tools, parameters, and assembly of a `ModelCall`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tunegate.harness.records.record import replace_surrogates
from tunegate.harness.telemetry.read.conventions._flattened import (
    load_json,
    load_object,
    load_structure,
)
from tunegate.harness.telemetry.read.conventions._messages import (
    FirstAnswer,
    LastingObstacle,
    MessageTranscript,
    RecordGap,
)
from tunegate.harness.telemetry.read.trace_types import ModelCall, Span

NO_CONTENT = "no content was captured"
_STORED = "gen_ai.input.messages_ref"
"""Attribute with the address of what OpenTelemetry's upload hook stored."""
ELSEWHERE = f"its content was stored outside the trace ({_STORED})"
CONTINUED = "the conversation before it is kept by the provider"
_SHOWN = 3
"""Obstacles that are named; the others are counted."""


def assemble_call(
    span: Span,
    convention: str,
    transcript: MessageTranscript,
    offered: Any,
    settings: Mapping[str, Any],
    answer: FirstAnswer,
) -> ModelCall:
    """Return the call of a span; in its texts U+FFFD stands for half a surrogate pair.

    `offered` are tool definitions in any known form, `settings` the parameters of the request.
    """
    transcript.pair()
    tools, strange = tool_definitions(offered)
    obstacles = [*transcript.obstacles, *strange]
    if is_continued(settings) or _PREVIOUS in span.attributes:
        obstacles.append(CONTINUED)
    if (ran := answer.ran or _search_setting(settings)) is not None:
        obstacles.append(LastingObstacle(f"an answer made with the provider's own tools ({ran})"))
    obstacles = obstacles or list(_turn_problems(transcript.messages))
    lacking = ELSEWHERE if _STORED in span.attributes else NO_CONTENT
    fields = {
        "messages": tuple(transcript.messages),
        "tools": tuple(tools),
        "parameters": dict(settings),
        "answer": answer.text,
        "answer_calls": tuple(answer.calls),
        "finish_reason": finish_reason(span.attributes, answer.finish_reason),
        "unreplayable": _join_obstacles(obstacles) if transcript.messages else lacking,
        "has_gaps": not transcript.messages
        or any(isinstance(obstacle, RecordGap) for obstacle in obstacles),
        "never_replayable": any(isinstance(obstacle, LastingObstacle) for obstacle in obstacles),
        **call_fields(span.attributes),
    }
    return ModelCall(span=span, convention=convention, **replace_surrogates(fields))


def _search_setting(settings: Mapping[str, Any]) -> str | None:
    """Return the setting that has the provider search; `web_search_options` does so when empty."""
    off = {"search_parameters": {"mode": "off"}, "enable_search": False}
    found = (name for name in _SEARCHES if name in settings)
    return next((name for name in found if settings[name] != off.get(name)), None)


def is_continued(settings: Mapping[str, Any]) -> bool:
    """Return whether a request goes on with a conversation that it does not hold."""
    return any(settings.get(name) for name in ("previous_response_id", "conversation"))


_PREVIOUS = "gen_ai.request.previous_response.id"
_SEARCHES = ("web_search_options", "search_parameters", "enable_search")
"""Settings that have the provider search: of OpenAI's chat API, xAI and Qwen."""


def _turn_problems(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what is wrong with a turn, or with a tool result that no message before asked for."""
    for number, message in enumerate(messages, 1):
        if message["role"] == "assistant" and not (message["content"] or "tool_calls" in message):
            yield RecordGap(f"message {number} was recorded without its content")
            return
    for number, message in enumerate(messages, 1):
        if "tool_calls" in message:
            return
        if message["role"] == "tool":
            yield RecordGap(f"message {number} answers a tool call that was not recorded")
            return


def _join_obstacles(obstacles: list[str]) -> str | None:
    shown = "; ".join(obstacles[:_SHOWN])
    more = len(obstacles) - _SHOWN
    return (f"{shown}; and {more} more" if more > 0 else shown) or None


_MODEL = (
    "gen_ai.request.model", "llm.request.model_name", "llm.model_name", "llm.request.model",
    "gen_ai.response.model", "llm.response.model_name",
)  # fmt: skip
_PROVIDER = (
    "gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system", "llm.vendor",
    "ls_provider",
)  # fmt: skip
_INPUT = (
    "gen_ai.usage.input_tokens", "llm.token_count.prompt", "gen_ai.usage.prompt_tokens",
    "ai.usage.inputTokens", "ai.usage.promptTokens",
)  # fmt: skip
_OUTPUT = (
    "gen_ai.usage.output_tokens", "llm.token_count.completion", "gen_ai.usage.completion_tokens",
    "ai.usage.outputTokens", "ai.usage.completionTokens",
)  # fmt: skip
_REASONING = (
    "gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens",
    "gen_ai.usage.output_tokens.reasoning", "llm.token_count.completion_details.reasoning",
    "llm.usage.reasoning_tokens", "ai.usage.reasoningTokens",
)  # fmt: skip
_COST = (
    "llm.cost.total", "gen_ai.cost.total", "gen_ai.cost.total_cost", "gen_ai.usage.cost",
    "operation.cost",
)  # fmt: skip
_REASON = (
    "gen_ai.response.finish_reasons", "gen_ai.response.finish_reason", "llm.finish_reason",
    "llm.response.finish_reason", "llm.response.stop_reason", "ai.response.finishReason",
)  # fmt: skip
_REASONS = {
    "tool_call": "tool_calls", "tool-calls": "tool_calls", "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "end_turn": "stop", "stop_sequence": "stop", "eos": "stop", "eos_token": "stop",
    "max_tokens": "length", "max_output_tokens": "length",
    "content-filter": "content_filter", "safety": "content_filter",
}  # fmt: skip
"""Finish reasons of providers and conventions → OpenAI's words."""


def call_fields(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a Call that single attributes hold; None for what is not recorded."""
    return {
        "model": _text(attributes, _MODEL),
        "provider": _text(attributes, _PROVIDER),
        # Libraries write 0 where the provider wrote nothing.
        "input_tokens": _count(attributes, _INPUT) or None,
        "output_tokens": _count(attributes, _OUTPUT) or None,
        "reasoning_tokens": _count(attributes, _REASONING) or None,
        "cost": _number(attributes, _COST),
    }


def finish_reason(attributes: Mapping[str, Any], reason: str | None) -> str | None:
    """Return why the answer ended, in OpenAI's words; `reason` is the one in the answer itself."""
    for value in (reason, *(attributes.get(name) for name in _REASON)):
        listed = load_structure(value)
        if isinstance(listed, list | tuple):
            value = listed[0] if listed else None
        if isinstance(value, str) and value:
            word = value.lower()
            return _REASONS.get(word, word)
    return None


def _text(attributes: Mapping[str, Any], names: Iterable[str]) -> str | None:
    found = (attributes.get(name) for name in names)
    return next((value for value in found if isinstance(value, str) and value), None)


def _count(attributes: Mapping[str, Any], names: Iterable[str]) -> int | None:
    found = _number(attributes, names)  # data frames have floats
    return None if found is None else int(found)


def _number(attributes: Mapping[str, Any], names: Iterable[str]) -> float | None:
    found = (attributes.get(name) for name in names)
    return next((value for value in found if isinstance(value, int | float) and value >= 0), None)


def tool_definitions(values: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the definitions of a list, or of its JSON, and the reason against offering them.

    A tool that the provider runs itself (`web_search`) cannot be offered to another model. Of
    Anthropic's OpenLLMetry keeps only the name.
    """
    entries = load_json(values)
    definitions: list[dict[str, Any]] = []
    obstacles: list[str] = []
    for value in entries if isinstance(entries, list | tuple) else ():
        plain = _unwrap_definition(load_json(value))
        kind = plain.get("type", "function")
        if plain.keys() == {"name"}:
            obstacles.append(RecordGap(f"a tool recorded by its name alone ({plain['name']})"))
        elif kind in ("function", "custom", "object") and (tool := _function(plain)):
            definitions.append(tool)
        else:
            name = str(kind if kind != "function" else plain.get("name", "without a name"))
            obstacles.append(f"a tool of another kind ({name[:40]})")
    return definitions, obstacles


_SCHEMAS = (
    "parameters", "input_schema", "inputSchema", "parameters_json_schema", "json_schema",
    "jsonSchema",
)  # fmt: skip


def _unwrap_definition(value: Any) -> Mapping[str, Any]:
    """Return the definition in `{"tool": {"json_schema": "{…}"}}`, as OpenInference has it."""
    for name in ("tool", "json_schema"):
        if isinstance(value, Mapping) and name in value and "name" not in value:
            value = load_json(value[name])
    return value if isinstance(value, Mapping) else {}


def _function(value: Mapping[str, Any]) -> dict[str, Any] | None:
    inner = value.get("function", value)
    if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
        return None
    function: dict[str, Any] = {"name": inner["name"]}
    if inner.get("description"):
        function["description"] = inner["description"]
    for name in _SCHEMAS:
        schema = load_json(inner.get(name))
        if isinstance(schema, Mapping):
            function["parameters"] = dict(schema)
            break
    if isinstance(inner.get("strict"), bool):
        function["strict"] = inner["strict"]
    return {"type": "function", "function": function}


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
    "system_role", "service_tier", "betas", "id", "created", "created_at", "object", "include",
    "max_retries", "num_retries", "prompts", "extra_args", "include_usage", "response_include",
    "retry", "extra_body", "preserve_raw_usage", "prompt_cache_retention", "choices", "content",
    "usage", "stop_reason", "stop_sequence", "role", "output", "system_fingerprint", "status",
}  # fmt: skip
"""Fields of requests and replies besides settings: read elsewhere, or without effect on the answer.
"""
_REQUEST = "gen_ai.request."
_SCHEMA = "structured_output_schema"
_STOPS = "stop_sequences"


def parse_parameters(raw: Any) -> dict[str, Any]:
    """Return the settings of an object, or of its JSON.

    Names are OpenAI's, `stop` is a list, `tool_choice` as OpenAI has it; an unknown setting keeps
    its name. None and empty values are left out.
    """
    fields = load_object(raw)
    further = [load_object(fields.get(name)) for name in ("extra_body", "extra_args")]
    settings: dict[str, Any] = {}
    for name, value in (pair for part in (*further, fields) for pair in part.items()):
        is_setting = not name.startswith("_") and name not in _NO_SETTINGS and value is not None
        if is_setting and (name in _SEARCHES or value not in ([], (), {})):
            settings[_NAMES.get(name, name)] = value
    settings = _flatten_responses(settings)
    if "stop" in settings:
        stop = settings["stop"]
        settings["stop"] = [stop] if isinstance(stop, str) else list(stop)
    if "tool_choice" in settings:
        settings["tool_choice"] = _tool_choice(load_json(settings["tool_choice"]))
    return settings


def request_parameters(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that are in attributes of their own: `gen_ai.request.temperature`."""
    fields = {
        name.removeprefix(_REQUEST): value
        for name, value in attributes.items()
        if name.startswith(_REQUEST)
    }
    schema = load_structure(fields.pop(_SCHEMA, None))
    if isinstance(stops := load_structure(fields.get(_STOPS)), list):
        fields[_STOPS] = stops  # Logfire writes the list as JSON
    settings = parse_parameters(fields)
    if isinstance(schema, Mapping):
        settings["response_format"] = schema_format(schema)
    elif (kind := _output_type(attributes)) is not None:
        settings["response_format"] = {"type": kind}
    return settings


def schema_format(schema: Mapping[str, Any], name: str = "answer") -> dict[str, Any]:
    """Return the `response_format` of a schema, or the value itself if it is one already.

    OpenLLMetry writes `{"type": "json_object"}`, which asks for no schema, in the place of one.
    """
    is_format = schema.get("type") in ("json_object", "text") and len(schema) == 1
    if is_format or schema.get("type") == "json_schema":
        return _response_format(schema)
    return {"type": "json_schema", "json_schema": {"name": name, "schema": dict(schema)}}


def _output_type(attributes: Mapping[str, Any]) -> str | None:
    named = attributes.get("gen_ai.openai.request.response_format")
    if isinstance(named, str):
        return named
    return "json_object" if attributes.get("gen_ai.output.type") == "json" else None


def _flatten_responses(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings of OpenAI's Responses API as its chat API has them."""
    text, reasoning = (
        load_structure(settings.get("text")),
        load_structure(settings.get("reasoning")),
    )
    if isinstance(text, Mapping):
        settings = {**settings, **{name: value for name, value in text.items() if name != "format"}}
        del settings["text"]
        if isinstance(form := text.get("format"), Mapping):
            settings["response_format"] = _response_format(form)
    if isinstance(reasoning, Mapping):
        del settings["reasoning"]
        if isinstance(effort := reasoning.get("effort"), str):
            settings["reasoning_effort"] = effort
    return settings


def _response_format(form: Mapping[str, Any]) -> dict[str, Any]:
    if form.get("type") != "json_schema" or "json_schema" in form:
        return dict(form)
    schema = {name: value for name, value in form.items() if name != "type"}
    return {"type": "json_schema", "json_schema": schema}


def _tool_choice(value: Any) -> Any:
    """Return Anthropic's `{"type": "any"}` as `required`, and so on."""
    if not isinstance(value, Mapping):
        return value
    name = value.get("name", value.get("toolName"))
    if value.get("type") == "tool" or (value.get("type") == "function" and name is not None):
        return {"type": "function", "function": {"name": name}}
    kinds = {"auto": "auto", "any": "required", "required": "required", "none": "none"}
    return kinds.get(str(value.get("type")), value)
