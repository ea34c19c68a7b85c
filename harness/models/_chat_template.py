"""Chat templates: from a case to token ids, and the token ids of continuations.

The texts whose likelihood is asked after a prompt, as tokens. Tokens are split as lm-eval does
(`_encode_pair`): prompt and continuation are tokenised together, and what exceeds the prompt's
tokens is the continuation. Where a token would reach across the border, the prompt stays as the arm
was given it and the continuation is tokenised alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tunegate.harness.model import Prompt, Request
from tunegate.harness.records.cases import Case, CellKind, GenerationSettings, sha256

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


def render_prompt(
    tokenizer: Any, case: Case, generation: GenerationSettings, *, spec: str
) -> Prompt:
    """Return the prompt of a case: rendered with the chat template or as it is, and tokenised once.

    Raises:
        ValueError: the template is missing, refuses the case, or hides its tools.
    """
    if generation.template == "none":
        text = plain_prompt(case, generation)
        return Prompt(text, tuple(tokenizer(text)["input_ids"]))
    if not tokenizer.chat_template:
        raise ValueError(f'{spec} has no chat template; set template = "none" under [generation]')
    turns = list(case.input_messages(generation.system))
    read = [*map(_parse_arguments, turns)]
    try:
        text = _apply_template(tokenizer, read, case)
    except Exception as error:  # whatever the template raises is about this case
        if read == turns:
            raise ValueError(f"the chat template refuses it: {error_reason(error)}") from error
        try:  # there are templates that put the arguments' JSON text in as it is
            text = _apply_template(tokenizer, turns, case)
        except Exception:
            raise ValueError(f"the chat template refuses it: {error_reason(error)}") from error
    _refuse_hidden_tools(case, text)
    return Prompt(text, tuple(tokenizer(text, add_special_tokens=False)["input_ids"]))


def _apply_template(tokenizer: Any, turns: list[dict[str, Any]], case: Case) -> str:
    """Return the conversation as the chat template writes it, up to where the answer begins."""
    return str(
        tokenizer.apply_chat_template(
            turns,
            tools=list(case.tools) if case.tools else None,
            add_generation_prompt=True,
            tokenize=False,
        )
    )


def _parse_arguments(turn: Mapping[str, Any]) -> dict[str, Any]:
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
    except ValueError:
        return call
    if not isinstance(arguments, dict):
        return call
    return {**call, "function": {**function, "arguments": arguments}}


def _refuse_hidden_tools(case: Case, text: str) -> None:
    """Raise ValueError if the template leaves tools out: no model calls what it never saw."""
    names = [str(tool.get("function", tool).get("name", "")) for tool in case.tools or ()]
    hidden = next((name for name in names if name not in text), None)
    if hidden is not None:
        raise ValueError(
            f"the chat template does not show the tool {hidden!r}; use a model whose template "
            "knows tools, or describe them in the system prompt and leave `tools` out"
        )


def plain_prompt(case: Case, generation: GenerationSettings) -> str:
    """Return the text of a case that no template is applied to.

    Raises:
        ValueError: it has messages.
    """
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
    told = json.loads(backend.to_str())
    told |= {"padding": None, "truncation": None}
    told["model"] = {name: None if v == "" else v for name, v in told["model"].items()}
    return sha256(told)


def error_reason(error: Exception) -> str:
    """Return the first line of an error's text, or its type where it has none."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def continuation_ids(tokenizer: Any, request: Request) -> list[tuple[int, ...]]:
    """Return the token ids of the texts whose likelihood is asked; none where one is written.

    Raises:
        ValueError: a text has no tokens.
    """
    if request.kind not in (CellKind.CHOICES, CellKind.ANSWER):
        return []
    case = request.case
    texts = case.choices if request.kind is CellKind.CHOICES else case.expected_texts()
    delimiter = _delimiter(request)
    return [
        encode_continuation(tokenizer, request.prompt, text, delimiter=delimiter)
        for text in texts or ()
    ]


def _delimiter(request: Request) -> str:
    """Return what is between the prompt and a text that is scored after it."""
    if request.generation.template == "chat":
        return ""
    if request.case.delimiter is not None:
        return request.case.delimiter
    return "" if request.prompt.text[-1:].isspace() else " "


def encode_continuation(
    tokenizer: Any, prompt: Prompt, text: str, *, delimiter: str
) -> tuple[int, ...]:
    """Return the token ids of `text` as the continuation of `prompt`.

    Raises:
        ValueError: the text has no tokens.
    """
    context = prompt.token_ids or ()
    joined = f"{prompt.text}{delimiter}{text}"
    for special in (False, True):  # a rendered chat holds its special tokens, a plain prompt not
        whole = tuple(tokenizer(joined, add_special_tokens=special)["input_ids"])
        if whole[: len(context)] == context and len(whole) > len(context):
            return whole[len(context) :]
    alone = tuple(tokenizer(delimiter + text, add_special_tokens=False)["input_ids"])
    if not alone:
        raise ValueError(f"{text!r} has no tokens to score")
    return alone
