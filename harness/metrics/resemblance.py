"""How closely the answer follows the one that production recorded, beyond chance."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from rapidfuzz.distance import Indel

from tunegate.harness.metric import metric
from tunegate.harness.records.cases import Case, Completion, Score, replace_surrogates

OTHERS = 8
"""Recorded answers of other cases that an answer is compared with, for what chance explains."""
TURNS = 8
"""Last turns of the conversation that it is compared with, likewise."""
LONGEST = 20_000
"""Words of an answer or a turn that are compared; those behind them are left out."""

_WORDS = re.compile(
    # Scripts without spaces between words: Thai, Lao, Khmer, Myanmar, kana, Han and Hangul.
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
    r"\uf900-\ufaff\U00020000-\U0003ffff]|[^\W_]+|[^\w\s]|_"
)


def _check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    """Return what makes the recorded answers unusable."""
    path: Path = options["recorded"]
    try:
        found = read_answers(path)
    except (OSError, ValueError) as error:
        return [f"recorded: {error}"]
    if not any(case.id in found.texts for case in cases):
        return [
            f"recorded: {path} has no answer to any of the {len(cases)} cases; write it anew with "
            "`tunegate replay`, or name the file that belongs to these cases"
        ]
    if len(set(found.texts.values())) < 2:
        return [f"recorded: all answers of {path} are equal, so that any text resembles them"]
    return []


@metric(range=(0.0, 1.0), check=_check, judges_content=True)
def resemblance(case: Case, completion: Completion, *, recorded: Path) -> Score:
    """Score from 0 to 1 how much more the answer has of the recorded one than chance explains.

    What it does:
        The similarity of two texts is that of their words in order: twice the longest common
        subsequence over the words of both (as ROUGE-L's F). Letters of scripts without spaces and
        punctuation marks count as words; case does not. What chance explains is the larger of two
        similarities: the answer's mean similarity to the recorded answers of eight other cases,
        drawn by the case's id, and its similarity to the turn of the conversation that it is
        closest to. The score is (similarity - chance) / (1 - chance), at least 0: Cohen's kappa of
        the two texts. Thoughts are no part of the answer.

    Why:
        Replayed traffic has no right answers, only recorded ones. With base as control, a fine-tune
        that repeats the prompt, shuffles its words or sentences, breaks off halfway, answers
        another prompt or in another language, or is merely polite, loses resemblance.

    Known problems:
        It falls for a better answer in other words, too: gate it with `blocks = false`. It is blind
        to a wrong fact or a missing "not". If base itself wrote the recorded answers, it repeats
        them word for word, and no fine-tune keeps up.

    Example:
        ```toml
        [[metrics]]
        use = "resemblance"
        recorded = "recorded.jsonl"

        [[gates]]
        metric = "resemblance"
        tolerance = "20%"
        blocks = false
        ```

    Options:
        recorded: File of lines with `id` and `completion`, as `tunegate replay` writes it; its path
            starts at the suite's folder. A case without a line is compared with its `expected`.
    """
    if completion.text is None:
        return Score.unscored("the completion has no text")
    try:
        answers = read_answers(recorded)
    except (OSError, ValueError) as error:
        return Score.unscored(f"the recorded answers cannot be read: {error}")
    own = (answers.texts[case.id],) if case.id in answers.texts else case.expected_texts()
    if not any(map(split_words, own)):
        return Score.unscored("no answer to this case was recorded")
    given = split_words(completion.text)
    likeness = max(_similarity(given, split_words(text)) for text in own)
    others = [_similarity(given, split_words(text)) for text in answers.others(case.id)]
    by_others = sum(others) / max(1, len(others))
    by_turns = max((_similarity(given, split_words(turn)) for turn in _turns(case)), default=0.0)
    chance = max(by_others, by_turns)
    value = 0.0 if chance >= 1 else max(0.0, (likeness - chance) / (1 - chance))
    return Score.of(value, parts={"similarity": likeness, "chance": chance})


@dataclass(frozen=True, slots=True)
class RecordedAnswers:
    """Recorded answers, by case."""

    texts: Mapping[str, str]
    names: tuple[str, ...]
    """The cases in the order of their names."""

    def others(self, own: str) -> Iterator[str]:
        """Yield the answers of `OTHERS` other cases, drawn by the name of the case; all of few."""
        if len(self.names) <= OTHERS + 1:
            yield from (self.texts[name] for name in self.names if name != own)
            return
        drawn: set[str] = {own}
        count = 0
        while len(drawn) <= OTHERS:
            digest = hashlib.sha256(f"{count}\0{own}".encode()).digest()
            name = self.names[int.from_bytes(digest[:8], "big") % len(self.names)]
            count += 1
            if name not in drawn:
                drawn.add(name)
                yield self.texts[name]


def read_answers(path: Path) -> RecordedAnswers:
    """Return the answers of a file of lines with an `id` and a `completion`.

    Raises:
        OSError: the file cannot be read.
        ValueError: a line is no JSON object with an id; with its place.
    """
    stat = path.stat()
    return _read(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=8)
def _read(path: Path, changed: int, size: int) -> RecordedAnswers:
    """Return the answers of a file; `changed` and `size` identify its version."""
    found: dict[str, str] = {}
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{path}:{number}: no JSON ({error})") from None
            if not isinstance(row, dict) or not isinstance(row.get("id"), str):
                raise ValueError(f"{path}:{number}: a line must be an object with an id")
            text = row.get("completion")
            if isinstance(text, str) and text.strip():
                found.setdefault(row["id"], replace_surrogates(text))
    return RecordedAnswers(found, tuple(sorted(found)))


@lru_cache(maxsize=1 << 14)
def split_words(text: str) -> tuple[str, ...]:
    """Return the words of a text as they are compared: case-folded, with marks, at most so many."""
    found = (match.group() for match in _WORDS.finditer(text.casefold()))
    return tuple(word for word, _ in zip(found, range(LONGEST), strict=False))


def _similarity(one: Sequence[str], other: Sequence[str]) -> float:
    """Return 2 LCS / (n + m) of two sequences of words; of two empty ones 0."""
    return Indel.normalized_similarity(one, other) if one and other else 0.0


def _turns(case: Case) -> Iterator[str]:
    """Yield the texts of the conversation's last turns."""
    for turn in case.input_messages()[-TURNS:]:
        content = turn.get("content")
        if isinstance(content, list):
            parts = [part.get("text") for part in content if isinstance(part, Mapping)]
            content = "\n".join(text for text in parts if isinstance(text, str))
        if isinstance(content, str):
            yield content
