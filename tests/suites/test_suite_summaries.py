"""summaries: passages, instructions and references that keep what the README promises."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from tunegate.harness.metrics.format import format as keeps_rules
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.suite import load_suite

FOLDER = Path(__file__).parents[2] / "suites" / "summaries"
SUITE = load_suite(FOLDER)
CASES = SUITE.cases
PASSAGES = sorted({case.context or "" for case in CASES})


def instruction(case: Case) -> str:
    """Return what the prompt says besides the passage."""
    return (case.prompt or "").replace(case.context or "", "").strip()


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation."""
    return re.findall(r"[\w']+", text.lower())


def test_there_are_enough_cases_of_each_genre() -> None:
    """180 cases over 172 passages, 11 or 12 of each of 16 genres; the id begins with the genre."""
    assert (180, 172) == (len(CASES), len(PASSAGES))
    genres = Counter(tag for case in CASES for tag in case.tags)
    assert (len(genres), set(genres.values())) == (16, {11, 12})
    assert [case.id.rpartition("-")[0] for case in CASES] == [case.tags[0] for case in CASES]


def test_passages_have_the_promised_length() -> None:
    """Each passage has 80 to 250 words."""
    lengths = [len(passage.split()) for passage in PASSAGES]

    assert 80 <= min(lengths)
    assert max(lengths) <= 250


def test_the_passage_is_in_the_prompt() -> None:
    assert [case.id for case in CASES if (case.context or "?") not in (case.prompt or "")] == []


def test_cases_of_one_passage_are_one_cluster() -> None:
    clusters = defaultdict(set)
    for case in CASES:
        clusters[case.context].add(case.cluster or case.id)

    assert [names for names in clusters.values() if len(names) > 1] == []
    assert sum(case.cluster is not None for case in CASES) == 16


def test_no_instruction_is_used_twice() -> None:
    assert Counter(map(instruction, CASES)).most_common(1)[0][1] == 1


def test_passages_are_not_variants_of_each_other() -> None:
    runs: Counter[tuple[str, ...]] = Counter()
    for passage in PASSAGES:
        found = words(passage)
        runs.update({tuple(found[i : i + 8]) for i in range(len(found) - 7)})

    assert [run for run, count in runs.items() if count > 1] == []


def test_references_do_as_they_are_told() -> None:
    broken = [
        (case.id, score.reason)
        for case in CASES
        for reference in case.expected_texts()
        if (score := keeps_rules(case, Completion(text=reference))).value != 1.0
    ]

    assert broken == []


def test_the_passage_itself_is_too_long() -> None:
    kept = [c.id for c in CASES if keeps_rules(c, Completion(text=c.context)).value != 0.0]

    assert kept == []


def test_references_are_summaries_of_their_own_passage() -> None:
    for case in CASES:
        for reference in case.expected_texts():
            assert len(reference.split()) < len((case.context or "").split()) / 2
            assert reference not in (case.context or "")
            shared = {p: _content(reference) & _content(p) for p in PASSAGES}
            assert max(PASSAGES, key=lambda p: len(shared[p])) == case.context


def _content(text: str) -> set[str]:
    return {word for word in words(text) if len(word) > 3 or word.isdigit()}


def test_figures_of_a_reference_come_from_the_passage() -> None:
    invented = [
        (case.id, number)
        for case in CASES
        for reference in case.expected_texts()
        for number in re.findall(r"\d[\d.,:]*\d|\d", reference)
        if number not in (case.context or "")
    ]

    assert invented == []


def test_a_reference_scores_best_and_that_of_another_case_badly() -> None:
    """The metric gives 1 for a reference and less than 0.3 for that of another passage."""
    rouge = SUITE.metric("rouge")
    for case, other in zip(CASES, CASES[1:] + CASES[:1], strict=True):
        own, foreign = case.expected_texts()[0], other.expected_texts()[0]
        assert rouge(case, Completion(text=own)).value == pytest.approx(1.0)
        if case.context != other.context:
            assert (rouge(case, Completion(text=foreign)).value or 0.0) < 0.3
