"""Tool calls anywhere in an answer: in a code fence, in prose, or in another markup.

A program that runs tools reads one form and ignores the rest. A metric must not: an answer that
calls an offered tool in the wrong form is not an abstention, and its fault is not a wrong call.

A call is found by the name of an offered tool: as a Python call, as a JSON object with the name and
arguments, or as the name followed by a JSON object. The name alone, `name()` in a sentence, a
signature and a tool's definition are not calls. A text that starts like a call and breaks off, such
as one with unclosed brackets, is an attempt that cannot be read.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

from tunegate.harness.metrics import _json_parsing
from tunegate.harness.metrics._expected_calls import OfferedTool
from tunegate.harness.metrics._json_parsing import shorten_text
from tunegate.harness.metrics._python_calls import python
from tunegate.harness.metrics._tool_call import MalformedCall, ToolCall
from tunegate.harness.metrics._tool_call_parsers import (
    ParsedCalls,
    Syntax,
    parse_tool_calls,
    strip_end_tokens,
)
from tunegate.harness.metrics._xml_calls import bare_name, find_xml_calls, json_object, read_literal

Form = Literal["right", "fence", "prose", "other"]
"""Where the calls are: as the syntax wants them, in code fences, in other text, or in another
syntax than the one named."""
FORMS: tuple[Form, ...] = ("right", "fence", "prose", "other")


@dataclass(frozen=True, slots=True)
class FoundCalls:
    """The calls of an answer and their form."""

    reading: ParsedCalls
    form: Form = "right"


def read_calls(text: str, tools: Mapping[str, OfferedTool], syntax: Syntax = "auto") -> FoundCalls:
    """Return the calls that an answer makes in any form.

    `syntax` is the right form; `auto` takes any. Calls in other forms are found by the names of
    `tools`. Headers of chat templates (`<|start_header_id|>…`) are ignored, and so is everything
    after a user turn that the model wrote itself, if there are calls before it.
    """
    answer = _strip_headers(text)
    if turn := _USER_TURN.search(answer):  # the model speaks for the user, too
        first = read_calls(answer[: turn.start()], tools, syntax)
        if first.reading.calls:
            return replace(first, form="prose" if first.form == "right" else first.form)
    reading = parse_tool_calls(answer, syntax)
    offered = {**{name.replace(".", "_"): tool for name, tool in tools.items()}, **tools}
    if not offered.keys().isdisjoint(_names(reading)) or (reading.calls and not tools):
        return FoundCalls(reading)
    search = _search(_MARKDOWN_UNDERSCORE.sub("_", answer), offered, syntax)
    if reading.calls and offered.keys().isdisjoint(_names(search.reading)):
        return FoundCalls(reading)
    if search.reading.calls or (search.reading.problem and reading.problem is None):
        return search
    return FoundCalls(reading)


def _names(reading: ParsedCalls) -> list[str]:
    return [call.name for call in reading.calls]


def _search(text: str, tools: Mapping[str, OfferedTool], syntax: Syntax) -> FoundCalls:
    """Return the calls within a text; an attempt that cannot be read makes all unreadable."""
    try:
        spans = _CallSearch(text, tools, syntax).run()
    except _TooManyUnclosed:
        return FoundCalls(ParsedCalls(problem="too many brackets are not closed"))
    calls = tuple(call for span in spans for call in span.calls)
    broken = next((span for span in spans if not span.calls), None)
    if broken is not None:
        what = shorten_text(text[broken.start : broken.end], 80)
        return FoundCalls(ParsedCalls(broken.syntax, problem=f"{what!r} is not a complete call"))
    if not calls:
        return FoundCalls(ParsedCalls())
    form = max((span.form for span in spans), key=FORMS.index)
    return FoundCalls(ParsedCalls(spans[0].syntax, calls), form)


_HEADERS = re.compile(
    r"(?:\s*+(?:<s>|<\|begin_of_text\|>|<\|?bos\|?>|\[/INST\]"
    r"|<\|start_header_id\|>\s*+\w*+\s*+<\|end_header_id\|>|<\|im_start\|>(?:assistant)?+"
    r"|<\|assistant\|>|<start_of_turn>(?:model)?+))++"
)

_MARKDOWN_UNDERSCORE = re.compile(r"(?<!\\)\\_")
"""An underscore as Markdown escapes it; Mistral's models write names of tools so."""
_USER_TURN = re.compile(
    r"### Instruction:|\[INST\]|<\|user\|>|<(?:\|(?:im_start|start_header_id)\||start_of_turn)>user"
)


def _strip_headers(text: str) -> str:
    """Return the answer without what a chat template writes around it."""
    header = _HEADERS.match(text)
    return strip_end_tokens(text[header.end() if header else 0 :])


class _TooManyUnclosed(Exception):
    """A model in a loop opens brackets without end; each would be searched to the end."""


