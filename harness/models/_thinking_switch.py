"""Thinking switches: the variables by which chat templates turn a model's thoughts on and off.

Each family has a variable of its own. That it has an effect is seen in a rendered prompt, before
anything is asked. A server has one limit for thoughts and answer together; what it wrote is put
under the two limits of the suite here; a local completion is followed while it is decoded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tunegate.harness.contracts.thinking import (
    HARMONY,
    SWITCHES_OF_SERVERS,
    ThinkingFormat,
    ThinkingMismatch,
    formats_of,
    mentions_thinking,
    opened_format,
)
from tunegate.harness.records.answers import Completion
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
    """Return the variables that a chat template is given.

    Args:
        template: The template's text.
        generation: The suite's settings.
        render: Renders a short conversation; called where thinking is switched.
        spec: How the model is named in messages.

    Raises:
        ThinkingMismatch: thinking cannot be switched as the suite wants it.
    """
    own = dict(generation.chat_template_kwargs or {})
    if generation.thinking == "template":
        return own
    key = (template, generation.thinking, canonical_json(own))
    if key not in _KNOWN:
        _KNOWN[key] = _switch(template, own, generation.thinking == "on", render, spec)
    return _KNOWN[key]


def _switch(
    template: str, own: Mapping[str, Any], on: bool, render: Render, spec: str
) -> Mapping[str, Any]:
    """Return the variables that switch thinking, once the rendered prompt shows that they do."""
    if (twice := next((name for name in own if name in SWITCHES), None)) is not None:
        raise ThinkingMismatch(
            f"chat_template_kwargs has {twice!r}, which thinking sets as well; remove one of them"
        )
    texts, wanted = [], {}
    for way in (not on, on):
        values = {name: SWITCHES[name][0 if way else 1] for name in _switches(template)}
        wanted = {name: value for name, value in values.items() if value is not None} | dict(own)
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
            f'thinking = "on": the chat template of {spec} knows no thinking (no tag of thoughts '
            f'and none of {names}); write thinking = "template", or pass its own variable with '
            "chat_template_kwargs"
        )
    raise ThinkingMismatch(
        f'thinking = "off": the chat template of {spec} has thoughts and no switch for them (none '
        f'of {names}); write thinking = "template", or pass its own variable with '
        "chat_template_kwargs"
    )


def _switches(template: str) -> list[str]:
    """Return the known switches among a template's variables; gpt-oss has efforts, but no switch.

    An effort is taken where there is nothing else: most templates have it for the amount.
    """
    import jinja2.meta

    plain = re.sub(r"{%-?\s*(?:end)?generation\s*-?%}", "", template)
    try:
        tree = jinja2.Environment(extensions=["jinja2.ext.loopcontrols"]).parse(plain)
        variables = jinja2.meta.find_undeclared_variables(tree)
    except (jinja2.TemplateError, RecursionError):
        variables = {name for name in SWITCHES if re.search(rf"\b{name}\b", template)}
    found = [name for name in SWITCHES if name in variables and "<|channel|>" not in template]
    return [name for name in found if name != "reasoning_effort" or len(found) == 1]


def server_variables(generation: GenerationSettings) -> dict[str, Any]:
    """Return the variables of a chat template that a server applies; templates ignore others."""
    own = dict(generation.chat_template_kwargs or {})
    if generation.thinking == "template":
        return own
    on = generation.thinking == "on"
    return dict.fromkeys(SWITCHES_OF_SERVERS, on) | own


_EFFORTS = frozenset({"none", "minimal", "low", "medium", "high", "xhigh"})
"""Values of OpenAI's `reasoning_effort`; templates have others, too."""


def server_fields(generation: GenerationSettings) -> dict[str, Any]:
    """Return the fields of a request by which a server renders messages with the variables.

    An effort is sent as OpenAI's parameter as well: vLLM renders gpt-oss without a template.
    """
    variables = server_variables(generation)
    effort = variables.get("reasoning_effort")
    fields: dict[str, Any] = {"chat_template_kwargs": variables} if variables else {}
    return fields | ({"reasoning_effort": effort} if effort in _EFFORTS else {})


