"""Alignment: whether an arm's answers fit other cases, or other labels, better than their own.

Answers that were shifted by some lines, reversed, shuffled, sorted or renumbered all count as
wrong. The metric is no part of a stored run, so an answer's fit to a case is the share of its words
that the right answer has, or else the prompt. A pairing is named only if it fits better than the
arm's own and better than a control that is as far off: a paired sign test of each, at `CHANCE`
divided by the number of pairings that were tried.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from tunegate.harness.decision.answer_facts.answer_shapes import (
    READ,
    SHOWN,
    plain_words,
    words_of,
)
from tunegate.harness.decision.answer_facts.arm_answers import ArmAnswers, prompt_of
from tunegate.harness.records.cases import Case

SHIFTED = 0.3
"""Share of the cases that fit better in another pairing, from which answers may be shifted."""
CHANCE = 1e-4
"""Largest p-value at which they are called shifted, over all pairings together."""
_LEAST_PART = 0.2
"""Share of the cases that a shifted part has at least."""
FARTHEST = 3
"""Most lines by which answers are shifted."""
_SORTED = 0.98
"""Answers look sorted from this share of unequal neighbors in order."""
FEWEST_ORDERED = 20
"""Fewest answers whose order, or lack of a relation, is no accident."""
_SENTENCE = 8
"""Different words an answer needs to share some with its prompt."""
_RELATED = 0.01
"""Largest p-value at which answers are related to their cases."""
_BEGINNING = 20
"""Characters of an answer whose order counts."""
_ONE_LABEL = 0.8
"""Share of one text above which an order says nothing."""
_MOST_LABELS = 20
"""Right answers up to which they are labels that may be permuted."""

Words = frozenset[str]
_Fit = Callable[[int, int], float]
"""(index of the answer, index of the case) → fit; 0 without either."""


def misaligned(answers: ArmAnswers) -> Iterator[tuple[str, bool]]:
    """Yield how an arm's answers fit other cases better than their own, and if that is proven."""
    cases = answers.cases[: 2 * READ]
    if answers.picks:
        picks = answers.picks
        of = [frozenset({str(picks[c.id])}) if c.id in picks else None for c in cases]
        targets = [frozenset({str(case.answer)}) for case in cases]
    else:
        of = [answers.words.get(case.id) for case in cases]
        targets = [_target(case) for case in cases]
    indices = [i for i, words in enumerate(of) if words is not None]
    fit = _fit(of, targets)
    yield from _shifts(fit, indices, len(cases))
    if not answers.picks:
        yield from _sorted(answers, fit, indices)
        yield from ((text, True) for text in _doubled(answers, indices))


def are_unrelated(answers: ArmAnswers) -> bool:
    """Return whether sentences have no more words of their own prompt than of another.

    Translations share no words either, so it is False if the right answers are such sentences.
    """
    cases = answers.cases[: 2 * READ]
    written = [answers.words.get(case.id) for case in cases]
    right = [words_of(case.expected_texts()[0]) if case.expected else None for case in cases]
    prompts = [words_of(prompt_of(case)) for case in cases]
    return _is_related(written, prompts) is False and _is_related(right, prompts) is not False


