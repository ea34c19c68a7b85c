"""Replayed calls: a model call of a trace → the fields of a case with its recorded settings.

The traces of our own runs → their cases, exactly as they were asked. With `--gate-trace-content`
the span of a case holds the whole case in `tunegate.case.content`, and the spans in it what each
arm answered: tuned's answer is the recorded one.
"""

from __future__ import annotations

import datetime
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tunegate.harness.records.errors import unknown_name_message
from tunegate.harness.records.hashing import sha256
from tunegate.harness.suite.sources import _conversations
from tunegate.harness.telemetry.read.conventions import genai
from tunegate.harness.telemetry.read.types import ImportReport, ModelCall, Span, route_of


@dataclass(frozen=True, slots=True)
class ReplayedCall:
    """One call, ready to be asked again."""

    row: Mapping[str, Any]
    """In the form of case.schema.json."""
    recorded: Mapping[str, Any] | None
    """In the form of a line that `replay:` reads; None where the trace holds no answer."""
    facets: Mapping[str, str]
    """Keys for choosing and stratifying calls: model, provider, route, day, hour."""
    attributes: Mapping[str, Any] = field(repr=False)
    """Those of the program and of the span."""
    where: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the request under OpenAI's names."""
    trace: str = ""
    """Id of its trace."""


FAILED = "a call that failed in production"
UNTOLD = "a call that was answered with a call of a tool, of which no tool was recorded"


def replay_call(
    call: ModelCall, reading: ImportReport, cluster_by: str = ""
) -> ReplayedCall | None:
    """Return a call as a case; None where it cannot be one, which is counted with its reason.

    Args:
        call: The call.
        reading: The account.
        cluster_by: What makes a cluster, see `cluster_name`.
    """
    span = call.span
    if span.error is not None:
        reading.leave_out(FAILED, span.where)
        return None
    if call.answer_calls and not call.tools and call.unreplayable is None:
        reading.leave_out(UNTOLD, span.where)
        return None
    if call.unreplayable is not None:
        reading.leave_out(f"a call that cannot be replayed: {_kind(call.unreplayable)}", span.where)
        return None
    try:
        asked = _conversations.prompt_fields(
            _conversations.conversation_turns([dict(turn) for turn in call.messages])
        )
    except ValueError as error:
        reading.leave_out(f"a call that cannot be replayed: {error!s:.80}", span.where)
        return None
    known = {**span.resource, **span.attributes}
    facets = {"model": call.model or "", "provider": call.provider or "", "route": route_of(known)}
    if span.start_s:
        try:
            began = datetime.datetime.fromtimestamp(span.start_s, datetime.UTC)
            facets |= {"day": f"{began:%Y-%m-%d}", "hour": f"{began:%Y-%m-%dT%H}"}
        except (OverflowError, ValueError, OSError):  # no calendar has it: it has no day
            pass
    row = {
        "id": span.span_id,
        **asked,
        "tools": [dict(tool) for tool in call.tools] or None,
        **_answer_fields(call, reading),
        "tags": list(dict.fromkeys(facets[name] for name in ("model", "route") if facets[name])),
        "cluster": cluster_name(call, known, cluster_by, reading),
    }
    row = {key: value for key, value in row.items() if value is not None}
    line = _recorded_line(call)
    return ReplayedCall(row, line, facets, known, span.where, call.parameters, span.trace_id)


def cluster_name(
    call: ModelCall, known: Mapping[str, Any], cluster_by: str, reading: ImportReport
) -> str:
    """Return the cluster of a call: calls that are no independent observations share its name.

    It is the conversation or session that the call or its trace names, else the trace. The name of
    a session may be a person's, so that its hash stands for it.

    Args:
        call: The call.
        known: Attributes of its program and of its span.
        cluster_by: An attribute whose values are the clusters; `trace`; or `call`, for calls that
            have nothing to do with each other.
        reading: Counts the calls that lack the attribute, and are in their conversation's cluster.
    """
    if cluster_by in ("call", "trace"):
        return call.span.span_id if cluster_by == "call" else call.span.trace_id
    named = known.get(cluster_by) if cluster_by else None
    if cluster_by and named in (None, ""):
        reading.repair("a call without the attribute of cluster_by", call.span.where)
        named = None
    named = call.conversation if named is None else str(named)
    return call.span.trace_id if named is None else sha256(named)[:16]


