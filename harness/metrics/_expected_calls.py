"""Expected tool calls of a case, checked against the tools it offers.

`expected_calls` is a list of `{"name": …, "arguments": {argument: [allowed value, …]}}`, empty
where no tool may be called. `""` among the allowed values means that the argument may be left out.
An allowed object has such a list for each of its keys: `{"to": [{"street": ["Elm St"]}]}`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunegate.harness.metrics._argument_types import allowed_misfit
from tunegate.harness.metrics._tool_call import format_value
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import unknown_name_message


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A tool that the case offers."""

    name: str
    arguments: Mapping[str, Any]
    """Argument → its schema."""
    required: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExpectedCall:
    """A call that a right answer makes."""

    name: str
    allowed: Mapping[str, Sequence[Any]]
    """Argument → its allowed values."""
    tool: OfferedTool | None
    """None if the case offers no tools, so that types are unknown."""

    @property
    def required(self) -> tuple[str, ...]:
        """Arguments that a call must have."""
        if self.tool is not None:
            return self.tool.required
        return tuple(name for name, values in self.allowed.items() if "" not in values)

    def schema(self, argument: str) -> Any:
        """Return the tool's schema of an argument."""
        return None if self.tool is None else self.tool.arguments.get(argument)


def expected_calls(case: Case) -> tuple[ExpectedCall, ...]:
    """Return the calls that a valid case expects."""
    tools = _tools(case)
    return tuple(
        ExpectedCall(call["name"], call["arguments"], tools.get(call["name"]))
        for call in case.expected_calls or ()
    )


def offered_tools(case: Case) -> dict[str, OfferedTool]:
    """Return the tools that a case offers, or else those it expects."""
    if case.tools is not None:
        return _tools(case)
    return {
        call.name: OfferedTool(call.name, dict.fromkeys(call.allowed), call.required)
        for call in expected_calls(case)
    }


def expectation_problems(case: Case) -> list[str]:
    """Return why no answer could meet the expectation; empty if one can."""
    try:
        tools = _tools(case)
    except ValueError as error:
        return [str(error)]
    return [
        f"expected_calls[{index}]: {problem}"
        for index, call in enumerate(case.expected_calls or ())
        for problem in _call_problems(call, None if case.tools is None else tools)
    ]


def _tools(case: Case) -> dict[str, OfferedTool]:
    """Return the tools by name: OpenAI's form, Anthropic's, or name and parameters alone.

    Raises:
        ValueError: a tool has no name, a duplicate name, or parameters that are no object schema.
    """
    tools: dict[str, OfferedTool] = {}
    for index, definition in enumerate(case.tools or ()):
        inner = definition.get("function", definition)
        name = inner.get("name") if isinstance(inner, Mapping) else None
        if not isinstance(name, str) or not name:
            raise ValueError(f"tools[{index}] has no name")
        if name in tools:
            raise ValueError(f"tools[{index}]: the name {name!r} occurs twice")
        tools[name] = _tool(name, inner.get("parameters") or inner.get("input_schema") or {})
    return tools


def _tool(name: str, schema: Any) -> OfferedTool:
    if not isinstance(schema, Mapping):
        raise ValueError(
            f"the parameters of {name} must be a JSON schema, not {format_value(schema)}"
        )
    properties, required = schema.get("properties") or {}, schema.get("required") or []
    if not isinstance(properties, Mapping):
        raise ValueError(
            f"the properties of {name} must be an object, not {format_value(properties)}"
        )
    if not isinstance(required, list) or not all(isinstance(key, str) for key in required):
        raise ValueError(
            f"required of {name} must be a list of names, not {format_value(required)}"
        )
    return OfferedTool(name, properties, tuple(required))


def _call_problems(
    call: Mapping[str, Any], tools: Mapping[str, OfferedTool] | None
) -> Iterator[str]:
    name, allowed = call.get("name"), call.get("arguments")
    if not isinstance(name, str) or not isinstance(allowed, Mapping):
        yield 'write {"name": a text, "arguments": {argument: [allowed values]}}'
        return
    if tools is not None and name not in tools:
        yield unknown_name_message(name, tuple(tools), what="tool")
        return
    tool = None if tools is None else tools[name]
    for missing in sorted(set(tool.required) - allowed.keys()) if tool else ():
        yield f"{name} needs the argument {missing!r}; list its allowed values"
    for argument, values in allowed.items():
        yield from _argument_problems(argument, values, tool)


def _argument_problems(argument: str, values: Any, tool: OfferedTool | None) -> Iterator[str]:
    if not isinstance(values, list) or not values:
        yield f"{argument}={format_value(values)} must be a list of the allowed values"
        return
    if tool is not None and argument not in tool.arguments:
        yield unknown_name_message(argument, tuple(tool.arguments) or ("none",), what="argument")
        return
    if tool is not None and argument in tool.required and values == [""]:
        yield f"{argument} is required, so it needs an allowed value besides the empty text"
    schema = None if tool is None else tool.arguments[argument]
    for value in values:
        problem = None if value in ("", None) else allowed_misfit(value, schema, argument)
        if problem:
            yield problem