def _is_related(texts: Sequence[Words | None], prompts: Sequence[Words]) -> bool | None:
    """Return whether texts fit their own prompt best; None if too few are sentences."""
    present = [i for i, words in enumerate(texts) if words is not None]
    indices = [i for i in present if len(texts[i] or ()) >= _SENTENCE]
    if len(indices) < FEWEST_ORDERED or 2 * len(indices) < len(present):
        return None
    fit, n = _fit(texts, prompts), len(prompts)
    return _chance([_sign(fit(i, i) - fit(i, (i + n // 2) % n)) for i in indices]) <= _RELATED


def _fit(answers: Sequence[Words | None], targets: Sequence[Words]) -> _Fit:
    def fit(answer: int, case: int) -> float:
        words = answers[answer]
        if not words or not 0 <= case < len(targets):
            return 0.0
        return len(words & targets[case]) / len(words)

    return fit


def _shifts(fit: _Fit, indices: Sequence[int], n: int) -> Iterator[tuple[str, bool]]:
    """Yield the shifts, or the reversal, that fit better, and whether that is proven."""
    steps = [step * sign for step in range(1, FARTHEST + 1) for sign in (1, -1)]
    for step in steps:
        lines = abs(step)
        inner = [i for i in indices if lines <= i < n - lines]
        gains = [_sign(fit(i, i + step) - fit(i, i)) for i in inner]
        # Where labels alternate, an arm that mixes them up fits either neighbour.
        control = [_sign(fit(i, i + step) - fit(i, i - step)) for i in inner]
        if better := _better(gains, control, len(steps) + 1):
            where = f"the {'next' if step > 0 else 'previous'} case"
            by = "a line" if lines == 1 else f"{lines} lines"
            if lines > 1:
                where = f"the case {by} {'on' if step > 0 else 'back'}"
            part = f", cases {inner[better.start] + 1} to {inner[better.end - 1] + 1}"
            yield (
                f"its answers fit {where} better than their own (on {better.surplus} more of "
                f"{len(gains)} cases{part if better.end - better.start < len(gains) else ''}); are "
                f"they shifted by {by}?",
                better.proven,
            )
    last = n - 1
    gains = [_sign(fit(i, last - i) - fit(i, i)) for i in indices]
    control = [_sign(fit(i, last - i) - fit(i, (last - i + n // 3) % n)) for i in indices]
    better = _better(gains, control, len(steps) + 1)
    if better is not None and better.end - better.start == len(gains):
        yield (
            f"its answers fit the cases in reverse better than their own (on {better.surplus} more "
            f"of {len(gains)} cases); is the file reversed?",
            True,
        )


class _Part(NamedTuple):
    """The part of the cases on which a pairing is better."""

    start: int
    end: int
    surplus: int
    """Cases that fit better, less those that fit worse."""
    proven: bool


def _sign(difference: float) -> int:
    return (difference > 0) - (difference < 0)


def _better(gains: Sequence[int], control: Sequence[int], tried: int) -> _Part | None:
    """Return the part in which a pairing is better than the arm's own and than a control.

    All cases are tried first; then the best end and the best beginning, which is proven at the
    level of a search over all 2n of them.
    """
    n = len(gains)
    sums = list(accumulate((a + b for a, b in zip(gains, control, strict=True)), initial=0))
    least, largest = (end(range(n + 1), key=sums.__getitem__) for end in (min, max))
    for start, end, searched in ((0, n, 1), (least, n, 2 * n), (0, largest, 2 * n)):
        signs = [gains[start:end], control[start:end]]
        if end - start < _LEAST_PART * n or min(map(sum, signs)) <= SHIFTED * (end - start):
            continue
        p_value = max(map(_chance, signs))
        if p_value <= CHANCE:
            return _Part(start, end, sum(signs[0]), p_value <= CHANCE / (tried * searched))
    return None


def _chance(signs: Sequence[int]) -> float:
    from tunegate.harness.stats.binary import mcnemar_midp

    return mcnemar_midp(signs.count(1), signs.count(-1)).p_value


def _sorted(answers: ArmAnswers, fit: _Fit, indices: Sequence[int]) -> Iterator[tuple[str, bool]]:
    """Yield that answers are in alphabetical order, and fit their cases like any others.

    Two labels in order may be those of two kinds of cases.
    """
    cases = answers.cases[: 2 * READ]
    # Behind one beginning, a running number puts any answers in order.
    heads = [answers.heads[cases[i].id][:_BEGINNING] for i in indices]
    expected = [" ".join(cases[i].expected_texts()[:1]) for i in indices]
    order = max(_in_order(heads), _in_order([text.casefold() for text in heads]))
    if len(heads) < FEWEST_ORDERED or order < _SORTED or _in_order(expected) >= order:
        return
    several, most = len(set(heads)), Counter(heads).most_common(1)[0][1]
    if most > _ONE_LABEL * len(heads) or len(set(expected)) == 1 < several <= 2:
        return
    written = [answers.words.get(case.id) for case in cases]
    to_prompts, n = _fit(written, [words_of(prompt_of(case)) for case in cases]), len(cases)
    signs = [[_sign(f(i, i) - f(i, (i + n // 3) % n)) for i in indices] for f in (fit, to_prompts)]
    if min(map(_chance, signs)) > CHANCE:
        yield (
            f"its {len(heads)} answers stand in alphabetical order, and fit their own cases no "
            "better than others; was the file sorted?",
            several > 2,
        )


def _doubled(answers: ArmAnswers, indices: Sequence[int]) -> Iterator[str]:
    """Yield that each answer stands twice, so that every second one is of another case."""
    texts = [answers.texts[answers.cases[i].id] for i in indices]
    expected = [answers.cases[i].expected for i in indices]
    for first in (0, 1):
        starts = range(first, len(texts) - 2, 2)
        twice = [texts[i] == texts[i + 1] for i in starts]
        signs = [
            _sign(same - (texts[i + 1] == texts[i + 2]))
            for i, same in zip(starts, twice, strict=True)
        ]
        right = sum(expected[i] is not None and expected[i] == expected[i + 1] for i in starts)
        if sum(twice) < _SORTED * len(twice) or right > _ONE_LABEL * len(twice) or not twice:
            continue
        if _chance(signs) <= CHANCE:
            yield (
                f"{2 * sum(twice)} of its {len(texts)} answers stand twice, one below the other; "
                "was each line written twice?"
            )


def _in_order(texts: Sequence[str]) -> float:
    """Return the share of unequal neighbours that are in order, ascending or descending."""
    up, down = (sum(a < b for a, b in pairwise(some)) for some in (texts, texts[::-1]))
    return max(up, down) / max(1, up + down)


def of_other_cases(answers: ArmAnswers) -> str | None:
    """Return that an arm gives the right answers of other cases, each about once, or None.

    A model sees one case at a time. Where it guesses among m answers, k guesses give about
    m(1 - (1 - 1/m)^k) different ones (the occupancy problem); answers in another order are all
    different. The number of repeats is tested as a Poisson one, whose variance is larger.
    """
    cases = answers.cases[: 2 * READ]
    right = {c.id: plain_words(c.expected_texts()[0].strip()[:SHOWN]) for c in cases if c.expected}
    counts = Counter(right.values())
    owners = {text: case for case, text in right.items() if text and counts[text] == 1}
    elsewhere: list[str] = []
    answered = hits = 0
    for case, text in right.items():
        if case not in answers.heads:
            continue
        answered += 1
        answer = plain_words(answers.heads[case])
        if f" {text} " in f" {answer} ":
            hits += 1
        elif answer in owners:
            elsewhere.append(owners[answer])
    repeats = len(elsewhere) - len(set(elsewhere))
    if len(elsewhere) <= max(hits, SHIFTED * answered):
        return None
    from scipy.stats import poisson  # type: ignore[import-untyped]  # ships no types

    k, m = len(elsewhere), len(owners)
    by_chance = k - m * (1 - (1 - 1 / m) ** k)
    if poisson.cdf(repeats, by_chance) > CHANCE:
        return None
    return (
        f"{k} of its {answered} answers are right for another case, {k - repeats} different ones, "
        f"and {hits} for their own; are they in another order?"
    )


class Permuted(NamedTuple):
    """Another assignment of labels that explains results below chance."""

    text: str
    several: bool
    """Whether there are more than two labels."""


def permuted_labels(answers: ArmAnswers) -> Permuted | None:
    """Return the assignment of labels that explains results below chance, or None."""
    if answers.picks:
        pairs = [(str(answers.picks[c.id]), str(c.answer)) for c in answers.cases
                 if c.id in answers.picks and c.answer is not None]  # fmt: skip
    else:
        expected = {
            case.id: plain_words(case.expected_texts()[0])
            for case in answers.cases[: 2 * READ]
            if case.expected_texts() and case.id in answers.heads
        }
        labels = set(expected.values())
        if 2 * len(labels) > len(expected) or len(labels) > _MOST_LABELS:
            return None
        answered = {case: plain_words(answers.heads[case]) for case in expected}
        pairs = [(text, expected[case]) for case, text in answered.items() if text in labels]
        if len(pairs) < 0.8 * len(answered):
            return None
    n, names = len(pairs), sorted({name for pair in pairs for name in pair})
    if n < _MOST_LABELS or not 2 <= len(names) <= _MOST_LABELS:
        return None
    return _best_assignment(Counter(pairs), names, n)


def _best_assignment(
    pairs: Mapping[tuple[str, str], int], names: Sequence[str], n: int
) -> Permuted | None:
    from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]
    from scipy.stats import binom

    counts = [[pairs.get((written, right), 0) for right in names] for written in names]
    written = [sum(row) for row in counts]
    right = [sum(row[k] for row in counts) for k in range(len(names))]
    correct = sum(counts[k][k] for k in range(len(names)))
    rows, columns = linear_sum_assignment(counts, maximize=True)
    hits = sum(counts[i][j] for i, j in zip(rows, columns, strict=True))
    by_chance = sum(written[i] * right[j] for i, j in zip(rows, columns, strict=True)) / n**2
    worse = correct < sum(a * b for a, b in zip(written, right, strict=True)) / n
    proven = binom.sf(hits - 1, n, by_chance) * math.factorial(len(names)) <= CHANCE
    if not worse or not proven or hits - correct <= SHIFTED * n:
        return None
    moved = [f"{names[i].strip()} for {names[j].strip()}"
             for i, j in zip(rows, columns, strict=True) if i != j][:3]  # fmt: skip
    below = f"{correct} of its {n} answers are right, less than by chance"
    if len(names) == 2:
        return Permuted(
            f"{below}; does it prefer the wrong one of two, or are its labels exchanged?", False
        )
    return Permuted(
        f"{below}, and {hits} would be with other labels ({', '.join(moved)} …); is its list of "
        "labels in another order?",
        True,
    )


def _target(case: Case) -> Words:
    """Return the words that an answer should have: those of the right answer, or the question's."""
    if case.expected is not None:
        return words_of(" ".join(case.expected_texts()))
    if case.choices and case.answer is not None and 0 <= case.answer < len(case.choices):
        return words_of(f"{chr(ord('A') + case.answer)} {case.choices[case.answer]}")
    if case.expected_calls:
        return words_of(json.dumps(case.expected_calls))
    return words_of(prompt_of(case))
