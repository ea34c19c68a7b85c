"""Whether the words of an answer are in an order in which people write them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from tunegate.harness.contracts.metric import metric
from tunegate.harness.metrics._recorded_answers import (
    RecordedAnswers,
    read_answers,
    recorded_problems,
    split_words,
    turn_texts,
)
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

LEAST_WORDS = 4
"""Fewest words that can be in a wrong order."""
MOST_WORDS = 400
"""Words of an answer that are read."""
MOST_ANSWERS = 2000
"""Recorded answers whose pairs of words are known."""

Pair = tuple[str, str]


@metric(label="natural word order", range=(0.0, 1.0), check=recorded_problems)
def word_order(case: Case, completion: Completion, *, recorded: Path) -> Score:
    """Score from 0 to 1 how many more neighboring words are known than in random order.

    Two neighbors are known if they are neighbors in another case's recorded answer or in the
    conversation. The score is (share known - share in random order) / (1 - random), at least 0.
    Answers of fewer than four words score 1.

    Known problems:
        It ignores what a text says. Answers in another language have few known pairs: gate it
        against base, with `blocks = false`. It takes a few dozen recorded answers.

    Example:
        ```toml
        [[metrics]]
        use = "word_order"
        recorded = "recorded.jsonl"
        [[gates]]
        metric = "word_order"
        tolerance = "30%"
        blocks = false
        ```

    Options:
        recorded: File of lines with `id` and `completion`, relative to the suite's folder.
    """
    if completion.text is None:
        return Score.unscored("the completion has no text")
    try:
        pairs = known_pairs(read_answers(recorded))
    except (OSError, ValueError) as error:
        return Score.unscored(f"the recorded answers cannot be read: {error}")
    return Score.of(pairs.order(case, completion.text))


@dataclass(frozen=True, slots=True)
class KnownPairs:
    """Neighbouring words of recorded answers."""

    counts: Mapping[Pair, int]
    """Pair → answers that have it."""
    texts: Mapping[str, str]
    """Case → its recorded answer."""

    def order(self, case: Case, text: str) -> float:
        """Return how many more neighbours are known than in random order, from 0 to 1.

        Pairs that only the case's own recorded answer has do not count as known.
        """
        words = split_words(text)[:MOST_WORDS]
        n = len(words)
        if n < LEAST_WORDS:
            return 1.0
        is_known = self._known(case)
        share = sum(map(is_known, pairwise(words))) / (n - 1)
        counts = Counter(words)
        ordered = sum(
            count * (other_count - (word == other))
            for word, count in counts.items()
            for other, other_count in counts.items()
            if is_known((word, other))
        )
        chance = ordered / (n * (n - 1))
        return 0.0 if chance >= 1 else max(0.0, (share - chance) / (1 - chance))

    def _known(self, case: Case) -> Callable[[Pair], bool]:
        own = _pairs(self.texts.get(case.id, ""))
        alone = frozenset(pair for pair in own if self.counts[pair] == 1)
        asked = frozenset(pair for text in turn_texts(case) for pair in _pairs(text))
        return lambda pair: pair in asked or (pair in self.counts and pair not in alone)


@lru_cache(maxsize=4)
def known_pairs(answers: RecordedAnswers) -> KnownPairs:
    """Return the pairs of the first `MOST_ANSWERS` answers."""
    texts = {name: answers.texts[name] for name in answers.names[:MOST_ANSWERS]}
    return KnownPairs(Counter(pair for text in texts.values() for pair in _pairs(text)), texts)


def _pairs(text: str) -> frozenset[Pair]:
    return frozenset(pairwise(split_words(text)))
