r"""Thoughts of reasoning models: splitting a completion into thoughts and answer.

A reasoning model writes thoughts between tags, then its answer, which metrics and judges read. The
rules are those of servers (vLLM's and SGLang's reasoning parsers):

- Thoughts come first. A tag in the middle of an answer is part of the answer.
- They begin with the opening tag, or with the completion if the chat template has written the tag
  at the end of the prompt.
- They end at the first closing tag, or where a tool call begins.
- If the prompt is unknown (recorded answers, a server that renders messages), a closing tag without
  an opening one ends thoughts, too.

Example:
    >>> found = split_text("<think>\n2 + 2 = 4\n</think>\n\nFour.")
    >>> found.reasoning, found.answer, found.closed
    ('\n2 + 2 = 4\n', 'Four.', True)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunegate.harness.records.answers import Completion
from tunegate.harness.records.generation import GenerationSettings


class ThinkingMismatch(ValueError):
    """A suite asks for thinking in a way that the model's chat template does not support."""


@dataclass(frozen=True, slots=True)
class ThinkingFormat:
    """The tags by which a family of models separates thoughts and answer."""

    open: str
    close: str
    wrappers: tuple[tuple[str, str], ...] = ()
    """Tags that may enclose the whole answer; they are dropped."""
    closes_alone: bool = True
    """Whether the closing tag without an opening one ends thoughts."""


_RESPONSE = (("<response>", "</response>"),)
FORMATS = (
    # Qwen3, DeepSeek-R1, GLM-4.5, SmolLM3, Nemotron, Kimi K2, MiniMax M2, Granite 3.3, Hunyuan …
    ThinkingFormat("<think>", "</think>", _RESPONSE),
    ThinkingFormat("[THINK]", "[/THINK]"),  # Magistral, Ministral
    ThinkingFormat("<seed:think>", "</seed:think>"),  # Seed-OSS
    ThinkingFormat("<mm:think>", "</mm:think>"),  # MiniMax M3
    ThinkingFormat("<think:opensource>", "</think:opensource>"),  # Hy3
    ThinkingFormat("◁think▷", "◁/think▷"),  # Kimi-VL
    ThinkingFormat(  # Command A, Command R7B
        "<|START_THINKING|>",
        "<|END_THINKING|>",
        (("<|START_RESPONSE|>", "<|END_RESPONSE|>"), ("<|START_TEXT|>", "<|END_TEXT|>")),
    ),
    ThinkingFormat("<|channel>thought\n", "<channel|>"),  # Gemma 4
    ThinkingFormat("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    ThinkingFormat(  # Sky-T1, Bespoke-Stratos
        "<|begin_of_thought|>",
        "<|end_of_thought|>",
        (("<|begin_of_solution|>", "<|end_of_solution|>"),),
    ),
    ThinkingFormat(  # Apriel, opened by its template
        "Here are my reasoning steps:\n",
        "[BEGIN FINAL RESPONSE]",
        (("", "[END FINAL RESPONSE]"),),
    ),
    ThinkingFormat(  # Granite 3.2
        "Here is my thought process:", "Here is my response:", closes_alone=False
    ),
    ThinkingFormat("Here's my thought process:", "Here's my response:", closes_alone=False),
    # The tags of common recipes for reinforcement learning
    ThinkingFormat("<reasoning>", "</reasoning>", closes_alone=False),
    ThinkingFormat("<thinking>", "</thinking>", closes_alone=False),
    ThinkingFormat("<thought>", "</thought>", closes_alone=False),
    ThinkingFormat(
        "<start_working_out>",
        "<end_working_out>",
        (("<SOLUTION>", "</SOLUTION>"),),
        closes_alone=False,
    ),
)
"""The known formats, with the most common tags first; harmony (gpt-oss) has its own rules."""
SWITCHES_OF_SERVERS = ("enable_thinking", "thinking")
"""Variables of chat templates that switch thinking on or off at a server; both are sent."""
HARMONY = ThinkingFormat("<|channel|>analysis", "<|channel|>final<|message|>")
_MESSAGE = re.compile(
    r"(?:<\|start\|>)?(?P<role>[^<>|]{0,200})<\|channel\|>(?P<channel>\w+)(?P<header>[^<]{0,400})"
    r"(?:<\|constrain\|>(?P<form>[^<]{0,100}))?<\|message\|>(?P<content>.*?)"
    r"(?P<end><\|end\|>|<\|return\|>|<\|call\|>|(?=<\|start\|>|<\|channel\|>)|\Z)",
    re.DOTALL,
)
"""A message of OpenAI's harmony format, as gpt-oss writes it."""
_BARE_HARMONY = re.compile(
    r"(?P<before>\s*analysis)(?P<thoughts>.*?)(?P<after>assistantfinal)(?P<answer>.*)", re.DOTALL
)
"""The same after a library has dropped the special tokens."""
_TOOL_CALL = re.compile(
    r"^[ \t]*(?=<tool_call>|<\|tool_calls_section_begin\|>|\[TOOL_CALLS\])", re.MULTILINE
)
"""Beginnings of a tool call, which end thoughts without a closing tag."""
_QUOTES = "`\"'“‘«"
_SPACE = re.compile(r"\s*")


