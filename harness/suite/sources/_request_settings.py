"""Settings of recorded requests: which of them cases keep."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tunegate.harness.records.errors import unknown_name_message

SAMPLING = ("temperature", "top_p")
BINDING = ("tool_choice", "response_format")
"""Settings that only chat APIs enforce; a model whose prompt is rendered here ignores them."""
GREEDY = ("max_tokens", "stop", *BINDING)
NAMES = (*GREEDY, *SAMPLING)
_EFFORT = "reasoning_effort"
"""A setting that no case keeps, and that changes answers more than any other."""
WORDS: Mapping[str, tuple[str, ...]] = {"greedy": GREEDY, "recorded": NAMES, "none": ()}
"""Named choices of settings."""
_MOST_TOKENS = 100_000
"""Longest completion that a case may ask for."""
_NEUTRAL: Mapping[str, Any] = {
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "repetition_penalty": 1,
    "n": 1,
    "logprobs": False,
    "parallel_tool_calls": True,
}
"""Values that change nothing."""
MOST_NAMED = 8
"""Most settings that a line names."""


def choose_settings(given: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return the settings that an option means: a named choice, or a list.

    Raises:
        ValueError: a setting is unknown.
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
    """Copies settings of requests into cases, and counts what is kept."""

    names: tuple[str, ...]
    calls: int = 0
    kept: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    """Setting that cases do not keep, except sampling → number of calls."""
    temperatures: list[float] = field(default_factory=list)
    """Of the calls that name one above 0."""
    unrecorded: Counter[str] = field(default_factory=Counter)
    """Setting that matters, but that the recorder does not write → number of calls."""
    unnamed: int = 0
    """Calls that name no temperature, so the provider's default applied."""

    def take(
        self,
        parameters: Mapping[str, Any],
        row: Mapping[str, Any],
        unrecorded: Collection[str] = (),
    ) -> dict[str, Any]:
        """Return the fields of a case for a request's settings, under OpenAI's names."""
        self.calls += 1
        lacking = {name for name in unrecorded if name in (*self.names, _EFFORT)}
        self.unrecorded.update(lacking if row.get("tools") else lacking - {"tool_choice"})
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
        """Yield lines on how the settings were used."""
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
        yield from self._lost()
        if bound := [name for name in BINDING if self.kept[name]]:
            yield (
                f"{' and '.join(bound)} only bind chat APIs (litellm:, server: that renders "
                "itself); other models, base and tuned alike, write freely"
            )

    def _lost(self) -> Iterator[str]:
        if self.unrecorded:
            yield (
                f"settings that the recorder does not write: {_list_counts(self.unrecorded)}; "
                "where production set them, the cases lack them"
            )
        if self.dropped:
            yield f"settings not taken over: {_list_counts(self.dropped)}"

    def _of(self, count: int) -> str:
        return f"{count} of {self.calls} calls"

    def _span(self) -> str:
        low, high = min(self.temperatures), max(self.temperatures)
        return f"temperature {low:g}" + (f" to {high:g}" if high > low else "")


def _list_counts(counts: Counter[str]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    named = [f"{name} ({counts[name]})" for name, _ in ordered[:MOST_NAMED]]
    more = len(ordered) - len(named)
    return ", ".join([*named, *([f"and {more} more"] if more else [])])


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
    """Return a tool choice in OpenAI's form, if there are tools."""
    return value if row.get("tools") and isinstance(value, str | Mapping) and value else None


def _format(value: Any, row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the response format.

    OpenAI refuses `json_object` unless a message mentions JSON. If none does, a schema was asked
    for that the trace does not hold.
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
"""Settings that may ask for the default."""