def _kind(reason: str) -> str:
    """Return a reason without the number of its message, so that reasons can be counted."""
    return reason.split(" in message ")[0]


def _answer_fields(call: ModelCall, reading: ImportReport) -> dict[str, Any]:
    """Return what was answered as what is expected; where tools were offered, also which calls."""
    found: dict[str, Any] = {"expected": call.answer or None, "expected_calls": None}
    if call.answer is None and not call.answer_calls:
        reading.repair("a call whose answer was not recorded: nothing is expected", call.span.where)
        return found
    try:
        expected = [
            _conversations.expected_call(made.get("function", made), arguments="arguments")
            for made in call.answer_calls
        ]
    except ValueError:
        reading.repair("a tool call without readable arguments: none is expected", call.span.where)
        return found
    return found | {"expected_calls": expected or ([] if call.tools else None)}


def _recorded_line(call: ModelCall) -> dict[str, Any] | None:
    if call.answer is None and not call.answer_calls:
        return None
    said = [*([call.answer] if call.answer else []), *map(_hermes_call, call.answer_calls)]
    line = {
        "id": call.span.span_id,
        "completion": "\n".join(said),
        "finish_reason": "stop" if call.finish_reason == "tool_calls" else call.finish_reason,
        "latency_s": round(call.latency_s, 6) or None,
        "input_tokens": call.input_tokens,
        "output_tokens": call.output_tokens,
        "reasoning_tokens": call.reasoning_tokens,
        "cost": call.cost,
    }
    return {key: value for key, value in line.items() if value is not None}


def _hermes_call(made: Mapping[str, Any]) -> str:
    """Return a tool call as Hermes writes it, which is how servers' calls are kept, too."""
    function = made.get("function", made)
    arguments = function.get("arguments")
    try:
        parsed = json.loads(arguments) if isinstance(arguments, str) else arguments
    except ValueError:
        parsed = arguments
    told = json.dumps({"name": function.get("name"), "arguments": parsed}, ensure_ascii=False)
    return f"<tool_call>{told}</tool_call>"


SAMPLING = ("temperature", "top_p")
BINDING = ("tool_choice", "response_format")
"""Settings that only chat APIs enforce: a model that is rendered here writes freely."""
GREEDY = ("max_tokens", "stop", *BINDING)
NAMES = (*GREEDY, *SAMPLING)
WORDS: Mapping[str, tuple[str, ...]] = {"greedy": GREEDY, "recorded": NAMES, "none": ()}
"""Word for a choice of settings → the settings."""
_MOST_TOKENS = 100_000
"""The longest completion that a case may ask for."""
_NEUTRAL: Mapping[str, Any] = {
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "repetition_penalty": 1,
    "n": 1,
    "logprobs": False,
    "parallel_tool_calls": True,
}
"""Settings at these values are as good as absent."""
MOST_NAMED = 8
"""Settings that a line names."""