_MOST_UNCLOSED = 200


@dataclass(frozen=True, slots=True)
class _CallSpan:
    """A stretch of the text with calls, or with an attempt that cannot be read."""

    start: int
    end: int
    syntax: Syntax
    form: Form = "prose"
    calls: tuple[ToolCall, ...] = ()


_FENCE = re.compile(r"(```|~~~)(.*?)(?:\1|\Z)", re.DOTALL)
_LABEL = re.compile(r"\s*+(?:[\w+-]{1,20}(?=[ \t]*+\n)|(?i:json|python|tool_code|tool_call)\b)")
_MARKUP = re.compile(
    r"<function=|<invoke\s+name=|<function_calls>|<functions>|<start_function_call>|<TOOLCALL>|<function_call>"
    r"|<\uff5ctool\u2581|<\|tool_calls?_(?:section_)?begin\|>|\bto=functions\.|^>>>\w"
    r"|<\|tool_call\|>|<tool_call>\s*(?:\[|[\w.-]{1,200}\s*</?(?:arg_key|tool_call)>)|^functools\s*\[|<\|python_start\|>|<\|START_ACTION\|>"
    r"|<\|action_start\|>|\u273fFUNCTION\u273f|^Action:\s*(?:[\w.-]+\s*$|```|\[|\{)",
    re.MULTILINE,
)
"""Markers of a call in the templates of other model families."""
_PREFIX = r"(?:(?:functions|default_api|tools)\.)?"
_GAP = (
    r"(?:[\s\"'`*:>,_(]|<\|[\w\u2581]{1,40}\|>|<\uff5c[\w\u2581]{1,40}\uff5c>|\[[A-Z_]{1,12}\]"
    r"|(?<=:)\d{1,3}|json\b|\u273fARGS\u273f"
    r"|(?i:action|tool|input|arguments?|args|parameters?|params|with)\b){0,40}+"
)
"""Separators between a tool's name and the JSON object of its arguments."""
_QUOTED_OR_BRACKET = re.compile(
    r'"(?:[^"\\]|\\.)*+"|\'(?:[^\'\\]|\\.)*+\'|[()\[\]{}"\']', re.DOTALL
)
_CLOSES = {"(": ")", "[": "]", "{": "}"}
_NAME_KEYS = ("name", "function", "tool", "tool_name", "function_name", "action", "recipient_name")
_ARGUMENT_KEYS = (
    "arguments", "parameters", "args", "params", "input", "tool_input", "action_input",
    "tool_args", "tool_arguments", "function_args", "kwargs",
)  # fmt: skip
_ALONE = re.compile(r"[\s\[\](){},;`*>\d.-]*+")
"""Decoration of a call on a line of its own."""
_LIST_BEFORE = re.compile(r"\[\s*+(?:[\w.]++\([^()]*+\)\s*+,\s*+)*+\Z")
_LIST_AFTER = re.compile(r"\s*[,\]]")
"""Punctuation around a call in a list of calls."""
_IDENTIFIER = re.compile(r"[^\W\d]\w*+(?:\.\w++)*+")
_PLACEHOLDER = re.compile(r"<[^<>\n]*>|\.\.\.|\u2026|\A\s*\w+\s*:\s*[A-Za-z_]")
_JSON = ("json", "openai", "anthropic", "llama3", "mistral")
"""Syntaxes whose calls are JSON objects when the markers around them are left out."""