def keep_limits(
    completion: Completion, generation: GenerationSettings, tokenizer: Any
) -> Completion:
    """Return what a model here would have written under the suite's limits, of a server's answer.

    Thoughts that took more than their budget are cut there, and no answer follows them; an answer
    is cut at `max_new_tokens`. Without a tokenizer thoughts are cut by the number of their tokens
    that the server reports, with their text whole, and answers are not cut.

    Args:
        completion: The server's, with its thoughts apart.
        generation: The suite's settings.
        tokenizer: The model's; None where only the server has it.
    """
    budget = generation.budget
    if budget is None:
        return completion
    (before, after), reasoning = completion.reasoning_tags or ("", ""), completion.reasoning or ""
    if completion.thinks and (completion.reasoning_tokens or 0) > budget:
        if tokenizer is not None:
            written = f"{before}{reasoning}{after}"
            reasoning = _first_tokens(tokenizer, written, budget).removeprefix(before)
        cut: dict[str, Any] = {"text": "", "reasoning": reasoning, "reasoning_closed": False}
        cut |= {"reasoning_tokens": budget, "finish_reason": "length"}
        tags = completion.reasoning_tags and (before, "")
        return completion.model_copy(update={**cut, "reasoning_tags": tags})
    if tokenizer is None:
        return completion
    space = after[len(after.rstrip()) :]  # the engine counts it with the answer
    text = f"{space}{completion.text or ''}"
    kept = _first_tokens(tokenizer, text, generation.max_new_tokens)
    if kept == text:
        return completion
    return completion.model_copy(update={"text": kept[len(space) :], "finish_reason": "length"})


def _first_tokens(tokenizer: Any, text: str, count: int) -> str:
    """Return the text of at most `count` tokens."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return text if len(ids) <= count else str(tokenizer.decode(ids[:count]))


_TAIL = 24
"""Tokens among which the last closing tag is looked for: the longest has fewer."""


@dataclass(slots=True)
class ThoughtTracker:
    """Where the thoughts of a completion in progress end: limits and stops depend on it."""

    generation: GenerationSettings
    formats: Sequence[ThinkingFormat] = field(repr=False)
    state: Literal["unknown", "thinking", "answering"] = "unknown"
    answer_at: int = 0
    """Tokens before the answer."""

    @classmethod
    def of(cls, generation: GenerationSettings, prompt: str) -> ThoughtTracker | None:
        """Return a tracker of a completion; None where no limit or stop depends on thoughts."""
        if generation.budget is None and not generation.stop:
            return None
        formats = formats_of(generation.thinking_tags)
        if generation.thinking_tags is None:
            formats = (*formats, HARMONY)
        opened = opened_format(prompt, formats)
        if opened is None:
            return cls(generation, formats)
        return cls(generation, (opened,), "thinking")

    def follow(self, tokenizer: Any, token_ids: Sequence[int]) -> None:
        """Take note of the last token of a completion."""
        if self.state == "unknown":
            text = tokenizer.decode(token_ids, skip_special_tokens=False).lstrip()
            self.formats = [f for f in self.formats if _may_begin(text, f.open)]
            begun = [f for f in self.formats if text.startswith(f.open)]
            if begun:
                self.formats, self.state = begun, "thinking"
            elif not self.formats:
                self.state = "answering"
        elif self.state == "thinking":
            tail = tokenizer.decode(token_ids[-_TAIL:], skip_special_tokens=False)
            if any(end in tail for end in self._ends()):
                self.state, self.answer_at = "answering", len(token_ids)

    def _ends(self) -> Iterator[str]:
        for one in self.formats:
            yield one.close
            if one is HARMONY:
                yield "<|channel|>commentary"

    def stops(self, tokenizer: Any, token_ids: Sequence[int]) -> bool:
        """Return whether the answer holds a stop; a stop in the thoughts ends nothing."""
        if self.state == "thinking" or not self.generation.stop:
            return False
        text = tokenizer.decode(token_ids[self.answer_at :], skip_special_tokens=True)
        return any(stop in text for stop in self.generation.stop)

    def is_full(self, count: int) -> bool:
        """Return whether a completion of `count` tokens has reached its limit."""
        budget = self.generation.budget
        if budget is None:
            return count >= self.generation.max_new_tokens
        if self.state == "thinking":
            return count >= budget
        if self.state == "unknown":  # what has begun may still be a tag
            return count >= self.generation.max_new_tokens + _TAIL
        return count - self.answer_at >= self.generation.max_new_tokens


def _may_begin(text: str, tag: str) -> bool:
    return tag.startswith(text) or text.startswith(tag)
