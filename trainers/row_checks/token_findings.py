"""Findings on tokens: what is learned of a row, what is cut, and whether the end is learned."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from tunegate.harness.records.wording import count_noun
from tunegate.trainers.row_checks.finding import Finding, find
from tunegate.trainers.row_checks.tokens import RowTokens, TokenizedRows
from tunegate.trainers.row_lengths import token_ids


def token_findings(tokens: TokenizedRows, tokenizer: Any) -> list[Finding]:
    """Return all findings on tokens."""
    return [
        *masked_rows(tokens),
        *dropped_rows(tokens),
        *cut_answers(tokens),
        *endless_answers(tokens, tokenizer),
        *doubled_begins(tokens),
        *hidden_tools(tokens, tokenizer),
        *other_prompts(tokens, tokenizer),
    ]


def masked_rows(tokens: TokenizedRows) -> list[Finding]:
    """Find rows of which no token is learned, however long they may be."""
    return find(
        "no token is learned: all labels are masked",
        "see what the chat template makes of the answer; it is missing, or not marked",
        _places(row for row in tokens.rows if not row.learned.any()),
    )


def dropped_rows(tokens: TokenizedRows) -> list[Finding]:
    """Find rows whose prompt fills `max_length`, which TRL drops."""
    dropped = [row for row in tokens.rows if row.learned.any() and not row.kept]
    return find(
        f"dropped: the prompt alone fills max_length={tokens.limit}",
        _room(dropped, tokens),
        _places(dropped),
    )


def cut_answers(tokens: TokenizedRows) -> list[Finding]:
    """Find answers whose end is cut."""
    cut = [row for row in tokens.rows if 0 < row.kept < row.learned.sum()]
    return find(
        f"answer cut by max_length={tokens.limit}: its end is not learned",
        _room(cut, tokens),
        _places(cut),
    )


def _room(rows: list[RowTokens], tokens: TokenizedRows) -> str:
    longest = max((len(row.ids) for row in rows), default=0)
    if tokens.context is not None and longest > tokens.context:
        return f"shorten or drop them: up to {longest:,} tokens, the model reads {tokens.context:,}"
    return f"set max_length to {longest:,}, or shorten the rows"


def endless_answers(tokens: TokenizedRows, tokenizer: Any) -> list[Finding]:
    """Find whole answers in which no token is learned at which generation stops."""
    whole = (row for row in tokens.rows if row.learned.any() and row.kept == row.learned.sum())
    endless = [row for row in whole if not tokens.stops & set(row.ids[row.learned].tolist())]
    if not endless:
        return []
    stops = ", ".join(map(repr, tokenizer.convert_ids_to_tokens(sorted(tokens.stops))))
    last = tokenizer.decode(endless[0].ids[endless[0].learned][-3:])
    return find(
        f"no end learned: answers end in {last!r}, and the model stops at {stops or 'nothing'}",
        "set eos_token to the template's end of turn, or use a template that ends answers with it",
        _places(endless),
    )


def doubled_begins(tokens: TokenizedRows) -> list[Finding]:
    """Find rows that begin with two tokens of beginning."""
    return find(
        "two BOS tokens at the beginning",
        "leave BOS out of the text, or out of the chat template: the tokenizer adds it",
        _places(
            row
            for row in tokens.rows
            if tokens.bos is not None and row.ids[:2].tolist() == [tokens.bos] * 2
        ),
    )


def other_prompts(tokens: TokenizedRows, tokenizer: Any) -> list[Finding]:
    """Find chats that are trained on another prompt than the one that they are asked with.

    TRL leaves out the end of a prompt that does not begin prompt and answer together.
    """
    places, left_out = [], ""
    for row in tokens.rows[:: max(1, len(tokens.rows) // _ASKED)]:
        if row.learned.any() and not isinstance(row.row["prompt"], str):
            prompt_ids = token_ids(row.row["prompt"], tokenizer, row.row.get("tools"))
            same = sum(itertools.takewhile(bool, map(int.__eq__, prompt_ids, row.ids.tolist())))
            if same < len(prompt_ids):
                places.append(row.where)
                left_out = left_out or tokenizer.decode(prompt_ids[same:])
    return find(
        f"trained without {left_out[:40]!r}, which ends the prompt when it is asked",
        "use a template that renders a prompt the same way with and without its answer",
        places,
    )


_ASKED = 1_000
"""Rows whose prompts are rendered again."""
HIDDEN_ADVICE = "use a model whose template knows tools, or write tools and calls as text"


def hidden_tools(tokens: TokenizedRows, tokenizer: Any) -> list[Finding]:
    """Find rows with tools or calls that the chat template leaves out."""
    places, first = [], ""
    for row in tokens.rows:
        if "tools" in row.row and (hidden := hidden_names(row.row, tokenizer.decode(row.ids))):
            places.append(row.where)
            first = first or hidden[0]
    return find(f"the chat template shows no tools, such as {first!r}", HIDDEN_ADVICE, places)


def hidden_names(row: Mapping[str, Any], text: str) -> list[str]:
    """Return the names of the row's tools and calls that are not in its rendered text."""
    calls = [c for turn in (*row["prompt"], *row["completion"]) for c in turn.get("tool_calls", ())]
    names = [one["function"]["name"] for one in (*row["tools"], *calls)]
    return [name for name in names if name not in text]


def token_notes(tokens: TokenizedRows, tokenizer: Any) -> list[str]:
    """Return what is as it should be here, and matters to who expects something else."""
    notes = []
    if chats := sum(map(_has_earlier_answers, tokens.rows)):
        notes.append(
            f"{count_noun(chats, 'chat')} with earlier answers: only the last one is learned; "
            "write a row for each answer to learn them all"
        )
    if tokenizer.pad_token_id in tokens.stops:
        notes.append(
            f"the padding token {tokenizer.pad_token!r} ends answers, too: TRL learns it, but a "
            "script with Transformers' DataCollatorForLanguageModeling masks it, and tuned never "
            "stops"
        )
    return notes


def _has_earlier_answers(row: RowTokens) -> bool:
    prompt = row.row["prompt"]
    if isinstance(prompt, str) or row.learned.all():
        return False
    return any(turn["role"] == "assistant" for turn in prompt)


def _places(rows: Iterable[RowTokens]) -> list[str]:
    return [row.where for row in rows]
