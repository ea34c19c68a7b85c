"""Regressions: how many cases flipped, then the list of cases, newly failing first.

The list holds every case of the run; it begins with its filter on what got worse.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise, repeat
from typing import TYPE_CHECKING

from tunegate.harness.records.images import content_text
from tunegate.harness.records.text_forms import LIST_ITEM, is_json
from tunegate.reports.case_view import BASE, TUNED, CaseChange, CaseView, MetricFacts, PairScore
from tunegate.reports.data import ReportData, once_per_report
from tunegate.reports.templating import fill_page_template

if TYPE_CHECKING:
    from markupsafe import Markup

TITLE = "Regressions"
ORDER = 20


@dataclass(frozen=True, slots=True)
class FlipCounts:
    """How often a pass/fail metric changed sides."""

    metric: MetricFacts
    broke: int
    fixed: int
    both_pass: int
    both_fail: int


def render(data: ReportData) -> Markup:
    """Return the flip counts, and the frame in which the script draws the list."""
    return fill_page_template(
        "regressions.html",
        flips=count_flips(data),
        broke=data.with_outcome(CaseChange.BROKE),
        worse=data.with_outcome(CaseChange.WORSE),
        total=len(data.regressions),
        touched=sum(view.touched is not None for view in data.regressions),
        traits=shared_traits(data),
    )


@dataclass(frozen=True, slots=True, order=True)
class SharedTrait:
    """Something that most cases which got worse have, and few of the others."""

    words: str
    """Their common property as a verb, as in `have the tag`; `what` follows."""
    what: str
    """A text of the run; empty where the words are enough."""
    worse: tuple[int, int]
    """How many of the cases that got worse have it, and of how many."""
    others: tuple[int, int]
    """The same of the suite's other cases."""
    suite: str

    @property
    def counts(self) -> str:
        """The numbers in words."""
        worse, others = (f"{n} of {total}" for n, total in (self.worse, self.others))
        return f"{worse} of {self.suite}, and {others} others"


MOST_TRAITS = 3
"""Traits that are shown at most."""
SURE = 0.01
"""Fisher's exact test, one-sided, times the number of traits that were looked at, is at most this.

By chance alone at most one page in a hundred shows a trait.
"""


@once_per_report  # page and summary show them
def shared_traits(data: ReportData) -> list[SharedTrait]:
    """Return what most cases of a suite that got worse have in common, the clearest first.

    Looked at are tags, expected answers, words and pairs of words of the question, and of tuned's
    answer its length, end, first word and format.
    """
    suites = dict.fromkeys(view.suite for view in data.regressions)
    traits = sorted(
        (p * len(suites), trait) for suite in suites for p, trait in _suite_traits(data, suite)
    )
    traits = [pair for pair in traits if pair[0] <= SURE]
    return [trait for _, trait in traits[:MOST_TRAITS]]


def _suite_traits(data: ReportData, suite: str) -> Iterator[tuple[float, SharedTrait]]:
    """Yield the traits of one suite with their probability by chance, one for the same cases."""
    views = [view for view in data.cases if view.suite == suite]
    names = {view.name for view in views}
    failed = {view.name for view in data.regressions if view.suite == suite}
    shares = Counter(
        chain.from_iterable(dict.fromkeys(_traits(view)) for view in views if view.name in failed)
    )
    frequent = {trait for trait, count in shares.items() if count >= max(3, len(failed) / 2)}
    having: dict[tuple[str, str], set[str]] = {}
    for view in views if frequent else ():  # without one, only the failed cases were read
        for trait in filter(frequent.__contains__, _traits(view)):
            having.setdefault(trait, set()).add(view.name)
    seen: set[frozenset[str]] = set()
    for (words, what), named in having.items():
        cases = frozenset(named)
        if cases in seen:
            continue
        shared = len(cases & failed)
        p = _tail(shared, len(failed), len(cases), len(names)) * len(shares)
        if p <= SURE:
            seen.add(cases)
            others = len(cases - failed), len(names - failed)
            yield p, SharedTrait(words, what, (shared, len(failed)), others, suite)


def _traits(view: CaseView) -> list[tuple[str, str]]:
    """Return the traits of a case: words, and the text that they are about."""
    case, answer = view.case, view.answer(TUNED)
    question = content_text(case.input_messages()[-1].get("content")) or ""
    words = re.findall(r"[^\W\d_]{3,}", question.lower())[:400]
    expected = (text for text in case.expected_texts() if len(text) <= 40)
    traits = [
        *zip(repeat("have the tag"), case.tags),
        *zip(repeat("ask with the word"), words),
        *zip(repeat("ask with the words"), map(" ".join, pairwise(words))),
        *zip(repeat("expect the answer"), expected),
    ]
    if answer is not None and answer.text is not None:
        if answer.finish_reason == "length":
            traits.append(("were cut off at the limit of tokens", ""))
        traits += _answer_traits(view.text(BASE) or "", answer.text)
    return traits


def _answer_traits(base: str, tuned: str) -> Iterator[tuple[str, str]]:
    """Yield the traits of tuned's answer, compared with base's."""
    if not tuned.strip():
        yield "have an empty answer", ""
    elif base.strip():
        yield "have an answer that begins with", tuned.split()[0][:40]
        if len(tuned) > 2 * len(base):
            yield "have an answer of more than twice the length of base’s", ""
        if 2 * len(tuned) < len(base):
            yield "have an answer of less than half the length of base’s", ""
        for words, has_format in _FORMATS.items():
            if has_format(tuned) != has_format(base):
                yield (
                    f"{'answer' if has_format(tuned) else 'do not answer'} {words}, unlike base",
                    "",
                )


_FORMATS: dict[str, Callable[[str], bool]] = {
    "in JSON": is_json,
    "with a code fence": lambda text: "```" in text,
    "with a list": lambda text: LIST_ITEM.search(text) is not None,
    "in several lines": lambda text: "\n" in text.strip(),
}
"""Words → whether a text has that format; what matters is where the arms differ in it."""


def _tail(shared: int, failed: int, having: int, total: int) -> float:
    """Return the probability that chance puts `shared` or more of `having` cases among `failed`."""

    def log_ways(n: int, k: int) -> float:
        return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)

    least = max(shared, failed - (total - having))
    return sum(
        math.exp(
            log_ways(having, k) + log_ways(total - having, failed - k) - log_ways(total, failed)
        )
        for k in range(least, min(having, failed) + 1)
    )


def count_flips(data: ReportData) -> list[FlipCounts]:
    """Return the flip counts of every gated pass/fail metric, and of questions in any case."""
    return [
        _count(
            facts,
            (
                score
                for view, score in data.pair_scores.get((facts.suite, facts.name), ())
                if view.case.counts_for(None)
            ),
        )
        for facts in data.metrics.values()
        if facts.binary and (facts.gated or facts.picks)
    ]


def _count(facts: MetricFacts, scores: Iterable[PairScore]) -> FlipCounts:
    counts = dict.fromkeys(((a, b) for a in (True, False) for b in (True, False)), 0)
    for score in scores:
        if score.base and score.tuned and score.delta is not None:
            passed = [bool(s.value) is facts.higher_is_better for s in (score.base, score.tuned)]
            counts[passed[0], passed[1]] += 1
    return FlipCounts(
        metric=facts,
        broke=counts[True, False],
        fixed=counts[False, True],
        both_pass=counts[True, True],
        both_fail=counts[False, False],
    )
