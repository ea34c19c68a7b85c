"""How closely the answer follows the one that production recorded, beyond chance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rapidfuzz.distance import Indel

from tunegate.harness.contracts.metric import metric
from tunegate.harness.metrics._recorded_answers import (
    read_answers,
    recorded_problems,
    split_words,
    turn_texts,
)
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


@metric(
    label="resemblance to the recorded answers",
    range=(0.0, 1.0),
    check=recorded_problems,
    judges_content=True,
)
def resemblance(case: Case, completion: Completion, *, recorded: Path) -> Score:
    """Score from 0 to 1 how much more the answer resembles the recorded one than chance explains.

    Similarity is twice the longest common subsequence of words over the words of both. Chance is
    the larger of the mean similarity to the recorded answers of eight other cases and the
    similarity to the closest turn of the conversation. The score is (similarity - chance) / (1 -
    chance), at least 0.

    Known problems:
        A better answer in other words loses too: gate it with `blocks = false`. It doesn't see a
        wrong fact. If base wrote the recorded answers, no fine-tune keeps up. If base writes more
        than was recorded, answers cut to a third keep 41 to 144 % of their score (40 pairs of
        models on AlpacaEval): guard `length` on both sides, as `tunegate replay` does.

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
        recorded: File of lines with `id` and `completion`, relative to the suite's folder.
            Other cases are compared with `expected`.
    """
    if completion.text is None:
        return Score.unscored("the completion has no text")
    try:
        answers = read_answers(recorded)
    except (OSError, ValueError) as error:
        return Score.unscored(f"the recorded answers cannot be read: {error}")
    expected = (answers.texts[case.id],) if case.id in answers.texts else case.expected_texts()
    if not any(map(split_words, expected)):
        return Score.unscored("no answer to this case was recorded")
    words = split_words(completion.text)
    likeness = max(_similarity(words, split_words(text)) for text in expected)
    others = [_similarity(words, split_words(text)) for text in answers.others(case.id)]
    by_others = sum(others) / max(1, len(others))
    by_turns = max(
        (_similarity(words, split_words(turn)) for turn in turn_texts(case)), default=0.0
    )
    chance = max(by_others, by_turns)
    value = 0.0 if chance >= 1 else max(0.0, (likeness - chance) / (1 - chance))
    return Score.of(value, parts={"similarity": likeness, "chance": chance})


def _similarity(one: Sequence[str], other: Sequence[str]) -> float:
    """Return 2 LCS / (n + m) of two sequences of words; of two empty ones 0."""
    return Indel.normalized_similarity(one, other) if one and other else 0.0
