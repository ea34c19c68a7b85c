"""Long prompts of stated lengths: facts hidden in notes of a small town, and a question at the end.

The kinds of questions follow RULER (Hsieh et al. 2024, arXiv:2404.06654). All text was written for
this project.

Example:
    [cases]
    from = "long_context"
    lengths = ["1k", "4k"]
    characters_per_token = 4.4   # of base's tokenizer
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from tunegate.harness.contracts.source import make_case
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import SuiteError, unknown_name_message
from tunegate.harness.suite.sources._town_notes import town_notes

LENGTHS = {f"{k}k": 1024 * k for k in (1, 2, 4, 8, 16, 32)}
"""Name of a length → tokens of prompt and answer together."""
DEPTHS = (10, 30, 50, 70, 90)
"""Percent of the notes that stand in front of a fact."""
RESERVED = 96
"""Tokens of a length that are left to the chat template and the answer."""
FILLED = 0.98
"""Share of the others that is filled: documents differ in characters per token."""
_SAMPLE = 20_000
"""Characters from which a tokenizer is measured."""
_FACTS = 0.75
"""Most of the notes that facts may be."""
_INTRODUCTION = "Here are notes of a small town. Read them, then answer the question at the end."
_PARAGRAPH = 6
"""Sentences of a paragraph."""
_COLOURS = ("green", "yellow", "purple", "orange", "silver", "brown", "pink", "white")
_NAMES = (
    "Miriam",
    "Tobias",
    "Leonie",
    "Anselm",
    "Frieda",
    "Konrad",
    "Paula",
    "Edgar",
    "Wanda",
    "Ivo",
)
_BOXES = ("Kiel", "Rosa", "Tamar", "Udine", "Vega", "Zeno", "Lund", "Nora", "Pisa", "Quito")
_NUMBERS = ("two", "three", "four", "five")
_RINGS = (
    "The fire bell rang because of a smoking chimney.",
    "Shortly after lunch the fire bell rang.",
    "The fire bell rang, and the pump was rolled out.",
    "Once more the fire bell rang, for a burning haystack.",
    "The fire bell rang in the dark and woke half the street.",
)
_PLACES = ("the old bridge", "the town hall roof", "the ferry", "the market", "the swimming place",
           "the school bus", "the windmill", "the clock tower")  # fmt: skip
_DECISIONS = (
    "It was closed to heavy carts.",
    "It was sold to a neighbouring village.",
    "It was painted dark red.",
    "It was given to the young people of the town.",
)


class _Question(NamedTuple):
    kind: str
    facts: tuple[tuple[float, str], ...]
    """Depth in percent, and sentence."""
    text: str
    choices: tuple[str, ...]
    """The right one first."""
    expected: tuple[str, ...]
    depth: str


def long_context(
    folder: Path,
    *,
    lengths: tuple[str, ...],
    characters_per_token: Annotated[float, Field(ge=0.5, le=20)],
    documents: Annotated[int, Field(ge=2, le=200)] = 20,
    seed: int = 0,
) -> Iterator[Case]:
    """Yield five cases a document: one fact, several keys, a chain, a count, a decision.

    The cases of a document share its text, so a local engine reads it once; they are one cluster.
    A prompt takes 85 to 99 % of its length (1k is 1,024 tokens); chat template and answer the rest.
    Tags: `length:1k`, `kind:keys`, `depth:30` (percent of the notes in front of the fact).

    Args:
        folder: The suite's folder.
        lengths: Lengths of the prompts in tokens.
        characters_per_token: What a token of base's tokenizer holds on average of these notes.
            `tunegate init long_context --base BASE` measures it.
        documents: Number of documents of each length.
        seed: Seed of the notes and of the facts.

    Raises:
        SuiteError: a length is not one of 1k, 2k, 4k, 8k, 16k and 32k, or too short for the facts
            where a token holds little more than a character.
    """
    if unknown := [length for length in lengths if length not in LENGTHS]:
        names = tuple(LENGTHS)
        raise SuiteError([unknown_name_message(text, names, what="length") for text in unknown])
    for length in dict.fromkeys(lengths):
        room = int((LENGTHS[length] - RESERVED) * FILLED * characters_per_token)
        for number in range(documents):
            yield from _document_cases(length, number, room, seed)


def measure_characters_per_token(count_tokens: Callable[[str], int]) -> float:
    """Return the characters that a token of a tokenizer holds on average of such notes."""
    prompts = [
        str(case.prompt)
        for number in range(3)
        for case in _document_cases("4k", number, _SAMPLE, 0)
    ]
    return round(sum(map(len, prompts)) / sum(map(count_tokens, prompts)), 3)


def _document_cases(length: str, number: int, room: int, seed: int) -> Iterator[Case]:
    rng = random.Random(f"{seed}:{length}:{number}")
    questions = [make(rng, number) for make in (_single, _keys, _chain, _count, _decision)]
    around = len(_INTRODUCTION) + max(len(_ask(question)) for question in questions) + 4
    facts = sorted(fact for question in questions for fact in question.facts)
    needed = sum(len(text) + 1 for _, text in facts)
    if needed > _FACTS * (room - around):
        raise SuiteError(
            [f"length {length} holds {room} characters, too few for the facts; take longer ones"]
        )
    notes = _notes(rng, facts, room - around)
    for at, question in enumerate(questions):
        right = (number + at) % len(question.choices)
        others = list(question.choices[1:])
        row: dict[str, Any] = {
            "id": f"{length}-{number + 1:02}-{question.kind}",
            "prompt": f"{_INTRODUCTION}\n\n{notes}\n\n{_ask(question)}",
            "choices": [*others[:right], question.choices[0], *others[right:]],
            "answer": right,
            "expected": list(question.expected),
            "tags": [f"length:{length}", f"kind:{question.kind}", f"depth:{question.depth}"],
            "cluster": f"{length}-{number + 1:02}",
        }
        yield make_case(row)


def _ask(question: _Question) -> str:
    return f"Question: {question.text} Answer briefly."


def _notes(rng: random.Random, facts: Sequence[tuple[float, str]], room: int) -> str:
    """Return notes of `room` characters at most, with each fact at its depth."""
    waiting, written = list(facts), 0
    spared = sum(len(text) + 1 for _, text in facts)
    sentences: list[str] = []
    for filler in town_notes(rng):
        while waiting and written >= waiting[0][0] / 100 * room:
            sentences.append(waiting.pop(0)[1])
            written += len(sentences[-1]) + 1
            spared -= len(sentences[-1]) + 1
        if written + len(filler) + spared + room // 300 > room:
            break
        sentences.append(filler)
        written += len(filler) + 1
    sentences += [text for _, text in waiting]
    starts = range(0, len(sentences), _PARAGRAPH)
    return "\n\n".join(" ".join(sentences[at : at + _PARAGRAPH]) for at in starts)


def _single(rng: random.Random, number: int) -> _Question:
    """One fact in all the notes."""
    colour, (right, *wrong) = rng.choice(_COLOURS), rng.sample(range(10_000, 100_000), 4)
    depth = DEPTHS[number % 5]
    fact = f"The code of the {colour} locker is {right}."
    return _Question(
        "single",
        ((depth, fact),),
        f"What is the code of the {colour} locker?",
        (f"{right}", *map(str, wrong)),
        (f"{right}",),
        f"{depth}",
    )


def _keys(rng: random.Random, number: int) -> _Question:
    """Four facts of the same form; the wrong choices are those of other keys."""
    names, values = rng.sample(_NAMES, 4), rng.sample(range(1_000, 10_000), 4)
    depths = [DEPTHS[(number + 1 + 2 * at) % 5] + 2.0 for at in range(4)]
    facts = [
        (depth, f"The badge of {name} has the number {value}.")
        for depth, name, value in zip(depths, names, values, strict=True)
    ]
    return _Question(
        "keys",
        tuple(facts),
        f"Which number does the badge of {names[0]} have?",
        tuple(map(str, values)),
        (f"{values[0]}",),
        f"{DEPTHS[(number + 1) % 5]}",
    )


def _chain(rng: random.Random, number: int) -> _Question:
    """Three boxes, each defined by the one before, and a second chain."""
    boxes, values = rng.sample(_BOXES, 6), rng.sample(range(100, 1_000), 4)
    depth = DEPTHS[(number + 2) % 5]
    facts: list[tuple[float, str]] = []
    for chain, start, value in ((boxes[:3], depth + 4.0, values[0]), (boxes[3:], 3.0, values[1])):
        steps = accumulate([start, *[(97 - start) / 3] * 2])
        texts = [
            f"Box {chain[0]} holds {value} marbles.",
            *(f"Box {b} holds as many marbles as box {a}." for a, b in pairwise(chain)),
        ]
        facts += zip(steps, texts, strict=True)
    return _Question(
        "chain",
        tuple(facts),
        f"How many marbles does box {boxes[2]} hold?",
        tuple(map(str, values)),
        (f"{values[0]}",),
        f"{depth}",
    )


def _count(rng: random.Random, number: int) -> _Question:
    """An event that is told several times."""
    right = 2 + number % 4
    texts = rng.sample(_RINGS, right)
    facts = [((at + 1) * 100 / (right + 1) + 1, text) for at, text in enumerate(texts)]
    word = _NUMBERS[right - 2]
    return _Question(
        "count",
        tuple(facts),
        "How many times did the fire bell ring?",
        (word, *(other for other in _NUMBERS if other != word)),
        (word, f"{right}", word.capitalize()),
        "spread",
    )


def _decision(rng: random.Random, number: int) -> _Question:
    """What a report near the middle comes to."""
    place = rng.choice(_PLACES)
    right, *wrong = rng.sample(_DECISIONS, 4)
    report = (
        f"The council spent an evening on {place}, and many people had come. "
        "Some wanted to leave everything as it was, others spoke of the costs. "
        f"In the end the council voted, and from then on the matter was settled: {_lower(right)}"
    )
    return _Question(
        "decision",
        ((50.0, report),),
        f"What did the council decide about {place}?",
        (right, *wrong),
        (right.split(" was ")[1].rstrip("."),),
        "50",
    )


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]
