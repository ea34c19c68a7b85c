"""Token ids of continuations, whose likelihood after a prompt is asked.

They are split as lm-eval does it (`_encode_pair`): prompt and continuation are tokenised together,
and what exceeds the prompt's tokens is the continuation. If a token would reach across the border,
the continuation is tokenised alone.
"""

from __future__ import annotations

from typing import Any

from tunegate.harness.contracts.model import Prompt, Request
from tunegate.harness.models._chat_template import tokenize_text
from tunegate.harness.records.answers import CellKind


def continuation_ids(tokenizer: Any, request: Request) -> list[tuple[int, ...]]:
    """Return the token ids of the texts whose likelihood is asked; none where one is written."""
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
    """Return the token ids of `text` as the continuation of `prompt`."""
    context = prompt.token_ids or ()
    joined = f"{prompt.text}{delimiter}{text}"
    for special in (False, True):  # a rendered chat holds its special tokens, a plain prompt not
        whole = tokenize_text(tokenizer, joined, special=special)
        if whole[: len(context)] == context and len(whole) > len(context):
            return whole[len(context) :]
    alone = tokenize_text(tokenizer, delimiter + text)
    if not alone:
        raise ValueError(f"{text!r} has no tokens to score")
    return alone
