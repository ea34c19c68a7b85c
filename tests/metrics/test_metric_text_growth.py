"""The time of every text metric grows with the length of the answer, not with its square."""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tunegate.harness.contracts.metric import Metric
from tunegate.harness.metrics.classification import classification
from tunegate.harness.metrics.contains import contains
from tunegate.harness.metrics.edit_similarity import edit_similarity
from tunegate.harness.metrics.exact_match import exact_match
from tunegate.harness.metrics.multiple_choice import multiple_choice
from tunegate.harness.metrics.numeric import numeric
from tunegate.harness.metrics.regex import regex
from tunegate.harness.metrics.token_f1 import token_f1
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

SIZES = ((2_000, 32_000), (31_250, 500_000))
"""Characters; the small pair tells of a square before the large one would take hours."""

BLUR = 0.03
"""Seconds beneath which the clock and the caches decide."""
LIMIT = 60
"""Between a growth of 16, which is linear, and 256, which is quadratic."""

PLAIN = Case(id="c", prompt="p", expected="42")
CHOICES = Case(id="c", prompt="p", choices=("London", "4", "a  b", "{", "aaaa"), answer=0)
LENIENT = {"ignore_case": True, "ignore_whitespace": True}
METRICS: dict[str, tuple[Metric, Case, dict[str, Any]]] = {
    "exact_match": (
        exact_match,
        PLAIN,
        {**LENIENT, "ignore_punctuation": True, "ignore_articles": True},
    ),
    "token_f1": (token_f1, PLAIN, {}),
    "contains": (contains, PLAIN, {"texts": ("aaaab", "(A(", "1" * 99 + "2"), **LENIENT}),
    "regex": (regex, PLAIN, {"pattern": r"\bKT-\d{4}\b"}),
    "numeric": (numeric, PLAIN, {}),
    "multiple_choice": (multiple_choice, CHOICES, {}),
    "classification": (
        classification,
        PLAIN,
        {"labels": ("42", "a a a b", "11", "("), "extract": True},
    ),
    "edit_similarity": (edit_similarity, PLAIN, LENIENT),
}
UNITS = {
    "digits": "1",
    "spaces": " ",
    "newlines": "\n",
    "open brackets": "(A",
    "closed brackets": "A) ",
    "opening braces": "{",
    "closing braces": "}",
    "letters and spaces": "A ",
    "letters and lines": "A\n",
    "commas": "1,",
    "pairs": ",11",
    "points": ".1",
    "slashes": "1/",
    "numbers and spaces": "1 1 ",
    "powers": "1^",
    "hashes": "#",
    "marked numbers": "#### 1\n",
    "boxes": "\\boxed{",
    "fractions": "\\frac{1",
    "the answer is": "the answer is ",
    "answers and letters": "answer is A or ",
    "negations": "not A ",
    "asterisks": "*",
    "right to left": "\u202eא",
}


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    """Keep out the garbage collector: it walks what all tests before have left, ever more often."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def growth(metric: Metric, case: Case, options: dict[str, Any], unit: str) -> float:
    """Return how many times longer sixteen times the text takes, in time of this process alone.

    What follows the repetition makes patterns fail that would match to the end.
    """
    worst = 0.0
    for sizes in SIZES:
        times = []
        for size in sizes:
            completion = Completion(text=unit * (size // len(unit)) + "x1")
            start = time.process_time()
            metric.score(case, completion, **options)
            times.append(max(BLUR, time.process_time() - start))
        worst = max(worst, times[1] / times[0])
        if worst > LIMIT:
            break
    return worst


@pytest.mark.parametrize("name", METRICS)
def test_time_grows_with_the_length(name: str) -> None:
    """Sixteen times the text takes far less than the 256-fold time, whatever it is made of."""

    def slow(unit: str) -> bool:
        # three looks, for what another process may have slowed down
        return all(growth(*METRICS[name], unit) > LIMIT for _ in range(3))

    assert [unit for unit in UNITS.values() if slow(unit)] == []


def test_a_square_would_be_seen() -> None:
    def careless(case: Case, completion: Completion) -> Score:
        return Score.of(float(re.search(r"\s+$", completion.text or "") is not None))

    assert growth(Metric("careless", careless), PLAIN, {}, " ") > LIMIT
