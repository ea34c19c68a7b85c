"""A convention as a declaration, `Convention`, with the one reader of all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tunegate.harness.telemetry.read.conventions._common import (
    assemble_call,
    parse_parameters,
    request_parameters,
)
from tunegate.harness.telemetry.read.conventions._flattened import (
    load_json,
    load_object,
    load_structure,
    unflatten_attributes,
)
from tunegate.harness.telemetry.read.conventions._messages import (
    FirstAnswer,
    MessageTranscript,
    answer_of,
    message_answer,
)
from tunegate.harness.telemetry.read.conventions._payloads import (
    reply_answer,
    reply_tokens,
    request_transcript,
)
from tunegate.harness.telemetry.read.trace_types import ModelCall, Span

REQUEST_SETTINGS = "gen_ai.request.*"
"""OpenTelemetry's settings, each an attribute of its own."""

Path = str | Callable[[Mapping[str, Any]], Any]
"""Where a value is: `name`, an attribute, whose JSON is read; `name#key`, a field of the object in
one; `name.*`, the list or object that is flattened below a name; or a function of the attributes.
"""


@dataclass(slots=True)
class CallReading:
    """What the paths of a convention lead to, for its `fix` to complete."""

    span: Span
    attributes: Mapping[str, Any]
    request: Any
    transcript: MessageTranscript
    tools: Any
    settings: dict[str, Any]
    reply: Any
    answer: FirstAnswer
    fields: dict[str, Any] = field(default_factory=dict)
    """Further fields of the `ModelCall`, such as `cost`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """Where a convention keeps the parts of a call; of several paths the first that holds some."""

    name: str
    request: tuple[Path, ...] = ()
    """A list of messages, a prompt, or a whole request, whose system prompt and tools are read."""
    system: tuple[Path, ...] = ()
    tools: tuple[Path, ...] = ()
    settings: tuple[Path, ...] = ()
    """Objects of settings, or `REQUEST_SETTINGS`; all are read, and later ones override."""
    single_settings: Mapping[str, Path] = field(default_factory=dict)
    """Setting → its own path; objects of settings override it."""
    messages: tuple[Path, ...] = ()
    """The answer as a list of messages, or a message."""
    reply: tuple[Path, ...] = ()
    """The whole reply; it is the answer without `messages`."""
    model: tuple[Path, ...] = ()
    provider: tuple[Path, ...] = ()
    usage: tuple[Path, ...] = ()
    """An object with numbers of tokens."""
    attributes: Callable[[Span], Mapping[str, Any]] = lambda span: span.attributes
    """Returns what the paths start from."""
    message: Callable[[Any, Mapping[str, Any]], Any] = lambda message, attributes: message
    """Returns a message of the request in a known form, given the attributes too."""
    fix: Callable[[CallReading], None] = lambda reading: None
    """Completes what was read by rules that paths cannot express."""

    def call(self, span: Span) -> ModelCall:
        """Read the call of a span."""
        attributes = self.attributes(span)
        request = first_value(attributes, self.request)
        transcript = request_transcript(request, lambda value: self.message(value, attributes))
        transcript.add_system(first_value(attributes, self.system))
        settings = parse_parameters(
            {name: value_of(attributes, path) for name, path in self.single_settings.items()}
        )
        for path in self.settings:
            if path == REQUEST_SETTINGS:
                settings |= request_parameters(attributes)
            else:
                settings |= parse_parameters(value_of(attributes, path))
        reply = first_value(attributes, self.reply)
        messages = first_value(attributes, self.messages)
        if isinstance(messages, list | tuple):
            answer = answer_of(messages, settings.get("n"))
        else:
            answer = message_answer(messages) if messages is not None else reply_answer(reply)
        offered = load_object(request)
        reading = CallReading(
            span=span,
            attributes=attributes,
            request=request,
            transcript=transcript,
            tools=first_value(attributes, self.tools)
            or offered.get("tools")
            or offered.get("functions"),
            settings=settings,
            reply=reply,
            answer=answer,
            fields={
                "model": first_value(attributes, self.model),
                "provider": first_value(attributes, self.provider),
                **reply_tokens(load_object(first_value(attributes, self.usage))),
            },
        )
        self.fix(reading)
        call = assemble_call(
            reading.span,
            self.name,
            reading.transcript,
            reading.tools,
            reading.settings,
            reading.answer,
        )
        return replace(call, **{name: value for name, value in reading.fields.items() if value})


def structure(name: str) -> Path:
    """Return the path of an attribute that is an object or array; one that was cut off is None."""
    return lambda attributes: load_structure(attributes.get(name))


def first_value(attributes: Mapping[str, Any], paths: tuple[Path, ...]) -> Any:
    """Return the first value that holds something; None without one."""
    values = (value_of(attributes, path) for path in paths)
    return next((value for value in values if value not in (None, "", [], {}, ())), None)


def value_of(attributes: Mapping[str, Any], path: Path) -> Any:
    """Return the value at a path; None without one."""
    if not isinstance(path, str):
        return path(attributes)
    name, _, key = path.partition("#")
    if not name.endswith(".*"):
        value = load_json(attributes.get(name))
        return load_object(value).get(key) if key else value
    tree = unflatten_attributes(attributes, name.removesuffix(".*"))
    # Azure's filter results are listed with the messages, and make the list an object.
    steps = sorted(filter(str.isdecimal, tree), key=int) if isinstance(tree, Mapping) else ()
    return [tree[step] for step in steps] if steps else tree