def choose_settings(given: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of settings that an option means: a word, or names.

    Raises:
        ValueError: there is no such setting.
    """
    if isinstance(given, str) and given in WORDS:
        return WORDS[given]
    names = (given,) if isinstance(given, str) else given
    for name in names:
        if name not in NAMES:
            raise ValueError(unknown_name_message(name, (*WORDS, *NAMES), what="setting"))
    return tuple(names)


@dataclass(slots=True)
class SettingsTransfer:
    """Takes settings over into cases, and keeps count."""

    names: tuple[str, ...]
    """Those that are taken over."""
    calls: int = 0
    kept: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    """Settings that cases do not keep, sampling left aside → in how many calls."""
    temperatures: list[float] = field(default_factory=list)
    """Those of the calls that were sampled at a temperature which they named."""
    unnamed: int = 0
    """Calls that were sampled as is their provider's default."""

    def take(self, parameters: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of a case for the settings of its request, and count them.

        Args:
            parameters: Settings of the request under OpenAI's names.
            row: The case's other fields.
        """
        self.calls += 1
        self._note_sampling(parameters.get("temperature"))
        found: dict[str, Any] = {}
        for name, value in parameters.items():
            if name in _SILENT and _SILENT[name](value):
                continue
            read = _READ[name](value, row) if name in self.names else None
            if read is not None:
                self.kept[name] += 1
                found[_FIELDS.get(name, name)] = read
            elif name not in SAMPLING and not (name in _NEUTRAL and _NEUTRAL[name] == value):
                self.dropped[name] += 1
        return found

    def _note_sampling(self, temperature: Any) -> None:
        if temperature is None:
            self.unnamed += 1
        elif (read := _temperature(temperature, {})) is not None and read > 0:
            self.temperatures.append(read)

    def sentences(self) -> Iterator[str]:
        """Yield how the settings were used, a line each."""
        if self.kept:
            yield f"settings kept: {_list_counts(self.kept)}"
        sampled = len(self.temperatures) + self.unnamed
        if sampled and "temperature" in self.names:
            if self.temperatures:
                yield f"sampled as recorded: {self._of(len(self.temperatures))} ({self._span()})"
            if self.unnamed:
                yield (
                    f"sampled at a temperature that was not recorded: {self._of(self.unnamed)}; "
                    "asked with the settings of [generation]"
                )
        elif sampled:
            where = [self._span()] if self.temperatures else []
            where += [f"{self.unnamed} at one that was not recorded"] if self.unnamed else []
            yield (
                f"sampled in production: {self._of(sampled)} ({', '.join(where)}); asked greedily, "
                'so that no chance separates the arms (settings = "recorded" samples, too)'
            )
        if self.dropped:
            yield f"settings not taken over: {_list_counts(self.dropped)}"
        if bound := [name for name in BINDING if self.kept[name]]:
            yield (
                f"{' and '.join(bound)} bind chat APIs (litellm:, server: that renders itself); "
                "a model that is rendered here writes freely, base and tuned alike"
            )

    def _of(self, count: int) -> str:
        return f"{count} of {self.calls} calls"

    def _span(self) -> str:
        low, high = min(self.temperatures), max(self.temperatures)
        return f"temperature {low:g}" + (f" to {high:g}" if high > low else "")


def _list_counts(counts: Counter[str]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    told = [f"{name} ({counts[name]})" for name, _ in ordered[:MOST_NAMED]]
    more = len(ordered) - len(told)
    return ", ".join([*told, *([f"and {more} more"] if more else [])])


def _tokens(value: Any, row: Mapping[str, Any]) -> int | None:
    number = _number(value)
    if number is None or number < 1 or not number.is_integer():
        return None
    return min(int(number), _MOST_TOKENS)


def _stops(value: Any, row: Mapping[str, Any]) -> list[str] | None:
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list | tuple):
        return None
    return [text for text in stops if isinstance(text, str) and text] or None


def _choice(value: Any, row: Mapping[str, Any]) -> Any:
    """Return a tool choice as OpenAI has it; without tools there is nothing to choose."""
    return value if row.get("tools") and isinstance(value, str | Mapping) and value else None


def _format(value: Any, row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the form of an answer.

    OpenAI refuses `json_object` where no message speaks of JSON: there a schema was asked for, and
    the trace does not hold it.
    """
    if not isinstance(value, Mapping) or not value:
        return None
    asked = str([row.get("prompt"), row.get("messages")]).lower()
    return None if value.get("type") == "json_object" and "json" not in asked else dict(value)


def _temperature(value: Any, row: Mapping[str, Any]) -> float | None:
    number = _number(value)
    return number if number is not None and number >= 0 else None


def _nucleus(value: Any, row: Mapping[str, Any]) -> float | None:
    number = _number(value)
    return number if number is not None and 0 < number <= 1 else None


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


_READ: Mapping[str, Callable[[Any, Mapping[str, Any]], Any]] = {
    "max_tokens": _tokens,
    "stop": _stops,
    "tool_choice": _choice,
    "response_format": _format,
    "temperature": _temperature,
    "top_p": _nucleus,
}
_FIELDS = {"max_tokens": "max_new_tokens"}
"""OpenAI's name → a case's, where they differ."""
_SILENT: Mapping[str, Callable[[Any], bool]] = {
    "tool_choice": lambda value: value == "auto",
    "response_format": lambda value: value in ({"type": "text"}, "text"),
}
"""Settings that ask for the default."""

SCOPE = "tunegate"
CONTENT = "tunegate.case.content"
SETTINGS = "tunegate.gen.params"
_CASE = "eval case"
_OWN = ("max_new_tokens", "stop", "temperature", "top_p", "tool_choice", "response_format")
"""Fields of a case that are settings of its request."""
_NO_CONTENT = "a case of a run without prompts in its traces (run it with --trace-content)"


class OwnTraceFilter:
    """Takes the spans of our runs out of a stream, and keeps the cases in them."""

    def __init__(self, reading: ImportReport) -> None:
        self._reading = reading
        self._cases: dict[tuple[str, str], ReplayedCall] = {}
        self._asked: dict[tuple[str, str], Mapping[str, Any]] = {}
        """Case → generation settings of its suite."""

    def without(self, spans: Iterable[Span]) -> Iterator[Span]:
        """Yield the spans of other programs."""
        for span in spans:
            if span.scope != SCOPE:
                yield span
            elif span.name == _CASE:
                self._take_case(span)
            elif span.attributes.get("tunegate.arm") == "tuned":
                self._take_answer(span)

    def cases(self) -> Iterator[ReplayedCall]:
        """Yield the cases in the order of their spans; their facet `template` is the suite's."""
        for key, case in self._cases.items():
            shared = self._asked.get(key, {})
            yield replace(
                case,
                row={name: value for name, value in case.row.items() if name not in _OWN},
                facets={**case.facets, "template": shared.get("template") or "chat"},
                parameters=_parameters(shared, case.row),
            )

    def _take_case(self, span: Span) -> None:
        try:
            row: Any = json.loads(span.attributes[CONTENT])
        except (KeyError, TypeError, ValueError):
            self._reading.leave_out(_NO_CONTENT, span.where)
            return
        if not isinstance(row, dict):
            self._reading.leave_out(_NO_CONTENT, span.where)
            return
        suite = str(span.attributes.get("test.suite.name", ""))
        known = {**span.resource, **span.attributes}
        key = (span.trace_id, span.span_id)
        self._cases[key] = ReplayedCall(row, None, {"route": suite, "model": ""}, known, span.where)

    def _take_answer(self, span: Span) -> None:
        """Keep what tuned wrote; answers to other questions than to write are none."""
        key = (span.trace_id, span.parent_id or "")
        case = self._cases.get(key)
        self._asked.setdefault(key, _settings(span))
        kind = span.attributes.get("tunegate.cell.kind", "generate")
        if case is None or case.recorded is not None or kind != "generate":
            return
        call = genai.call(span)
        if call.answer is None:
            return
        line = {
            "id": case.row.get("id"),
            "completion": call.answer,
            "finish_reason": call.finish_reason,
            "latency_s": round(call.latency_s, 6) or None,
            "input_tokens": call.input_tokens,
            "output_tokens": call.output_tokens,
            "reasoning_tokens": call.reasoning_tokens,
        }
        recorded = {name: value for name, value in line.items() if value is not None}
        self._cases[key] = replace(case, recorded=recorded)


def _parameters(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a case was asked, under OpenAI's names: by its suite's settings and its own."""
    found = {
        "max_tokens": own.get("max_new_tokens", shared.get("max_new_tokens")),
        "stop": [*shared.get("stop", ()), *own.get("stop", ())] or None,
        "temperature": own.get("temperature", shared.get("temperature", 0.0)),
        "top_p": own.get("top_p", shared.get("top_p")),
        "tool_choice": own.get("tool_choice"),
        "response_format": own.get("response_format"),
    }
    return {name: value for name, value in found.items() if value is not None}


def _settings(span: Span) -> dict[str, Any]:
    """Return the generation settings of the suite; none where the span does not hold them."""
    try:
        told = json.loads(span.attributes[SETTINGS])
    except (KeyError, TypeError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
