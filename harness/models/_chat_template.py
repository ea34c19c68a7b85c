"""Chat templates: from a case to token ids."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any
from weakref import WeakKeyDictionary

from tunegate.harness.contracts.model import Arm, Prompt, RecordedArm
from tunegate.harness.contracts.reasoning import close_thoughts
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import ModelError, error_reason
from tunegate.harness.records.generation import TEMPLATES_OF, GenerationSettings
from tunegate.harness.records.hashing import sha256

PROBES = (
    "The capital of France is",
    "Write one line of JSON with a name and an age.",
    "Summarise: the meeting was moved from Monday to Tuesday because the room was taken.",
    "def add(a, b):",
    "Question: Which planet is known for its rings?\nAnswer:",
    "Dear customer, your order",
    "1, 2, 3, 4,",
    "How do I make a cup of tea?",
)
"""Texts on which the arms are compared before any scoring: by logits, or by what they answer."""
_MOST_ADDED = 1_000_000
_MOST_GROWTH = 10
"""Longest prompt: this many characters, plus this many times those of the conversation."""
_MOST_KEPT = 1000
_LONGEST_KEPT = 4000
"""The tokens of this many texts, each of at most this many characters, are remembered."""


def render_prompt(
    tokenizer: Any, case: Case, generation: GenerationSettings, *, spec: str
) -> Prompt:
    """Return the prompt of a case: rendered with the chat template or as it is, and tokenised once.

    Raises:
        ValueError: the template is missing, refuses the case, or hides its tools.
        ModelError: the template writes too long a text.
    """
    if generation.template == "none":
        text = plain_prompt(case, generation)
        return Prompt(text, tokenize_text(tokenizer, text, special=True))
    template = generation.chat_template or tokenizer.chat_template
    if not template:
        raise ValueError(
            f'{spec} has no chat template; under [generation], chat_template = "tuned" gives both '
            'arms that of tuned, a file gives them its own, and template = "none" does without'
        )
    turns = list(case.input_messages(generation.system))
    read = [*map(parse_arguments, turns)]
    tools = list(case.tools) if case.tools else None
    template_argument = {} if generation.chat_template is None else {"chat_template": template}
    variables = {**chat_variables(tokenizer, generation, spec=spec), **template_argument}
    try:
        text = render_chat(tokenizer, read, tools, spec=spec, variables=variables)
    except ValueError as refusal:  # whatever the template raises is about this case
        if read == turns:
            raise
        try:  # there are templates that put the arguments' JSON text in as it is
            text = render_chat(tokenizer, turns, tools, spec=spec, variables=variables)
        except ValueError:
            raise refusal from None
    if _hides_text(read, text):
        text = _render_parts(
            read, text, lambda t: render_chat(tokenizer, t, tools, spec=spec, variables=variables)
        )
    _refuse_hidden_tools(case, text)
    _refuse_surrogates(text)
    closed = close_thoughts(text, generation)
    answering = None if closed is None else Prompt(closed, tokenize_text(tokenizer, closed))
    return Prompt(text, tokenize_text(tokenizer, text), answering)


def chat_variables(
    tokenizer: Any, generation: GenerationSettings, *, spec: str
) -> Mapping[str, Any]:
    """Return the chat template's variables: the suite's own, and what switches thinking."""
    if generation.thinking == "template":
        return generation.chat_template_kwargs or {}
    # imported here, for most suites do not switch it
    from tunegate.harness.models._thinking_switch import template_variables

    template = generation.chat_template or tokenizer.chat_template
    template_argument = {} if generation.chat_template is None else {"chat_template": template}
    probe = partial(render_chat, tokenizer, _PROBE_TURN, spec=spec)
    return template_variables(
        str(template), generation, lambda v: probe(variables={**v, **template_argument}), spec=spec
    )


def tokenize_text(tokenizer: Any, text: str, *, special: bool = False) -> tuple[int, ...]:
    """Return the token ids of a text; arms that share a tokenizer split it once."""
    cached = _tokens.setdefault(tokenizer, {})
    key = (text, special, len(tokenizer))
    if (ids := cached.get(key)) is None:
        try:
            ids = tuple(tokenizer(text, add_special_tokens=special)["input_ids"])
        except BaseException as error:  # a panic in Rust is not an Exception
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            raise ValueError(f"the tokenizer cannot split it: {error_reason(error)}") from error
        if len(cached) >= _MOST_KEPT:
            cached.clear()
        if len(text) <= _LONGEST_KEPT:
            cached[key] = ids
    return ids


def share_template(generation: GenerationSettings, arms: Mapping[str, Arm]) -> GenerationSettings:
    """Return the settings with the text of the chat template that the suite gives to all arms."""
    name = generation.chat_template
    if name not in TEMPLATES_OF or all(isinstance(arm, RecordedArm) for arm in arms.values()):
        return generation
    arm = arms[name]
    templates = getattr(getattr(arm, "tokenizer", None), "chat_template", None)
    text = templates.get("default") if isinstance(templates, dict) else templates
    if not text:
        raise ValueError(
            f'chat_template = "{name}": {arm.identity.get("spec")} has no chat template here; '
            "give the name of a file that holds one"
        )
    return generation.model_copy(update={"chat_template": str(text)})


_PROBE_TURN = ({"role": "user", "content": "Hello"},)


def render_chat(
    tokenizer: Any,
    turns: Sequence[Mapping[str, Any]],
    tools: Sequence[Any] | None = None,
    *,
    spec: str,
    add_generation_prompt: bool = True,
    variables: Mapping[str, Any] = MappingProxyType({}),
) -> str:
    """Return the conversation as the chat template writes it, up to where the answer begins."""
    from transformers import PreTrainedTokenizerBase

    apply = type(tokenizer).apply_chat_template
    if apply is not PreTrainedTokenizerBase.apply_chat_template and "chat_template" in variables:
        raise ModelError(
            f"{spec}: its tokenizer writes chats by its own code, without a template; remove "
            "chat_template under [generation]"
        )
    settings = {
        "add_generation_prompt": add_generation_prompt,
        "continue_final_message": not add_generation_prompt,
        "tokenize": False,
        **variables,
    }
    try:  # Transformers renders in Jinja's sandbox
        text = str(tokenizer.apply_chat_template(turns, tools=tools, **settings))
    except Exception as error:
        raise ValueError(f"the chat template refuses it: {error_reason(error)}") from error
    if len(text) > (most := _MOST_ADDED + _MOST_GROWTH * len(json.dumps([turns, tools]))):
        raise ModelError(
            f"{spec}: its chat template writes a prompt of {len(text):,} characters; at most "
            f"{most:,} are allowed for this conversation; use a model with another template"
        )
    return text


def _refuse_surrogates(text: str) -> None:
    """Raise ValueError if a prompt is not valid Unicode text."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the chat template writes half of a surrogate pair at character {error.start}, "
            "which no tokenizer reads"
        ) from error


