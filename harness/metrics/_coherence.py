"""Answers that say nothing: empty ones, loops and gibberish.

Such an answer is neither a refusal nor help, whatever words it has.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tunegate.harness.metrics._recorded_answers import turn_texts
from tunegate.harness.metrics._repetition import loop_in
from tunegate.harness.records.cases import Case

EMPTY, LOOP, GIBBERISH, CUT = "empty", "loop", "gibberish", "cut"
ENGLISH = Path(__file__).with_name("_english.txt")
"""Requests and answers of ours: the training rows of the bundled suite `production`."""
LEAST_LETTERS = 60
"""Letters of prose below which there is too little to tell."""
LEAST_LIKELIHOOD = -3.2
"""Mean natural logarithm of a letter's probability, below which prose is gibberish.

The median of 5,000 real answers is -2.4; 12 were below -3.2, most of them lists of names.
"""
PROMPT_LIKELIHOOD = -2.8
"""The same for the prompt, below which it is taken for another language than that of the texts.

Of 24 prompts of ours the 18 English ones are above -2.5, German and Spanish ones below -2.9.
"""
_READ = 2000
"""Characters of an answer that are read."""
_UNDECODABLE = "\ufffd"
_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_NAMES_LANGUAGE = re.compile(
    r"translat|\b(?:Afrikaans|Basque|Catalan|Croatian|Czech|Danish|Dutch|Estonian|Filipino|Finnish"
    r"|French|Gaelic|German|Hawaiian|Hungarian|Icelandic|Indonesian|Irish|Italian|Latin|Latvian"
    r"|Lithuanian|Malay|Maori|Norwegian|Pinyin|Polish|Portuguese|Romanian|Serbian|Slovak|Slovenian"
    r"|Somali|Spanish|Swahili|Swedish|Tagalog|Turkish|Vietnamese|Welsh|Yoruba|Zulu)\b",
    re.IGNORECASE,
)
"""A prompt that may ask for another language in Latin letters."""
_CODE = re.compile(r"[{}<>=\\$|;]|\w\(|https?:|#\w")


def incoherence(case: Case, text: str, texts: Path = ENGLISH) -> tuple[str, str] | None:
    """Return the kind of an answer that says nothing, and the reason in words; None if it speaks.

    Args:
        case: The case, whose prompt tells the language.
        text: The answer.
        texts: Plain texts in the language of the answers, one a line.
    """
    if not text.strip():
        return EMPTY, "the answer is empty"
    loop = loop_in(text)
    if loop is not None:
        return LOOP, f"the answer is caught in a loop: {loop}"
    gibberish = _gibberish(" ".join(list(turn_texts(case))[-1:]), text, texts)
    return None if gibberish is None else (GIBBERISH, gibberish)


def _gibberish(prompt: str, text: str, texts: Path) -> str | None:
    # Bytes that form no character: a limit may cut the last one in two, so it does not count.
    if _UNDECODABLE in text.rstrip(_UNDECODABLE) and _UNDECODABLE not in prompt:
        return "the answer is gibberish: it has bytes that form no character"
    if _NAMES_LANGUAGE.search(prompt):
        return None
    model = letter_model(texts)
    prose = _prose(text)[:_READ]
    letters = [c for c in prose.lower() if c.isalpha()]
    if len(letters) < LEAST_LETTERS or model.share_of(letters) < 0.8:
        return None
    if model.likelihood(prompt[-_READ:]) < PROMPT_LIKELIHOOD:
        return None
    likelihood = model.likelihood(prose)
    if likelihood >= LEAST_LIKELIHOOD:
        return None
    return (
        f"the answer is gibberish: its letters have a mean log-probability of {likelihood:.2f}, "
        f"below {LEAST_LIKELIHOOD}"
    )


def _prose(text: str) -> str:
    """Return the text without code, tables and formulas."""
    lines = (line.strip() for line in _FENCE.sub("\n", text).splitlines())
    return "\n".join(
        line
        for line in lines
        if line.count("|") < 2 and len(_CODE.findall(line)) <= len(line.split()) / 6
    )


@dataclass(frozen=True, slots=True)
class LetterModel:
    """How often a letter follows two others in some texts."""

    triples: Mapping[str, int]
    pairs: Mapping[str, int]
    letters: frozenset[str]

    def likelihood(self, text: str) -> float:
        """Return the mean log-probability of a character after the two before it; 0 if short."""
        flat = _flat(text)
        size = len(flat) - 2
        if size < 1:
            return 0.0
        kinds = 0.5 * len(self.letters)  # half a count for what was never seen
        return (
            sum(
                math.log(
                    (self.triples.get(flat[at : at + 3], 0) + 0.5)
                    / (self.pairs.get(flat[at : at + 2], 0) + kinds)
                )
                for at in range(size)
            )
            / size
        )

    def share_of(self, letters: list[str]) -> float:
        """Return the share of letters that occur in the texts."""
        return sum(letter in self.letters for letter in letters) / len(letters)


@lru_cache(maxsize=8)
def letter_model(texts: Path) -> LetterModel:
    """Count the letters of a file of plain texts, one a line.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not UTF-8.
    """
    triples: Counter[str] = Counter()
    with texts.open(encoding="utf-8-sig") as file:
        for line in file:
            flat = _flat(line)
            triples.update(flat[at : at + 3] for at in range(len(flat) - 2))
    pairs: Counter[str] = Counter()
    for triple, count in triples.items():
        pairs[triple[:2]] += count
    return LetterModel(triples, pairs, frozenset(triple[2] for triple in triples))


def _flat(text: str) -> str:
    return f" {' '.join(text.lower().split())} "
