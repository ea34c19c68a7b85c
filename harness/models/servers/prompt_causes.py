"""Prompt causes: why a server's prompt is not what the trained chat template writes, in words.

Where one render of the trained template explains what is served, such as one without a generation
prompt, that is the cause. What cannot be rendered again, such as a foreign template, is known by
the texts that it leaves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tunegate.harness.contracts.model import excerpt, first_difference
from tunegate.harness.models._chat_template import parse_arguments
from tunegate.harness.models._thinking_switch import SWITCHES
from tunegate.harness.records.cases import Case
from tunegate.harness.records.generation import GenerationSettings

_FAMILIES = {
    "ChatML": "<|im_start|>",
    "Llama 3": "<|start_header_id|>",
    "Llama 4": "<|header_start|>",
    "Gemma": "<start_of_turn>",
    "Mistral or Llama 2": "[INST]",
    "Phi or Zephyr": "<|user|>",
    "gpt-oss (Harmony)": "<|start|>user<|message|>",
    "DeepSeek": "<｜User｜>",
    "Command": "<|START_OF_TURN_TOKEN|>",
    "Granite": "<|start_of_role|>",
    "Alpaca": "### Instruction:",
    "Vicuna": "USER: ",
}
"""Family of chat templates → the text that it writes in front of a user's turn."""
_DATE = re.compile(
    r"\b(?:\d{1,2} [A-Z][a-z]{2,8} \d{4}|[A-Z][a-z]{2,8} \d{1,2}, \d{4}|\d{4}-\d\d-\d\d)\b"
)
_SWITCH = re.compile(r"/(?:no_)?think\b")
"""What some templates read in a user's message, and leave out."""
_THOUGHTS = re.compile(r"think|reasoning|thought|analysis", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class BuiltPrompt:
    """A prompt as one side builds it, with its token at the beginning of the sequence apart."""

    text: str
    token_ids: tuple[int, ...] | None
    fronts: int = 0
    """How often the beginning of sequence is in front of the text."""

    @classmethod
    def of(
        cls, text: str, token_ids: tuple[int, ...] | None, tokenizer: Any, bos: str | None = None
    ) -> BuiltPrompt:
        """Read a prompt; its text may lack the token in front, as llama.cpp's does."""
        bos = getattr(tokenizer, "bos_token", None) or bos
        while bos and text.startswith(bos):
            text = text[len(bos) :]
        if token_ids is None:
            return cls(text, None)
        begin = getattr(tokenizer, "bos_token_id", None)
        fronts = next((i for i, token in enumerate(token_ids) if token != begin), len(token_ids))
        return cls(text, token_ids[fronts:], fronts)

    def equals(self, other: BuiltPrompt) -> bool:
        """Return whether the tokens are equal, or the texts where one side has no tokens."""
        if self.token_ids is None or other.token_ids is None:
            return self.text == other.text
        return (self.fronts, self.token_ids) == (other.fronts, other.token_ids)

    def excerpts(self, other: BuiltPrompt) -> tuple[str, str]:
        """Return both around their first difference: texts, or token ids of equal texts."""
        if self.text != other.text:
            at = first_difference(self.text, other.text)
            return excerpt(self.text, at), excerpt(other.text, at)
        token_ids = self.token_ids or (), other.token_ids or ()
        if token_ids[0] == token_ids[1]:
            return f"{self.fronts} BOS", f"{other.fronts} BOS"
        at = first_difference(*token_ids)
        mine, theirs = (str(list(ids[max(0, at - 2) : at + 4])) for ids in token_ids)
        return f"the token ids {mine}", f"the token ids {theirs}"


def name_cause(
    case: Case,
    generation: GenerationSettings,
    trained: BuiltPrompt,
    served: BuiltPrompt,
    tokenizer: Any,
) -> str:
    """Return why a served prompt is not the trained one, in words."""
    if trained.text == served.text:
        return _of_tokens(trained, served)
    return next(filter(None, _of_texts(case, generation, trained.text, served.text, tokenizer)))


def _of_tokens(trained: BuiltPrompt, served: BuiltPrompt) -> str:
    """Return the cause where the texts are equal."""
    if trained.token_ids != served.token_ids:
        return "the same text is split into other tokens"
    if served.fronts > trained.fronts:
        if trained.fronts:
            return "a doubled BOS: the server puts its own in front of the chat template's"
        return "a BOS in front, where there should be none"
    return "no BOS in front" if not served.fronts else "one BOS in front, where there should be two"


def _of_texts(
    case: Case, generation: GenerationSettings, trained: str, served: str, tokenizer: Any
) -> Iterator[str]:
    """Yield the causes that explain two texts, the likeliest first; empty where one does not."""
    families = _families(trained), _families(served)
    if not lost_message(case, trained):
        yield lost_message(case, served)
    if families[0] != families[1] and all(families):
        yield f"the chat template of another model: {families[1]} instead of {families[0]}"
    if _squeeze(trained) == _squeeze(served):
        yield "white space that one of the two trims or adds"
    renders = _Renders(case, generation, tokenizer)
    yield _thinking(renders, trained, served)
    yield _generation_prompt(renders, trained, served)
    if _DATE.sub("", trained) == _DATE.sub("", served):
        days = next(zip(_DATE.findall(trained), _DATE.findall(served), strict=False), ("?", "?"))
        yield f"today's date is in the prompt: {days[1]} instead of {days[0]}"
    yield _tools(case, renders, trained, served)
    yield _system(case, renders, trained, served)
    if bool(families[1]) != bool(families[0]):
        yield f"another chat template: {families[1] or 'one without known marks'} is served"
    yield "another chat template, or another version of it"


def _families(text: str) -> str:
    return " and ".join(name for name, mark in _FAMILIES.items() if mark in text)


def _last_text(case: Case) -> str:
    texts = [turn.get("content") for turn in case.input_messages() if turn.get("role") == "user"]
    return texts[-1].strip() if texts and isinstance(texts[-1], str) else ""


def lost_message(case: Case, served: str) -> str:
    """Return that a served prompt lacks what the user wrote; empty if it has it."""
    last = _SWITCH.sub("", _last_text(case))
    written = (last, json.dumps(last)[1:-1], json.dumps(last, ensure_ascii=False)[1:-1])
    if any(_squeeze(text) in _squeeze(served) for text in written):
        return ""
    whole = f": the whole prompt is {excerpt(served, 0)}" if len(served) < 60 else ""
    return f"the user's message is not in the prompt{whole}"


def lost_tools(case: Case, served: str) -> str:
    """Return that a served prompt lacks a tool; empty if it has all of them."""
    names = [str(tool.get("function", tool).get("name", "")) for tool in case.tools or ()]
    return "the tools are not in the prompt" if any(n not in served for n in names) else ""


def _generation_prompt(renders: _Renders, trained: str, served: str) -> str:
    if served != trained and trained.startswith(served) and served:
        return f"no generation prompt: {trained[len(served) :]!r} is missing at the end"
    if renders.of(add_generation_prompt=False) == served:
        return "no generation prompt at the end"
    return ""


def _thinking(renders: _Renders, trained: str, served: str) -> str:
    for on, word in ((True, "on"), (False, "off")):
        values = {name: pair[0 if on else 1] for name, pair in SWITCHES.items()}
        wanted = {name: value for name, value in values.items() if value is not None}
        if renders.of(**wanted) == served:
            return f"thinking is switched {word} by the server"
    start = first_difference(trained, served)
    ends = trained[start:], served[start:]
    thoughts = [len(_THOUGHTS.findall(end)) for end in ends]
    if thoughts[0] != thoughts[1] and all(len(end) < 80 for end in ends):
        return f"thinking is switched: the prompt ends in {ends[1]!r} instead of {ends[0]!r}"
    return ""


def _tools(case: Case, renders: _Renders, trained: str, served: str) -> str:
    if not case.tools:
        return ""
    if renders.of(tools=None) == served:
        return "the tools are left out"
    if renders.of(tools=[*map(_in_order, case.tools)]) == served:
        return (
            "the tools are written in the order name, description, parameters, with an empty "
            "description for a tool without one"
        )
    names = [str(tool.get("function", tool).get("name", "")) for tool in case.tools]
    at = first_difference(trained, served)
    first = min((trained.find(name) for name in names if name in trained), default=len(trained))
    if not all(name in served for name in names):
        return "the tools are left out"
    written = any("parameters" in tool.get("function", tool) for tool in case.tools)
    forms = [bool(re.search(r'"name"\s*:', text)) for text in (trained, served)]
    if written and forms[0] and not forms[1]:
        return "the tools are written as a schema of another form instead of JSON"
    if written and not forms[0] and forms[1]:
        return "the tools are written as JSON instead of a schema of another form"
    if at <= first + len(str(case.tools)):
        return "the tools are written in another form"
    return ""


def _in_order(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool as llama.cpp reads and writes it again (common/chat.cpp)."""
    function = tool.get("function", tool)
    kept = {"name": function.get("name"), "description": function.get("description", "")}
    kept["parameters"] = function.get("parameters", {})
    return {"type": "function", "function": kept}


def _system(case: Case, renders: _Renders, trained: str, served: str) -> str:
    """Return the cause where a system prompt was put in front, left out or replaced."""
    system_texts = [
        t.get("content") for t in renders.turns if t.get("role") in ("system", "developer")
    ]
    at = first_difference(trained, served)
    tail = first_difference(trained[::-1], served[::-1])
    tail = min(tail, len(trained) - at, len(served) - at)
    removed, added = trained[at : len(trained) - tail], served[at : len(served) - tail]
    front = trained.find(_last_text(case))
    if front >= 0 and at > front:
        return ""
    if system_texts and system_texts[0] and str(system_texts[0]).strip() not in served:
        return "the system prompt of the conversation is left out or replaced by the server's"
    if not removed.strip() and added.strip():
        return f"a system prompt that the server puts in front: {excerpt(added, 0)}"
    if not added.strip() and removed.strip():
        return f"the default system prompt is missing: {excerpt(removed, 0)}"
    if "system" in trained[:at] and "system" in served[:at] and not system_texts:
        return (
            f"another default system prompt: {excerpt(added, 0)} instead of {excerpt(removed, 0)}"
        )
    return ""


def _squeeze(text: str) -> str:
    return "".join(text.split())


class _Renders:
    """The trained template with other settings, each rendered once."""

    def __init__(self, case: Case, generation: GenerationSettings, tokenizer: Any) -> None:
        self.turns = [*map(parse_arguments, case.input_messages(generation.system))]
        self._tools = list(case.tools) if case.tools else None
        template_kwargs: Mapping[str, Any] = generation.chat_template_kwargs or {}
        self._settings = {**template_kwargs, "add_generation_prompt": True}
        if generation.chat_template is not None:
            self._settings["chat_template"] = generation.chat_template
        self._tokenizer = tokenizer

    def of(self, **settings: Any) -> str | None:
        """Return the text without its beginning of sequence; None if it cannot be rendered."""
        if self._tokenizer is None:
            return None
        options = {"tools": self._tools, **self._settings, **settings}
        try:
            text = self._tokenizer.apply_chat_template(self.turns, tokenize=False, **options)
        except Exception:  # whatever a template raises: this is no cause then
            return None
        return BuiltPrompt.of(str(text), None, self._tokenizer).text
