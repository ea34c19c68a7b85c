"""Expected tool calls of a case: the tools, the allowed calls, and validation of both.

`expected_calls` is a list of `{"name": …, "arguments": {argument: [allowed value, …]}}`, empty
where no tool may be called. `""` among the allowed values means that the argument may be left out.
An allowed object has such a list for each of its keys: `{"to": [{"street": ["Elm St"]}]}`.

Types of arguments, as a tool's schema names them. JSON schema's names and those of Python and BFCL
(`float`, `dict`, `tuple`, `any` …) are known; a name that is not, or none, allows everything. As in
BFCL's check a whole number is a number, but 1.0 is no whole number and true is none of both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunegate.harness.metrics._tool_call_parsers import format_value
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
    """Argument → the values of which one is right."""
    tool: OfferedTool | None
    """None if the case offers no tools: then nothing is known of types."""

    @property
    def required(self) -> tuple[str, ...]:
        """Arguments that the tool cannot do without."""
        if self.tool is not None:
            return self.tool.required
        return tuple(name for name, values in self.allowed.items() if "" not in values)

    def schema(self, argument: str) -> Any:
        """Return the tool's schema of an argument."""
        return None if self.tool is None else self.tool.arguments.get(argument)


def expected_calls(case: Case) -> tuple[ExpectedCall, ...]:
    """Return the calls that a case without problems expects."""
    tools = _tools(case)
    return tuple(
        ExpectedCall(call["name"], call["arguments"], tools.get(call["name"]))
        for call in case.expected_calls or ()
    )


def offered_tools(case: Case) -> dict[str, OfferedTool]:
    """Return the tools of a case without problems; those it expects where it offers none."""
    if case.tools is not None:
        return _tools(case)
    return {
        call.name: OfferedTool(call.name, dict.fromkeys(call.allowed), call.required)
        for call in expected_calls(case)
    }


def expectation_problems(case: Case) -> list[str]:
    """Return why no answer could meet the expectation, in words; empty if one can."""
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
        ValueError: one has no name, a name that is taken, or no schema of an object.
    """
    tools: dict[str, OfferedTool] = {}
    for index, given in enumerate(case.tools or ()):
        inner = given.get("function", given)
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
    known, required = schema.get("properties") or {}, schema.get("required") or []
    if not isinstance(known, Mapping):
        raise ValueError(f"the properties of {name} must be an object, not {format_value(known)}")
    if not isinstance(required, list) or not all(isinstance(one, str) for one in required):
        raise ValueError(
            f"required of {name} must be a list of names, not {format_value(required)}"
        )
    return OfferedTool(name, known, tuple(required))


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


_NAMES = {
    "string": "string", "str": "string",
    "integer": "integer", "int": "integer",
    "number": "number", "float": "number", "double": "number",
    "boolean": "boolean", "bool": "boolean",
    "array": "array", "list": "array", "tuple": "array",
    "object": "object", "dict": "object",
    "null": "null",
}  # fmt: skip
_WORDS = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_PYTHON = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array"}


def type_mismatch(value: Any, schema: Any, place: str) -> str | None:
    """Return what of an argument's value has a type that its schema does not allow, or None."""
    return _wrong(value, schema, place) or next(
        filter(None, (type_mismatch(*part) for part in _parts(value, schema, place))), None
    )


def allowed_misfit(allowed: Any, schema: Any, place: str) -> str | None:
    """Return the same for an allowed value, whose objects hold lists of allowed values."""
    if isinstance(allowed, dict):
        for key, values in allowed.items():
            if not isinstance(values, list) or not values:
                return f"{place}.{key}={format_value(values)} must be a list of the allowed values"
    return _wrong(allowed, schema, place) or next(
        filter(None, (allowed_misfit(*part) for part in _allowed_parts(allowed, schema, place))),
        None,
    )


def _wrong(value: Any, schema: Any, place: str) -> str | None:
    kinds = allowed_types(schema)
    kind = "null" if value is None else _PYTHON.get(type(value), "object")
    if kinds is None or kind in kinds or (kind == "integer" and "number" in kinds):
        return None
    return (
        f"{place}={format_value(value)} must be {' or '.join(_WORDS[one] for one in sorted(kinds))}"
    )


def allowed_types(schema: Any) -> frozenset[str] | None:
    """Return the types that a schema allows; None if it names none."""
    if not isinstance(schema, Mapping):
        return None
    for key in ("anyOf", "oneOf"):
        branches = schema.get(key)
        if "type" not in schema and isinstance(branches, Sequence):
            found = [allowed_types(branch) for branch in branches]
            known = [kinds for kinds in found if kinds is not None]
            return frozenset().union(*known) if known and len(known) == len(found) else None
    named = schema.get("type")
    names = [str(name).lower() for name in (named if isinstance(named, list) else [named])]
    if not all(name in _NAMES for name in names):
        return None
    kinds = {_NAMES[name] for name in names}
    return frozenset(kinds | {"null"} if schema.get("nullable") is True else kinds)


def _parts(value: Any, schema: Any, place: str) -> Iterator[tuple[Any, Any, str]]:
    """Yield what is inside a value with the schema that holds for it."""
    if isinstance(value, list) and isinstance(items := _schema_value(schema, "items"), Mapping):
        for index, part in enumerate(value):
            yield part, items, f"{place}[{index}]"
    if isinstance(value, dict) and isinstance(
        known := _schema_value(schema, "properties"), Mapping
    ):
        for key in value.keys() & known.keys():
            yield value[key], known[key], f"{place}.{key}"


def _allowed_parts(allowed: Any, schema: Any, place: str) -> Iterator[tuple[Any, Any, str]]:
    if isinstance(allowed, list):
        items = _schema_value(schema, "items")
        for index, part in enumerate(allowed):
            yield part, items, f"{place}[{index}]"
    if isinstance(allowed, dict):
        known = _schema_value(schema, "properties")
        for key, values in allowed.items():
            for value in values:
                if value not in ("", None):
                    yield value, _schema_value(known, key), f"{place}.{key}"


def _schema_value(schema: Any, key: str) -> Any:
    return schema.get(key) if isinstance(schema, Mapping) else None