@dataclass(frozen=True, slots=True)
class SplitText:
    """A completion's text in its parts: `before + reasoning + after + answer` is the text."""

    before: str
    """The opening tag; empty if the prompt has it."""
    reasoning: str
    after: str
    """The closing tag, with the white space and the tag before the answer."""
    answer: str
    """The answer; empty if the thoughts did not end."""
    closed: bool
    """Whether the thoughts ended."""

    def without(self, tokens: Sequence[str]) -> SplitText:
        """Return the parts without some texts, such as a tokenizer's special tokens."""
        reasoning, answer = self.reasoning, self.answer
        for token in tokens:
            reasoning, answer = reasoning.replace(token, ""), answer.replace(token, "")
        return SplitText(self.before, reasoning, self.after, answer, self.closed)


def formats_of(tags: Sequence[str] | None) -> tuple[ThinkingFormat, ...]:
    """Return the formats to look for: the suite's own tags, or all known ones."""
    if tags is None:
        return FORMATS
    return (ThinkingFormat(tags[0], tags[1]),) if tags else ()


def opened_format(
    prompt: str, formats: Sequence[ThinkingFormat] = FORMATS
) -> ThinkingFormat | None:
    """Return the format whose opening tag ends a prompt, or None."""
    end = prompt.rstrip()
    return next((f for f in formats if end.endswith(f.open.rstrip())), None)


def close_thoughts(prompt: str, generation: GenerationSettings) -> str | None:
    """Return a prompt that opens thoughts with empty thoughts instead; None if it opens none."""
    opened = opened_format(prompt, formats_of(generation.thinking_tags))
    if opened is None:
        return None
    spaced = prompt != prompt.rstrip()
    return f"{prompt}\n{opened.close}\n\n" if spaced else f"{prompt}{opened.close}"


def mentions_thinking(template: str) -> bool:
    """Return whether a chat template has the tags of some format."""
    return any(one.close in template for one in (*FORMATS, HARMONY) if one.closes_alone) or (
        "<|channel|>analysis" in template
    )


def split_text(
    text: str, *, prompt: str | None = None, tags: Sequence[str] | None = None
) -> SplitText | None:
    """Split a completion into thoughts and answer.

    Args:
        text: The completion.
        prompt: The prompt as the model saw it; None if unknown.
        tags: The suite's `thinking_tags`.

    Returns:
        The parts; None if there are no thoughts.
    """
    formats = formats_of(tags)
    if tags is None and (split := _split_harmony(text)) is not None:
        return split
    start = len(text) - len(text.lstrip())
    opened = None if prompt is None else opened_format(prompt, formats)
    for form in formats:
        if text.startswith(form.open, start):
            return _split_at(text, form, start + len(form.open))
        if text.startswith(form.close, start) and form.closes_alone:
            return _split_at(text, form, start)
    if opened is not None:
        return _split_at(text, opened, 0)
    if prompt is None:
        alone = ((_bare_close(text, form), form) for form in formats if form.closes_alone)
        closed = [(at, form) for at, form in alone if at > 0]
        if closed:
            at, form = min(closed, key=lambda place: place[0])
            return _split_at(text, form, 0, at)
    return None


