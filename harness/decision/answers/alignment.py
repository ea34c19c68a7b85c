"""Alignment: whether an arm's answers fit other cases, or other labels, better than their own.

Answers that were shifted by some lines, reversed, sorted or renumbered all count as wrong. The
metric is no part of a stored run, so an answer's fit to a case is the share of its words that the
right answer has, or else the prompt. A pairing is named only if it fits better than the arm's own
and better than a control that is as far off: a paired sign test of each, at `CHANCE` divided by the
number of pairings that were tried.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

from tunegate.harness.decision.answers.answer_shapes import READ, WORD, words_of
from tunegate.harness.decision.answers.arm_answers import ArmAnswers, prompt_of
from tunegate.harness.records.cases import Case

SHIFTED = 0.3
"""Share of the cases that fit better in another pairing, from which answers may be shifted."""
CHANCE = 1e-4
"""Largest p-value at which they are called shifted, over all pairings together."""
FARTHEST = 3
"""Lines by which answers are shifted at most."""
_SORTED = 0.98
"""Share of unequal neighbours in order from which answers look sorted."""
FEWEST_SORTED = 20
"""Answers from which an order is no accident."""
_MOST_LABELS = 20
"""Right answers up to which they are labels that may be permuted."""

Words = frozenset[str]
_Fit = Callable[[int, int], float]
"""(index of the answer, index of the case) → fit; 0 without either."""


def misaligned(answers: ArmAnswers) -> str:
    """Return how an arm's answers fit other cases better than their own, or ""."""
    cases = answers.cases[: 2 * READ]
    if answers.picks:
        of = [
            frozenset({str(answers.picks[c.id])}) if c.id in answers.picks else None for c in cases
        ]
        targets = [frozenset({str(case.answer)}) for case in cases]
    else:
        of = [answers.words.get(case.id) for case in cases]
        targets = [_target(case) for case in cases]

    def fit(answer: int, case: int) -> float:
        words = of[answer]
        if not words or not 0 <= case < len(targets):
            return 0.0
        return len(words & targets[case]) / len(words)

    indices = [i for i, words in enumerate(of) if words is not None]
    return next(_shifts(fit, indices, len(cases)), "") or _sorted(answers, fit, indices)


