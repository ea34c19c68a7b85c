"""Findings on texts: order of roles, duplicates, one answer for nearly all, personal data."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rapidfuzz.distance import Levenshtein

from tunegate.harness.checks.contamination.ngrams import (
    N,
    WordVocabulary,
    concatenate_texts,
    hash_ngrams,
)
from tunegate.harness.checks.contamination.text import split_words
from tunegate.trainers.datasets import turn_text
from tunegate.trainers.row_checks.finding import Finding, find
from tunegate.trainers.row_checks.personal_values import somebodys_values

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NEAR = 0.9
"""Likeness (1 - Levenshtein distance / length) of question and answer of two rows that are one."""
_COMMON = 0.5
"""Share of a row's own 8-grams that an earlier row has, from which on the two are compared."""
_FEWEST = 4
"""Own 8-grams that a row needs to be compared."""
_SHARED = 0.01
"""Share of the rows from which on an 8-gram is a template, and at least `_TEMPLATE` rows."""
_TEMPLATE = 20
ONE_LABEL = 0.9
_LABELED = 10
"""Rows from which on the share of one answer is looked at."""


@dataclass(frozen=True, slots=True)
class RowTexts:
    """The texts of one row."""

    where: str
    turns: tuple[tuple[str, str], ...] = field(repr=False)
    """Role and text; plain text has the roles `prompt` and `completion`."""
    answer: str = field(repr=False)
    """What is learned."""
    tools: str = field(default="", repr=False)
    """Definitions of the tools, as JSON."""

    @classmethod
    def of(cls, where: str, row: Mapping[str, Any]) -> RowTexts:
        """Return the texts of a row with `prompt` and `completion`."""
        turns: list[tuple[str, str]] = []
        for key in ("prompt", "completion"):
            side = row[key]
            plain = [(key, side)] if isinstance(side, str) else None
            turns += plain or [(turn["role"], turn_text(turn)) for turn in side]
        completion = row["completion"]
        answer = (
            completion if isinstance(completion, str) else "\n".join(map(turn_text, completion))
        )
        tools = json.dumps(row["tools"], sort_keys=True) if row.get("tools") else ""
        return cls(where, tuple(turns), answer, tools)

    @property
    def system(self) -> str | None:
        """The system prompt, if there is one."""
        return next((text.strip() for role, text in self.turns if role == "system"), None)

    @property
    def asked(self) -> str:
        """Everything before the answer but the system prompt."""
        before = (text for role, text in self.turns[:-1] if role != "system")
        return "\n".join(before)


def text_findings(rows: Sequence[RowTexts]) -> list[Finding]:
    """Return all findings on texts."""
    return [
        *misplaced_turns(rows),
        *repeated_rows(rows),
        *near_repeats(rows),
        *one_label(rows),
        *personal_data(rows),
    ]


_MAY_FOLLOW = {
    "": ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user", "tool"),
    "tool": ("tool", "assistant"),
}


def misplaced_turns(rows: Sequence[RowTexts]) -> list[Finding]:
    """Find chats whose roles do not take turns."""
    places = []
    for row in rows:
        roles = ["", *(role for role, _ in row.turns)]
        if roles[1] == "prompt":  # plain text
            continue
        pairs = itertools.pairwise(roles)
        if wrong := next(((a, b) for a, b in pairs if b not in _MAY_FOLLOW[a]), None):
            before, role = wrong
            places.append(f"{row.where} ({role} {'after ' + before if before else 'first'})")
    return find(
        "roles out of order",
        "let user and assistant take turns after one system turn; the model is asked in that order",
        places,
    )


def _words(text: str) -> str:
    return " ".join(split_words(text)) or text.strip()


def repeated_rows(rows: Sequence[RowTexts]) -> list[Finding]:
    """Find rows that an earlier row holds, word for word."""
    first: dict[Any, str] = {}
    places = []
    for row in rows:
        key = (row.tools, *((role, _words(text)) for role, text in row.turns))
        if first.setdefault(key, row.where) != row.where:
            places.append(f"{row.where} (as {_place(first[key], row.where)})")
    return find("repeats an earlier row", "drop it, or mean it: it counts twice", places)


