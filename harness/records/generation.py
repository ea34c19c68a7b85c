"""Generation settings of a suite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from tunegate.harness.records.cases import Case
from tunegate.harness.records.defaults import (
    LATENCY_CASES,
    MAX_NEW_TOKENS,
    TEMPERATURE,
    THINKING_BUDGET,
)
from tunegate.harness.records.record import Json, Record, Text, is_none

TEMPLATES_OF = ("base", "tuned")  # arms whose chat template a suite can give to all arms


class GenerationSettings(Record):
    """How prompts are made and completions decoded; the same for every arm."""

    system: str | None = None
    template: str = "chat"
    """`chat` applies the model's chat template, `none` sends the prompt as it is."""
    max_new_tokens: int = MAX_NEW_TOKENS
    temperature: float = TEMPERATURE
    """0 decodes greedily."""
    top_p: float = 1.0
    samples: int = 1
    """Completions per case and arm; more than one needs a temperature."""
    stop: tuple[str, ...] = ()
    """Texts that end a completion; they are cut off."""
    latency_cases: int = LATENCY_CASES
    """Cases of the latency pass, if a metric asks for it."""
    thinking: Literal["on", "off", "template"] = Field(
        default="template", exclude_if=lambda value: value == "template"
    )
    """Whether models think before they answer; `template` leaves it to the chat template."""
    thinking_budget: int | None = Field(default=None, ge=1, exclude_if=is_none)
    """Most tokens of the thoughts, in addition to `max_new_tokens` for the answer."""
    thinking_tags: tuple[Text, ...] | None = Field(default=None, exclude_if=is_none)
    """The tags before and after thoughts, if unusual; if empty, the whole text is the answer."""
    chat_template: Text | None = Field(default=None, exclude_if=is_none)
    """The chat template of all arms: `base`, `tuned` or its text; None leaves each its own."""
    chat_template_kwargs: Json | None = Field(default=None, exclude_if=is_none)
    """Variables of the chat template, local or at a server."""

    @property
    def budget(self) -> int | None:
        """Most tokens of the thoughts; None if they share `max_new_tokens` with the answer."""
        if self.thinking == "off":
            return None
        if self.thinking == "on" and self.thinking_budget is None:
            return THINKING_BUDGET
        return self.thinking_budget

    @property
    def most_tokens(self) -> int:
        """Largest number of tokens of a completion, thoughts and answer together."""
        return self.max_new_tokens + (self.budget or 0)

    def of(self, case: Case) -> GenerationSettings:
        """Return the settings for a case, which may override the suite's; stop texts add up."""
        names = ("max_new_tokens", "temperature", "top_p")
        own: dict[str, Any] = {name: getattr(case, name) for name in names}
        if case.stop:
            own["stop"] = (*self.stop, *case.stop)
        own = {name: value for name, value in own.items() if value is not None}
        if case.without_system:
            own["system"] = None
        return self.model_copy(update=own) if own else self


DECIDING_SETTINGS = ("max_new_tokens", "temperature", "top_p", "stop")
"""Settings that decide what an arm writes."""


def written_settings(generation: Mapping[str, Any], case: Case) -> dict[str, Any]:
    """Return what decided a written answer besides the prompt."""
    offered = {"tools": case.tools, "tool_choice": case.tool_choice}
    return {**{name: generation[name] for name in DECIDING_SETTINGS}, **offered}