def _shifts(fit: _Fit, indices: Sequence[int], n: int) -> Iterator[str]:
    """Yield the shifts, or the reversal, that fit better from some line to another."""
    steps = [step * sign for step in range(1, FARTHEST + 1) for sign in (1, -1)]
    for step in steps:
        inner = [i for i in indices if FARTHEST <= i < n - FARTHEST] or indices
        own = [_sign(fit(i, i + step) - fit(i, i)) for i in inner]
        # Where labels alternate, an arm that mixes them up fits either neighbour.
        control = [_sign(fit(i, i + step) - fit(i, i - step)) for i in inner]
        if found := _better(own, control, len(steps)):
            where = {1: "the next case", -1: "the previous case"}.get(
                step, f"the case {abs(step)} lines {'on' if step > 0 else 'back'}"
            )
            start, end, more = found
            part = "" if end - start == len(own) else f", from case {inner[start] + 1} on"
            yield (
                f"its answers fit {where} better than their own (on {more} more of {len(own)} "
                f"cases{part}); are they shifted by {_lines(abs(step))}?"
            )
    last = n - 1
    own = [_sign(fit(i, last - i) - fit(i, i)) for i in indices]
    control = [_sign(fit(i, last - i) - fit(i, (last - i + n // 3) % n)) for i in indices]
    if found := _better(own, control, len(steps), segments=False):
        yield (
            f"its answers fit the cases in reverse better than their own (on {found[2]} more of "
            f"{len(own)} cases); is the file reversed?"
        )


def _lines(count: int) -> str:
    return "a line" if count == 1 else f"{count} lines"


def _sign(difference: float) -> int:
    return (difference > 0) - (difference < 0)


def _better(
    own: Sequence[int], control: Sequence[int], tried: int, *, segments: bool = True
) -> tuple[int, int, int] | None:
    """Return the segment (start, end, surplus) in which a pairing is better, or None.

    All cases are tried first; then the segment with the largest sum, at the level of a search over
    all segments.
    """
    whole = (0, len(own))
    best = (0, 0)
    total = top = start = 0
    for i, (a, b) in enumerate(zip(own, control, strict=True)):
        if total <= 0:
            total, start = 0, i
        total += a + b
        if total > top:
            top, best = total, (start, i + 1)
    searched = [(whole, 1), (best, max(1, len(own) ** 2 // 2))]
    for (first, end), many in searched[: 2 if segments else 1]:
        surplus = [sum(signs[first:end]) for signs in (own, control)]
        if min(surplus) <= SHIFTED * len(own):
            continue
        if all(_chance(signs[first:end]) <= CHANCE / (tried * many) for signs in (own, control)):
            return first, end, surplus[0]
    return None


def _chance(signs: Sequence[int]) -> float:
    from tunegate.harness.stats.binary import mcnemar_midp

    return mcnemar_midp(signs.count(1), signs.count(-1)).p_value


def _sorted(answers: ArmAnswers, fit: _Fit, indices: Sequence[int]) -> str:
    """Return that answers are in alphabetical order, and fit their cases like any others."""
    if answers.picks:
        return ""
    heads = [answers.heads[answers.cases[i].id].casefold() for i in indices]
    expected = [" ".join(answers.cases[i].expected_texts()[:1]).casefold() for i in indices]
    few = len(heads) < FEWEST_SORTED or len(set(heads)) < FARTHEST
    if few or _in_order(heads) < _SORTED or _in_order(expected) >= _SORTED:
        return ""
    n = len(answers.cases)
    ahead = [_sign(fit(i, i) - fit(i, (i + n // 3) % n)) for i in indices]
    if _chance(ahead) <= 0.01:
        return ""
    return (
        f"its {len(heads)} answers stand in alphabetical order, and fit their own cases no better "
        "than others; was the file sorted?"
    )


def _in_order(texts: Sequence[str]) -> float:
    """Return the share of unequal neighbours that are in order, ascending or descending."""
    up, down = (sum(a < b for a, b in pairwise(some)) for some in (texts, texts[::-1]))
    return max(up, down) / max(1, up + down)


def permuted_labels(answers: ArmAnswers) -> str:
    """Return that another assignment of labels explains results below chance, or ""."""
    if answers.picks:
        pairs = [(str(answers.picks[c.id]), str(c.answer)) for c in answers.cases
                 if c.id in answers.picks and c.answer is not None]  # fmt: skip
    else:
        known = {c.id: _spaced(c.expected_texts()[0]) for c in answers.cases if c.expected_texts()}
        written = {c: _spaced(head) for c, head in answers.heads.items() if c in known}
        labels = set(known.values())
        pairs = [(text, known[c]) for c, text in written.items() if text in labels]
        if 2 * len(labels) > len(known) or len(pairs) < 0.8 * len(answers.heads):
            return ""
    n, names = len(pairs), sorted({name for pair in pairs for name in pair})
    if n < _MOST_LABELS or not 2 <= len(names) <= _MOST_LABELS:
        return ""
    return _best_assignment(Counter(pairs), names, n)


def _best_assignment(pairs: Mapping[tuple[str, str], int], names: Sequence[str], n: int) -> str:
    from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]
    from scipy.stats import binom  # type: ignore[import-untyped]  # ships no types

    counts = [[pairs.get((said, right), 0) for right in names] for said in names]
    said = [sum(row) for row in counts]
    right = [sum(row[k] for row in counts) for k in range(len(names))]
    own = sum(counts[k][k] for k in range(len(names)))
    rows, columns = linear_sum_assignment(counts, maximize=True)
    hits = sum(counts[i][j] for i, j in zip(rows, columns, strict=True))
    by_chance = sum(said[i] * right[j] for i, j in zip(rows, columns, strict=True)) / n**2
    below = own < sum(a * b for a, b in zip(said, right, strict=True)) / n
    proven = binom.sf(hits - 1, n, by_chance) * math.factorial(len(names)) <= CHANCE
    if not below or not proven or hits - own <= SHIFTED * n:
        return ""
    moved = [f"{names[i].strip()} for {names[j].strip()}"
             for i, j in zip(rows, columns, strict=True) if i != j][:3]  # fmt: skip
    return (
        f"{own} of its {n} answers are right, less than by chance, and {hits} would be with other "
        f"labels ({', '.join(moved)} …); is its list of labels in another order?"
    )


def _spaced(text: str) -> str:
    return " ".join(WORD.findall(text.casefold()))


def _target(case: Case) -> Words:
    """Return the words that an answer should have: those of the right answer, or the question's."""
    if case.expected is not None:
        return words_of(" ".join(case.expected_texts()))
    if case.choices and case.answer is not None and 0 <= case.answer < len(case.choices):
        return words_of(f"{chr(ord('A') + case.answer)} {case.choices[case.answer]}")
    if case.expected_calls:
        return words_of(json.dumps(case.expected_calls))
    return words_of(prompt_of(case))