def _place(where: str, beside: str) -> str:
    """Return a place without its file if the other place is in the same one."""
    file, _, line = where.rpartition(":")
    return line if file == beside.rpartition(":")[0] else where


def near_repeats(rows: Sequence[RowTexts]) -> list[Finding]:
    """Find rows that are like one earlier row, question and answer.

    Rows are compared if they share most of their 8-grams; what many rows share is a template.
    """
    import numpy as np

    vocabulary = WordVocabulary()
    texts = [vocabulary.learn(split_words(f"{row.asked}\n{row.answer}")) for row in rows]
    ids, row_at = concatenate_texts(texts)
    if not len(ids):
        return []
    hashes, valid = hash_ngrams(ids, N)
    at = np.flatnonzero(valid)
    pairs = np.unique(np.stack([hashes[at], row_at[at].astype(np.uint64)], axis=1), axis=0)
    gram = np.cumsum(np.diff(pairs[:, 0], prepend=pairs[:1, 0]) != 0)
    row_of = pairs[:, 1].astype(np.int64)
    holders = np.bincount(gram)
    distinctive = holders[gram] <= max(_TEMPLATE, _SHARED * len(rows))
    first = np.full(len(holders), len(rows))
    np.minimum.at(first, gram, row_of)
    places = [
        f"{rows[row].where} (as {_place(rows[earlier].where, rows[row].where)})"
        for row, earlier in _closest(row_of[distinctive], first[gram[distinctive]], len(rows))
        if _are_alike(rows[row], rows[earlier])
    ]
    return find(
        "nearly repeats an earlier row",
        "keep one of them, or vary them more",
        places,
    )


def _are_alike(row: RowTexts, earlier: RowTexts) -> bool:
    """Return whether both sides of two rows are alike, and not all is the same."""
    if row.tools != earlier.tools:
        return False
    sides = [
        (_words(row.asked), _words(earlier.asked)),
        (_words(row.answer), _words(earlier.answer)),
    ]
    alike = Levenshtein.normalized_similarity
    return any(a != b for a, b in sides) and all(
        alike(a, b, score_cutoff=NEAR) >= NEAR for a, b in sides
    )


def _closest(
    row_of: NDArray[np.int64], first: NDArray[np.int64], n_rows: int
) -> Iterator[tuple[int, int]]:
    """Yield (row, earlier row) where they share `_COMMON` of the row's own 8-grams."""
    import numpy as np

    total = np.bincount(row_of, minlength=n_rows)
    pairs, shared = np.unique((row_of * n_rows + first)[first < row_of], return_counts=True)
    for pair, count in zip(pairs.tolist(), shared.tolist(), strict=True):
        row, earlier = divmod(pair, n_rows)
        if total[row] >= _FEWEST and count >= _COMMON * total[row]:
            yield row, earlier


def one_label(rows: Sequence[RowTexts]) -> list[Finding]:
    """Find the answer that nine rows of ten have."""
    counts = Counter(_words(row.answer) for row in rows)
    if len(rows) < _LABELED:
        return []
    answer, times = counts.most_common(1)[0]
    if times < ONE_LABEL * len(rows):
        return []
    return find(
        f"{times / len(rows):.0%} of the rows have the answer {answer[:40]!r}",
        "always giving it would be nearly right: add rows with other answers",
        [row.where for row in rows if _words(row.answer) == answer],
    )


def personal_data(rows: Sequence[RowTexts]) -> list[Finding]:
    """Find e-mail addresses, phone numbers, cards, accounts, IP addresses and secrets."""
    places: dict[str, list[str]] = {}
    for row in rows:
        for kind in sorted({k for _, text in row.turns for k, *_ in somebodys_values(text)}):
            places.setdefault(kind, []).append(row.where)
    return [
        Finding(
            f"what looks like personal data: {kind}",
            "replace what is somebody's: a model repeats it",
            where,
        )
        for kind, where in sorted(places.items())
    ]