_tokens: WeakKeyDictionary[Any, dict[tuple[str, bool, int], tuple[int, ...]]] = WeakKeyDictionary()
"""Tokenizer → text, whether with special tokens, and the size of the vocabulary → token ids."""


def parse_arguments(turn: Mapping[str, Any]) -> dict[str, Any]:
    """Return a turn whose tool calls have their arguments as an object.

    OpenAI's API writes them as a JSON text; chat templates write what they are given as JSON, and
    would quote a text once more.
    """
    if not isinstance(calls := turn.get("tool_calls"), (list, tuple)):
        return dict(turn)
    return {**turn, "tool_calls": [*map(_call_read, calls)]}


def _call_read(call: Any) -> Any:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        return call
    try:
        arguments = json.loads(function["arguments"])
    except (ValueError, RecursionError):
        return call
    if not isinstance(arguments, dict):
        return call
    return {**call, "function": {**function, "arguments": arguments}}


def _hides_text(turns: Sequence[Mapping[str, Any]], text: str) -> bool:
    """Return whether a template left out what a system prompt or a user says."""
    said = [turn.get("content") for turn in turns if turn.get("role") in ("system", "user")]
    return any(isinstance(one, str) and one.strip() not in text for one in said)


def _render_parts(
    turns: Sequence[Mapping[str, Any]], text: str, render: Callable[[Sequence[Any]], str]
) -> str:
    """Return the text of turns whose contents are lists of parts, if that shows them; else `text`.

    Templates of models that see, such as SmolVLM's, read nothing but parts.
    """
    parted = [
        {**turn, "content": [{"type": "text", "text": content}]}
        if isinstance(content := turn.get("content"), str)
        else turn
        for turn in turns
    ]
    try:
        again = render(parted)
    except ValueError:
        return text
    return text if _hides_text(turns, again) or "{'type': 'text'" in again else again


def _refuse_hidden_tools(case: Case, text: str) -> None:
    """Raise ValueError if the template leaves tools out: no model calls what it never saw."""
    names = [str(tool.get("function", tool).get("name", "")) for tool in case.tools or ()]
    hidden = next((name for name in names if name not in text), None)
    if hidden is not None:
        raise ValueError(
            f"the chat template does not show the tool {hidden!r}; use a model whose template "
            'knows tools, or describe them in the system prompt: tools = "system" under [episode], '
            "`tunegate serve --tools system`; leave `tools` out of the cases of other suites"
        )


def plain_prompt(case: Case, generation: GenerationSettings) -> str:
    """Return the text of a case without a chat template."""
    if case.prompt is None:
        raise ValueError('template = "none" needs cases with a prompt, not messages')
    return f"{generation.system}\n\n{case.prompt}" if generation.system else case.prompt


def fingerprint_of(tokenizer: Any) -> str:
    """Return the hash of how a tokenizer splits texts.

    Two saves of one tokenizer may write an absent prefix as null or as empty, and the padding and
    truncation of the call before: neither splits a text otherwise.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return sha256(tokenizer.get_vocab())
    content = json.loads(backend.to_str())
    content |= {"padding": None, "truncation": None}
    content["model"] = {name: None if v == "" else v for name, v in content["model"].items()}
    return sha256(content)
