"""Tool calls written as XML elements, as several model families do.

`<function=f><parameter=x>1</parameter></function>` (Qwen-Coder), `<invoke name="f">` with
`<parameter name="x">` (Claude, MiniMax), `<tool_call>f<arg_key>x</arg_key><arg_value>1</arg_value>`
(GLM), `<functions><function name="f"><param name="x" value="1"/>` (the Berkeley Function Calling
Leaderboard's two XML formats), `call:f{x:<escape>1<escape>}` (FunctionGemma), and elements named as
an offered tool: `<f><x>1</x></f>`. Values are texts; the tool's schema has their types.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tunegate.harness.metrics import _json_parsing
from tunegate.harness.metrics._argument_types import allowed_types
from tunegate.harness.metrics._expected_calls import OfferedTool
from tunegate.harness.metrics._python_calls import python
from tunegate.harness.metrics._tool_call import MalformedCall, ToolCall


@dataclass(frozen=True, slots=True)
class LocatedCall:
    """A call and the characters that it was read from."""

    start: int
    end: int
    call: ToolCall


def find_xml_calls(text: str, tools: Mapping[str, OfferedTool]) -> Iterator[LocatedCall]:
    """Yield the calls that are XML elements, each kind in the order of the text."""
    by_name = _element(frozenset(tools)).finditer(text) if tools else ()
    for match in (*_TAGGED.finditer(text), *by_name):
        name = bare_name(next(filter(None, match.groups()[:-1])), tools)
        value: dict[str, Any] | None = None
        if match["body"].lstrip().startswith("{"):
            value = json_object(match["body"])
        else:
            value = _convert_texts(tools.get(name), dict(_parameters(match["body"])))
        if value is not None:
            yield LocatedCall(match.start(), match.end(), ToolCall(name, value))
    for match in _GEMMA.finditer(text):
        value = json_object(_gemma_json(match[2]))
        if value is not None:
            yield LocatedCall(match.start(), match.end(), ToolCall(match[1], value))


def bare_name(name: str, tools: Mapping[str, OfferedTool]) -> str:
    """Return a name without the namespace that some models put before those of all tools."""
    return name if name in tools else name.removeprefix("functions.")


def json_object(text: str) -> dict[str, Any] | None:
    """Return a text as a JSON object, or None."""
    try:
        value = _json_parsing.parse_json(text)
    except _json_parsing.UnreadableJson:
        return None
    return value if isinstance(value, dict) else None


def _convert_texts(tool: OfferedTool | None, texts: Mapping[str, str]) -> dict[str, Any]:
    """Return texts as values of the types that their arguments have."""
    return {
        name: _convert_text(
            text.removeprefix("\n").removesuffix("\n"), tool and tool.arguments.get(name)
        )
        for name, text in texts.items()
    }


def _convert_text(text: str, schema: Any) -> Any:
    kinds = allowed_types(schema)
    text_too = kinds is None or "string" in kinds
    nothing = isinstance(schema, Mapping) and schema.get("default", "") is None
    if text.strip() in ("null", "None") and (nothing or not text_too or "null" in (kinds or ())):
        return None
    value = None if text_too else read_literal(text)
    return text if value is None else value


def read_literal(text: str) -> Any:
    """Return a text as a JSON or Python value, or None."""
    try:
        return _json_parsing.parse_json(text)
    except _json_parsing.UnreadableJson:
        pass
    try:
        calls = python(f"f(x={text})")
    except MalformedCall:
        return None
    return calls[0].arguments.get("x") if calls else None


def _gemma_json(body: str) -> str:
    """Return FunctionGemma's arguments as JSON; `<escape>` is its quotation mark."""
    parts = body.split("<escape>")
    for index, part in enumerate(parts):
        parts[index] = json.dumps(part) if index % 2 else _GEMMA_KEY.sub(r'"\1":', part)
    return "{" + "".join(parts) + "}"


_TAGGED = re.compile(
    r"(?:<function=\"?([\w.-]{1,200})\"?>|<invoke\s+name=\"([\w.-]{1,200})\"\s*>"
    r"|<function\s+name=\"([\w.-]{1,200})\"\s*>|<tool_call>\s*([\w.-]{1,200})\s*(?=<arg_key>|</tool_call>))"
    r"(?P<body>.*?)(?:</function>|</invoke>|</tool_call>|(?=<function=)|(?=<invoke)|\Z)",
    re.DOTALL,
)
_PARAMETER = re.compile(
    r"(?:<parameter=\"?([\w.-]{1,200})\"?>|<parameter\s+name=\"([\w.-]{1,200})\"[^<>]*>"
    r"|<arg_key>\s*([\w.-]{1,200})\s*</arg_key>\s*<arg_value>)"
    r"(.*?)(?:</parameter>|</arg_value>|\Z)",
    re.DOTALL,
)
_XML_PARAMETER = re.compile(
    r"<param\s+name=\"([\w.-]{1,200})\"(?:\s+value=\"([^\"]*)\")?[^<>]*?"
    r"(?:/>|>(.*?)(?:</param>|\Z))",
    re.DOTALL,
)
_TAG_PARAMETER = re.compile(r"<([\w.-]{1,200})>(.*?)(?:</\1>|\Z)", re.DOTALL)


def _parameters(body: str) -> Iterator[tuple[str, str]]:
    parameters = _PARAMETER.findall(body)
    if parameters:
        yield from ((first or second or third, text) for first, second, third, text in parameters)
    elif "<param" in body:
        for name, value, text in _XML_PARAMETER.findall(body):
            yield name, html.unescape(value or text)
    else:
        yield from _TAG_PARAMETER.findall(body)


_GEMMA = re.compile(
    r"<start_function_call>call:([\w.-]{1,200})\{(.*?)"
    r"(?:\}<end_function_call>|(?=<start_function_call>)|\Z)",
    re.DOTALL,
)
_GEMMA_KEY = re.compile(r"(?<![\w.-])([\w.-]{1,200}):")


@lru_cache(maxsize=256)
def _element(names: frozenset[str]) -> re.Pattern[str]:
    """Return what finds elements of these names that hold nothing but elements."""
    name = "|".join(map(re.escape, sorted(names)))
    return re.compile(rf"<({name})>(?P<body>\s*(?:<[\w.-]{{1,200}}>.*?)?)(?:</\1>|\Z)", re.DOTALL)