def _bare_close(text: str, form: ThinkingFormat) -> int:
    """Return where a closing tag without an opening one ends thoughts; -1 without such a tag."""
    at = text.find(form.close)
    while at > 0 and text[at - 1] in _QUOTES:
        at = text.find(form.close, at + 1)
    return -1 if at < 0 or form.open in text[:at] else at


def _split_at(text: str, form: ThinkingFormat, start: int, at: int | None = None) -> SplitText:
    """Split a text with thoughts from `start` up to the closing tag, which is at `at` if known."""
    at = text.find(form.close, start) if at is None else at
    if at < 0:
        call = _TOOL_CALL.search(text, start)
        if call is None:
            return SplitText(text[:start], text[start:], "", "", closed=False)
        return SplitText(
            text[:start], text[start : call.start()], "", text[call.start() :], closed=True
        )
    begin = _space_end(text, at + len(form.close))
    answer = text[begin:]
    for before, after in form.wrappers:
        if answer.startswith(before) and (before or answer.rstrip().endswith(after)):
            begin = _space_end(text, begin + len(before))
            answer = text[begin:].rstrip().removesuffix(after)
            break
    return SplitText(text[:start], text[start:at], text[at:begin], answer, closed=True)


def _space_end(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _split_harmony(text: str) -> SplitText | None:
    """Split the messages of gpt-oss: `analysis` is thoughts, `final` and `commentary` the answer.

    A message to a tool becomes a call in Hermes' format, which the metric `tool_calls` reads.
    """
    if "<|channel|>" not in text:
        bare = _BARE_HARMONY.fullmatch(text)
        if bare is None:
            return None
        before, thoughts, after, answer = bare.group("before", "thoughts", "after", "answer")
        return SplitText(before, thoughts, after, answer, closed=True)
    if not text.lstrip().startswith(("<|channel|>", "<|start|>")):
        return None
    analysis: list[str] = []
    answers: list[str] = []
    before = after = ""
    for message in _MESSAGE.finditer(text):
        lead = text[message.start() : message.start("content")]
        if message["channel"] == "analysis" and "to=" not in message["role"] + message["header"]:
            before = before or lead
            analysis.append(message["content"])
        else:
            after = after or lead
            answers.append(_harmony_answer(message))
    if not analysis and not answers:
        return None
    reasoning, answer = "\n".join(analysis), "\n".join(answers)
    if not analysis:
        return SplitText(after, "", "", answer, closed=True)
    return SplitText(before, reasoning, f"<|end|>{after}" if after else "", answer, bool(answers))


def _harmony_answer(found: re.Match[str]) -> str:
    recipient = re.search(r"to=(?:functions\.)?([\w.-]+)", f"{found['role']} {found['header']}")
    if recipient is None:
        return found["content"]
    return call_text(recipient[1], found["content"])


def call_text(name: Any, arguments: Any) -> str:
    """Return a call in Hermes' format; arguments that are not JSON, or too deep, stay a text."""
    try:
        parsed = json.loads(arguments) if isinstance(arguments, str) else arguments
        call = json.dumps({"name": name, "arguments": parsed}, ensure_ascii=False)
    except (ValueError, RecursionError):  # the metric says what is wrong with it
        kept = arguments if isinstance(arguments, str) else None
        call = json.dumps({"name": name, "arguments": kept}, ensure_ascii=False)
    return f"<tool_call>{call}</tool_call>"


def separate_thoughts(
    completion: Completion, generation: GenerationSettings, *, prompt: str | None = None
) -> Completion:
    """Return a completion with its thoughts separated from its text, unless they already are.

    Args:
        completion: The completion.
        generation: The suite's settings.
        prompt: The prompt as the model saw it; None if unknown.
    """
    if completion.text is None or completion.thinks:
        return completion
    split = split_text(completion.text, prompt=prompt, tags=generation.thinking_tags)
    return completion if split is None else completion.model_copy(update=split_fields(split))


def without_thoughts(completion: Completion) -> Completion:
    """Return a completion with its thoughts separated, without any suite's settings."""
    return separate_thoughts(completion, GenerationSettings())


def split_fields(split: SplitText) -> dict[str, Any]:
    """Return the fields of a completion that a split text fills."""
    return {
        "text": split.answer,
        "reasoning": split.reasoning,
        "reasoning_closed": split.closed,
        "reasoning_tags": (split.before, split.after),
    }


def written_text(completion: Completion) -> str:
    """Return a completion's whole text, with thoughts and tags if known."""
    before, after = completion.reasoning_tags or ("", "")
    return f"{before}{completion.reasoning or ''}{after}{completion.text or ''}"


def answer_tokens(completion: Completion) -> int | None:
    """Return the tokens of a completion's answer without its thoughts; None if unknown."""
    if completion.output_tokens is None:
        return None
    if completion.thinks and completion.reasoning_tokens is None:
        return None
    return max(0, completion.output_tokens - (completion.reasoning_tokens or 0))


def thought_facts(completion: Completion) -> Iterator[str]:
    """Yield what a reader is shown about a completion's thoughts: tokens, time, how they ended."""
    count, seconds = completion.reasoning_tokens, completion.reasoning_s
    size = completion.batch_size
    yield "number of tokens not known" if count is None else f"{count} tokens"
    shared = f" in a batch of {size}" if size is not None and size > 1 else ""
    yield "time not known" if seconds is None else f"{seconds:.2f} s{shared}"
    if completion.reasoning_closed is False:
        yield "not ended"
    if completion.reasoning is None:
        yield "hidden by the provider"


HAS_THOUGHTS = "has_thoughts"
"""Part of a score: 1 if the completion has thoughts."""


def share_of_thoughts(
    completion: Completion, whole: float, thoughts: float | None
) -> dict[str, float]:
    """Divide a time or price between thoughts and answer, as parts of a score.

    Args:
        completion: The completion.
        whole: The time or price of both together.
        thoughts: That of the thoughts; None if unknown.

    Returns:
        `has_thoughts`, `thinking` and `answer`; unknown parts are absent, never 0.
    """
    if not completion.thinks:
        return {}
    if thoughts is None:
        return {HAS_THOUGHTS: 1.0}
    return {HAS_THOUGHTS: 1.0, "thinking": thoughts, "answer": max(0.0, whole - thoughts)}


def no_answer_reason(completion: Completion) -> str | None:
    """Return why no answer follows the thoughts; None if there is one, or no thoughts."""
    if not completion.thinks or (completion.text or "").strip():
        return None
    count = completion.reasoning_tokens
    spent = "" if count is None else f" after {count} tokens"
    if completion.reasoning_closed is False:
        return f"no answer: the thoughts had not ended{spent}"
    return "no answer: nothing follows the thoughts"


def message_thoughts(message: Mapping[str, Any]) -> str | None:
    """Return the thoughts of a chat message that a server has separated, or None.

    Source: `reasoning_content` (DeepSeek, SGLang, llama.cpp, litellm), `reasoning` (vLLM, Ollama,
    OpenRouter), `thinking_blocks` (litellm for Anthropic), parts of the content of type `thinking`
    (Anthropic, Mistral) or `reasoning` (Inspect).
    """
    for key in ("reasoning_content", "reasoning"):
        if isinstance(text := message.get(key), str) and text:
            return text
    parts = [p for key in ("thinking_blocks", "content") for p in _objects(message.get(key))]
    texts = [p.get(str(p["type"])) for p in parts if p.get("type") in ("thinking", "reasoning")]
    flat = [text if isinstance(text, str) else _joined_text(text) for text in texts]
    return "\n".join(filter(None, flat)) or None


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _joined_text(parts: Any) -> str:
    return "".join(text for part in _objects(parts) if isinstance(text := part.get("text"), str))
