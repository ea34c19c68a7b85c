"""The settings of recorded requests: which of them their cases keep, and an account of the rest."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.lookup import unknown

SAMPLING = ("temperature", "top_p")
BINDING = ("tool_choice", "response_format")
"""What only chat APIs keep to: a model that is rendered here writes freely."""
GREEDY = ("max_tokens", "stop", *BINDING)
NAMES = (*GREEDY, *SAMPLING)
WORDS: Mapping[str, tuple[str, ...]] = {"greedy": GREEDY, "recorded": NAMES, "none": ()}
"""Word for a choice of settings → the settings."""
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


def chosen(given: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of settings that an option means: a word, or names.

    Raises:
        ValueError: there is no such setting.
    """
    if isinstance(given, str) and given in WORDS:
        return WORDS[given]
    names = (given,) if isinstance(given, str) else given
    for name in names:
        if name not in NAMES:
            raise ValueError(unknown(name, (*WORDS, *NAMES), what="setting"))
    return tuple(names)


@dataclass(slots=True)
class Settings:
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
        """Yield what became of the settings, a line each."""
        if self.kept:
            yield f"settings kept: {_listed(self.kept)}"
        sampled = len(self.temperatures) + self.unnamed
        if sampled and "temperature" in self.names:
            if self.temperatures:
                yield f"sampled as recorded: {self._of(len(self.temperatures))} ({self._span()})"
            if self.unnamed:
                yield (
                    f"sampled at a temperature that was not recorded: {self._of(self.unnamed)}; "
                    "asked as [generation] says"
                )
        elif sampled:
            where = [self._span()] if self.temperatures else []
            where += [f"{self.unnamed} at one that was not recorded"] if self.unnamed else []
            yield (
                f"sampled in production: {self._of(sampled)} ({', '.join(where)}); asked greedily, "
                'so that no chance lies between the arms (settings = "recorded" samples, too)'
            )
        if self.dropped:
            yield f"settings not taken over: {_listed(self.dropped)}"
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


def _listed(counts: Counter[str]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    told = [f"{name} ({counts[name]})" for name, _ in ordered[:MOST_NAMED]]
    more = len(ordered) - len(told)
    return ", ".join([*told, *([f"and {more} more"] if more else [])])


def _tokens(value: Any, row: Mapping[str, Any]) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number >= 1 and number.is_integer() else None


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
"""Settings that say what holds anyway."""