class _CallSearch:
    """One answer, and the patterns that the names of its tools make."""

    def __init__(self, text: str, tools: Mapping[str, OfferedTool], syntax: Syntax) -> None:
        self.text = text
        self.tools = tools
        self.names = _patterns(frozenset(tools))
        self.syntax = syntax
        self.unclosed = 0
        self.fences = [(fence.start(2), fence.end(2)) for fence in _FENCE.finditer(text)]

    def run(self) -> list[_CallSpan]:
        """Return the calls in their order, without those that repeat calls of a code fence."""
        if not (
            self.names.name.search(self.text)
            or '"arguments"' in self.text
            or _MARKUP.search(self.text)
        ):
            return []
        spans: list[_CallSpan] = []
        for find in (
            self._in_fences,
            self._in_tags,
            self._in_objects,
            self._behind_names,
            self._in_python,
        ):
            starts = [span.start for span in spans]
            spans += [
                call_span for call_span in find() if not _is_covered(call_span, spans, starts)
            ]
            spans.sort(key=lambda span: span.start)
        return self._as_markup(_without_repetitions(spans))

    def _as_markup(self, spans: list[_CallSpan]) -> list[_CallSpan]:
        """Return calls behind the marker of a template as calls in the right form."""
        marker = _MARKUP.search(self.text)
        if not spans or marker is None or marker.start() > spans[0].start:
            return spans
        right = self.syntax in ("auto", "markup")
        return [
            replace(span, syntax="markup", form="right" if right else "other")
            if span.form != "other"
            else span
            for span in spans
        ]

    def _span(self, start: int, end: int, syntax: Syntax, *calls: ToolCall) -> _CallSpan:
        named = self.syntax in ("auto", syntax) or (syntax == "json" and self.syntax in _JSON)
        form: Form = "prose" if named else "other"
        return _CallSpan(start, end, syntax, form, calls)

    def _in_fences(self) -> Iterator[_CallSpan]:
        """Yield the code fences that are calls as a whole."""
        for start, end in self.fences:
            body = self.text[start:end]
            label = _LABEL.match(body)
            for part in dict.fromkeys((body[label.end() :] if label else body, body)):
                reading = parse_tool_calls(part, self.syntax)
                if any(call.name in self.tools for call in reading.calls):
                    syntax = reading.syntax or "json"
                    yield _CallSpan(start, end, syntax, "fence", reading.calls)
                    break

    def _in_tags(self) -> Iterator[_CallSpan]:
        for found in find_xml_calls(self.text, self.tools):
            yield self._span(found.start, found.end, "markup", found.call)

    def _in_objects(self) -> Iterator[_CallSpan]:
        """Yield JSON objects that are calls or hold some, and those that are cut off."""
        position = self.text.find("{")
        while position >= 0:
            span, end = self._object_at(position)
            if span:
                yield span
            position = self.text.find("{", max(end, position + 1))

    def _object_at(self, start: int) -> tuple[_CallSpan | None, int]:
        """Return the calls of the object at a place, and where to go on."""
        try:
            value, end = _json_parsing.read_first(self.text, start)
        except _json_parsing.UnreadableJson:
            return self._python_object(start)
        try:
            calls = tuple(self._calls_within(value))
        except MalformedCall:
            return _CallSpan(start, end, "json"), end
        return (self._span(start, end, "json", *calls) if calls else None), end

    def _python_object(self, start: int) -> tuple[_CallSpan | None, int]:
        if not self.names.name.search(self.text, start, start + 400):
            return None, start + 1
        end = self._closing(start)
        try:
            calls = tuple(self._calls_within(end and read_literal(self.text[start:end])))
        except MalformedCall:
            calls = ()
        if end and calls:
            return self._span(start, end, "json", *calls), end
        if self.names.begins.match(self.text, start):
            end = end or self._limit(start)
            return _CallSpan(start, end, "json"), end
        return None, start + 1

    def _calls_within(self, value: Any) -> Iterator[ToolCall]:
        """Yield the calls that a JSON value is or holds.

        Raises:
            MalformedCall: an offered tool is called with something else than an object.
        """
        waiting = [value]
        while waiting:
            item = waiting.pop()
            call = self._call_of(item) if isinstance(item, dict) else None
            if call is not None:
                yield call
            elif isinstance(item, dict | list):
                parts = item.values() if isinstance(item, dict) else item
                waiting.extend(reversed([part for part in parts if isinstance(part, dict | list)]))

    def _call_of(self, value: dict[str, Any]) -> ToolCall | None:
        """Return the call that an object is: name and arguments, or the name as its only key."""
        if len(value) == 1:
            name, arguments = next(iter(value.items()))
            if name in self.tools and isinstance(arguments, dict):
                return ToolCall(name, arguments)
        keys = [key for key in _NAME_KEYS if isinstance(value.get(key), str)]
        for key in keys:
            name = bare_name(value[key], self.tools)
            arguments_key = next(
                (key_name for key_name in _ARGUMENT_KEYS if key_name in value), None
            )
            if arguments_key is None or not (
                name in self.tools or (key, arguments_key) == ("name", "arguments")
            ):
                continue
            arguments = value[arguments_key]
            if isinstance(arguments, str):
                arguments = json_object(arguments or "{}")
            if isinstance(arguments, dict):
                return None if self._is_definition(name, arguments) else ToolCall(name, arguments)
            if name in self.tools:
                raise MalformedCall(f"{arguments_key} of {name} is not an object")
        return None

    def _is_definition(self, name: str, arguments: Mapping[str, Any]) -> bool:
        """Whether the arguments are the JSON schema of a tool's parameters."""
        known = self.tools[name].arguments if name in self.tools else {}
        return isinstance(arguments.get("properties"), dict) and "properties" not in known

    def _behind_names(self) -> Iterator[_CallSpan]:
        """Yield each name with the JSON object of its arguments behind it."""
        for match in self.names.gapped.finditer(self.text):
            try:
                value, end = _json_parsing.read_first(self.text, match.end())
            except _json_parsing.UnreadableJson:
                continue
            if isinstance(value, dict) and not self._is_definition(match[1], value):
                yield self._span(match.start(), end, "json", ToolCall(match[1], value))

    def _in_python(self) -> Iterator[_CallSpan]:
        """Yield Python calls of the offered tools, and attempts that cannot be read."""
        position = 0
        while match := self.names.called.search(self.text, position):
            position, opening = match.end(), match.end() - 1
            end = self._closing(opening)
            if end is None:
                if set("=\"'") & set(self.text[opening : opening + 60]):
                    position = self._limit(opening)
                    yield _CallSpan(match.start(), position, "python")
                continue
            inside = self.text[opening + 1 : end - 1]
            if self._is_mention(match.start(), end, inside):
                continue
            position = end
            spelled = match[1] if _IDENTIFIER.fullmatch(match[1]) else "f"
            try:
                calls = python(spelled + self.text[opening:end], bare_texts=True)
            except MalformedCall:
                if _PLACEHOLDER.search(inside):
                    continue
                calls = None
            tool_calls = [ToolCall(match[1], calls[0].arguments)] if calls else []
            yield self._span(match.start(), end, "python", *tool_calls)

    def _is_mention(self, start: int, end: int, inside: str) -> bool:
        """Whether `name(…)` just names the tool: in a sentence, without values."""
        if re.search(r"\b(?:def|function|fn)\s+\Z", self.text[max(0, start - 12) : start]):
            return True
        if inside.strip():
            quoted = set("=\"'") & set(inside)
            return not quoted and not re.fullmatch(r"[\s\d.,\[\]{}-]+", inside)
        if self._limit(start) < len(self.text):
            return False
        before = self.text[max(0, start - 200) : start].rpartition("\n")[2]
        after = self.text[end : end + 40].partition("\n")[0]
        if _LIST_BEFORE.search(before) and _LIST_AFTER.match(after):
            return False
        return not all(map(_ALONE.fullmatch, (before[-40:], after)))

    def _limit(self, position: int) -> int:
        """Return where the code fence around a place ends, or the text."""
        index = bisect_right(self.fences, (position, len(self.text) + 1)) - 1
        inside = index >= 0 and position < self.fences[index][1]
        return self.fences[index][1] if inside else len(self.text)

    def _closing(self, start: int) -> int | None:
        """Return the end of what the bracket at a place opens; None where nothing closes it."""
        limit, waiting = self._limit(start), []
        for match in _QUOTED_OR_BRACKET.finditer(self.text, start, limit):
            mark = match.group()
            if mark in _CLOSES:
                waiting.append(_CLOSES[mark])
            elif mark in ('"', "'") or (len(mark) == 1 and waiting.pop() != mark):
                break
            if not waiting:
                return match.end()
        self.unclosed += 1
        if self.unclosed > _MOST_UNCLOSED:
            raise _TooManyUnclosed
        return None


