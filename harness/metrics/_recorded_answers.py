"""Texts that an answer is compared with, as words: recorded answers and the conversation."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tunegate.harness.records.cases import Case
from tunegate.harness.records.files import numbered_lines
from tunegate.harness.records.record import replace_surrogates

OTHERS = 8
"""Recorded answers of other cases that an answer is compared with, to measure chance."""
TURNS = 8
"""Last turns of the conversation that it is compared with."""
LONGEST = 20_000
"""Words of an answer or a turn that are compared; the rest is ignored."""

_WORDS = re.compile(
    # Scripts without spaces between words: Thai, Lao, Khmer, Myanmar, kana, Han and Hangul.
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
    r"\uf900-\ufaff\U00020000-\U0003ffff]|[^\W_]+|[^\w\s]|_"
)


def recorded_problems(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    """Return what makes the recorded answers unusable."""
    path: Path = options["recorded"]
    try:
        recorded = read_answers(path)
    except (OSError, ValueError) as error:
        return [f"recorded: {error}"]
    if not any(case.id in recorded.texts for case in cases):
        return [
            f"recorded: {path} has no answer to any of the {len(cases)} cases; write it again with "
            "`tunegate replay`, or name the file that belongs to these cases"
        ]
    if len(set(recorded.texts.values())) < 2:
        return [f"recorded: all answers in {path} are equal, so any text resembles them"]
    return []


@dataclass(frozen=True, eq=False)  # compared by identity, so that caches can hold it
class RecordedAnswers:
    """Recorded answers, by case."""

    texts: Mapping[str, str]
    names: tuple[str, ...]
    """The cases, sorted by name."""

    def others(self, case_id: str) -> Iterator[str]:
        """Yield the answers of `OTHERS` other cases, drawn by a hash of the case's name."""
        if len(self.names) <= OTHERS + 1:
            yield from (self.texts[name] for name in self.names if name != case_id)
            return
        drawn: set[str] = {case_id}
        count = 0
        while len(drawn) <= OTHERS:
            digest = hashlib.sha256(f"{count}\0{case_id}".encode()).digest()
            name = self.names[int.from_bytes(digest[:8], "big") % len(self.names)]
            count += 1
            if name not in drawn:
                drawn.add(name)
                yield self.texts[name]


def read_answers(path: Path) -> RecordedAnswers:
    """Return the answers of a file of lines with an `id` and a `completion`.

    Raises:
        OSError: the file cannot be read.
        ValueError: a line is not a JSON object with an id; the message names it.
    """
    stat = path.stat()
    return _read(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=8)
def _read(path: Path, changed: int, size: int) -> RecordedAnswers:
    """Return the answers of a file; `changed` and `size` identify its version."""
    texts: dict[str, str] = {}
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8-sig"))
        except ValueError as error:
            raise ValueError(f"{path}:{number}: not JSON ({error})") from None
        if not isinstance(row, dict) or not isinstance(row.get("id"), str):
            raise ValueError(f"{path}:{number}: a line must be an object with an id")
        text = row.get("completion")
        if isinstance(text, str) and text.strip():
            texts.setdefault(row["id"], replace_surrogates(text))
    return RecordedAnswers(texts, tuple(sorted(texts)))


@lru_cache(maxsize=1 << 14)
def split_words(text: str) -> tuple[str, ...]:
    """Return the case-folded words and punctuation marks of a text, at most `LONGEST`."""
    found = (match.group() for match in _WORDS.finditer(text.casefold()))
    return tuple(word for word, _ in zip(found, range(LONGEST), strict=False))


def turn_texts(case: Case) -> Iterator[str]:
    """Yield the texts of the conversation's last turns."""
    for turn in case.input_messages()[-TURNS:]:
        content = turn.get("content")
        if isinstance(content, list):
            parts = [part.get("text") for part in content if isinstance(part, Mapping)]
            content = "\n".join(text for text in parts if isinstance(text, str))
        if isinstance(content, str):
            yield content
