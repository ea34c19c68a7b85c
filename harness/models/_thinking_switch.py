"""Thinking switches: the variables by which chat templates turn a model's thoughts on and off.

Each family has a variable of its own. Its effect is checked in a rendered prompt before anything is
asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tunegate.harness.contracts.reasoning import (
    SWITCHES_OF_SERVERS,
    ThinkingMismatch,
    mentions_thinking,
    opened_format,
)
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.hashing import canonical_json

Render = Callable[[Mapping[str, Any]], str]
"""Renders a short conversation with the given variables."""
SWITCHES: Mapping[str, tuple[Any, Any]] = {
    # Qwen3, GLM-4.5, SmolLM3, Nemotron 3, Gemma 4, Bielik …
    "enable_thinking": (True, False),
    "thinking": (True, False),  # DeepSeek V3.1, Granite, Kimi K2
    "reasoning": (True, False),  # Command A
    "thinking_mode": ("enabled", "disabled"),  # MiniMax M3
    "thinking_option": ("on", "off"),  # Ling 3
    "reasoning_effort": ("high", "none"),  # Mistral Small 4
    "thinking_budget": (None, 0),  # Seed-OSS
}
"""Variable of chat templates → its values with thinking on and off; None leaves it out.

Source: the templates that llama.cpp's repository holds (`models/templates`).
"""
_KNOWN: dict[tuple[str, str, str], Mapping[str, Any]] = {}
"""(template, thinking, the suite's own variables) → what was found to switch it."""


def template_variables(
    template: str, generation: GenerationSettings, render: Render, *, spec: str
) -> Mapping[str, Any]:
    """Return the variables that a chat template is given."""
    variables = dict(generation.chat_template_kwargs or {})
    if generation.thinking == "template":
        return variables
    key = (template, generation.thinking, canonical_json(variables))
    if key not in _KNOWN:
        _KNOWN[key] = _switch(template, variables, generation.thinking == "on", render, spec)
    return _KNOWN[key]


def _switch(
    template: str, variables: Mapping[str, Any], on: bool, render: Render, spec: str
) -> Mapping[str, Any]:
    """Return the variables that switch thinking, once the rendered prompt shows that they do."""
    if (twice := next((name for name in variables if name in SWITCHES), None)) is not None:
        raise ThinkingMismatch(
            f"chat_template_kwargs has {twice!r}, which thinking sets as well; remove one of them"
        )
    texts, wanted = [], {}
    for way in (not on, on):
        values = {name: SWITCHES[name][0 if way else 1] for name in _switches(template)}
        wanted = {name: value for name, value in values.items() if value is not None} | dict(
            variables
        )
        try:
            texts.append(render(wanted))
        except ValueError as error:
            raise ThinkingMismatch(f"{spec}: with {wanted}, {error}") from error
    tagged = opened_format(texts[1]) is not None or mentions_thinking(template)
    if texts[0] != texts[1] or tagged is on:
        return wanted
    names = ", ".join(SWITCHES)
    if on:
        raise ThinkingMismatch(
            f'thinking = "on": the chat template of {spec} does not support thinking (no thinking '
            f'tag, and none of {names}); write thinking = "template", or pass its own variable '
            "with chat_template_kwargs"
        )
    raise ThinkingMismatch(
        f'thinking = "off": the chat template of {spec} cannot switch thinking off (it has none '
        f'of {names}); write thinking = "template", or pass its own variable with '
        "chat_template_kwargs"
    )


def _switches(template: str) -> list[str]:
    """Return the known switches among a template's variables; gpt-oss has efforts, but no switch.

    An effort is taken where there is nothing else: most templates have it for the amount.
    """
    variables = read_variables(template, SWITCHES)
    present = [name for name in SWITCHES if name in variables and "<|channel|>" not in template]
    return [name for name in present if name != "reasoning_effort" or len(present) == 1]


def read_variables(template: str, names: Iterable[str]) -> set[str]:
    """Return those of the names that a chat template reads from outside."""
    import jinja2.meta

    plain = re.sub(r"{%-?\s*(?:end)?generation\s*-?%}", "", template)
    try:
        tree = jinja2.Environment(extensions=["jinja2.ext.loopcontrols"]).parse(plain)
        return {*names} & jinja2.meta.find_undeclared_variables(tree)
    except (jinja2.TemplateError, RecursionError):
        return {name for name in names if re.search(rf"\b{name}\b", template)}


def server_variables(generation: GenerationSettings) -> dict[str, Any]:
    """Return the variables of a chat template that a server applies; templates ignore others."""
    variables = dict(generation.chat_template_kwargs or {})
    if generation.thinking == "template":
        return variables
    on = generation.thinking == "on"
    return dict.fromkeys(SWITCHES_OF_SERVERS, on) | variables


_EFFORTS = frozenset({"none", "minimal", "low", "medium", "high", "xhigh"})
"""Values of OpenAI's `reasoning_effort`; templates have others, too."""


def server_fields(
    generation: GenerationSettings, accepted: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the fields of a request by which a server renders messages with the variables.

    An effort is sent as OpenAI's parameter as well: vLLM renders gpt-oss without a template.

    Args:
        generation: The suite's settings.
        accepted: The variables that its chat template takes; None if the template is not known.
    """
    variables = server_variables(generation) if accepted is None else dict(accepted)
    effort = variables.get("reasoning_effort")
    fields: dict[str, Any] = {"chat_template_kwargs": variables} if variables else {}
    return fields | ({"reasoning_effort": effort} if effort in _EFFORTS else {})
