"""How closely the answer follows the one that production recorded, beyond chance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rapidfuzz.distance import Indel

from tunegate.harness.metric import metric
from tunegate.harness.metrics._recorded_answers import (
    read_answers,
    recorded_problems,
    split_words,
    turn_texts,
)
from tunegate.harness.records.cases import Case, Completion, Score


@metric(
    label="resemblance to the recorded answers",
    range=(0.0, 1.0),
    check=recorded_problems,
    judges_content=True,
)
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
        that repeats the prompt, shuffles its words or sentences, stops halfway, answers
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
    by_turns = max(
        (_similarity(given, split_words(turn)) for turn in turn_texts(case)), default=0.0
    )
    chance = max(by_others, by_turns)
    value = 0.0 if chance >= 1 else max(0.0, (likeness - chance) / (1 - chance))
    return Score.of(value, parts={"similarity": likeness, "chance": chance})


def _similarity(one: Sequence[str], other: Sequence[str]) -> float:
    """Return 2 LCS / (n + m) of two sequences of words; of two empty ones 0."""
    return Indel.normalized_similarity(one, other) if one and other else 0.0