@dataclass(frozen=True, slots=True)
class _NamePatterns:
    name: re.Pattern[str]
    called: re.Pattern[str]
    """A name with an opening bracket behind it."""
    gapped: re.Pattern[str]
    """A name with a JSON object behind it."""
    begins: re.Pattern[str]
    """A JSON object that begins with the name of a tool."""


@lru_cache(maxsize=256)
def _patterns(names: frozenset[str]) -> _NamePatterns:
    longest_first = sorted(names, key=lambda name: (-len(name), name))
    any_name = "|".join(map(re.escape, longest_first)) or "(?!)"  # never matches
    start = rf"(?<![\w.])(?<!\w-){_PREFIX}({any_name})"
    keys = "|".join(_NAME_KEYS)
    return _NamePatterns(
        re.compile(rf"(?<!\w)(?:{any_name})(?!\w)"),
        re.compile(rf"{start}(?:[*`]{{0,3}}\(|[ \t]\((?=\s*\w+\s*=[^=]))"),
        re.compile(rf"{start}(?!\w){_GAP}(?=\{{\s*[\"'}}])"),
        re.compile(rf"\{{\s*[\"'](?:{keys})[\"']\s*:\s*[\"']{_PREFIX}(?:{any_name})[\"']"),
    )


def _is_covered(one: _CallSpan, spans: list[_CallSpan], starts: list[int]) -> bool:
    """Whether a span overlaps one of those that are sorted by their starts."""
    index = bisect_right(starts, one.start)
    before = index > 0 and spans[index - 1].end > one.start
    return before or (index < len(spans) and starts[index] < one.end)


def _without_repetitions(spans: list[_CallSpan]) -> list[_CallSpan]:
    """Leave out what repeats, outside of the code fences, calls that these make, or tries to."""
    fenced = {_key(call) for span in spans if span.form == "fence" for call in span.calls}
    if not fenced:
        return spans
    return [
        span
        for span in spans
        if span.form == "fence" or not fenced.issuperset(map(_key, span.calls))
    ]


def _key(call: ToolCall) -> str:
    return json.dumps([call.name, call.arguments], sort_keys=True)
