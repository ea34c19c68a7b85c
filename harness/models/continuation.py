"""The texts whose likelihood is asked after a prompt, as tokens.

Tokens are split as lm-eval does (`_encode_pair`): prompt and continuation are tokenised together,
and what exceeds the prompt's tokens is the continuation. Where a token would reach across the
border, the prompt stays as the arm was given it and the continuation is tokenised alone.
"""

from __future__ import annotations

from typing import Any

from harness.model import Prompt, Request
from harness.records import CellKind


def continuations(tokenizer: Any, request: Request) -> list[tuple[int, ...]]:
    """Return the token ids of the texts whose likelihood is asked; none where one is written.

    Raises:
        ValueError: a text has no tokens.
    """
    if request.kind not in (CellKind.CHOICES, CellKind.ANSWER):
        return []
    case = request.case
    texts = case.choices if request.kind is CellKind.CHOICES else case.expected_texts()
    delimiter = _delimiter(request)
    return [encode(tokenizer, request.prompt, text, delimiter=delimiter) for text in texts or ()]


def _delimiter(request: Request) -> str:
    """Return what stands between the prompt and a text that is scored after it."""
    if request.generation.template == "chat":
        return ""
    if request.case.delimiter is not None:
        return request.case.delimiter
    return "" if request.prompt.text[-1:].isspace() else " "


def encode(tokenizer: Any, prompt: Prompt, text: str, *, delimiter: str) -> tuple[int, ...]:
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
