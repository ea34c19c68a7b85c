"""Contamination check: the training rows of a fine-tune against the cases of every suite.

What counts, and where it comes from:

- the whole prompt is a turn of a row (`exact`);
- 13 words in a row: GPT-3's unit of contamination (Brown et al. 2020, appendix C);
- half of the case's 8-grams, a near duplicate; a fifth is listed for review. PaLM asks for 70 %
  (Chowdhery et al. 2022), which misses light edits;
- for a case with fewer than 13 words of its own, all of them: in one row unchanged, or, without
  eight in a row, within a text of a row that holds the right answer, too.

Words are compared in lower case and without punctuation. What several cases of a suite share is a
template (`tunegate.harness.checks.contamination.templates`). A row that holds a wording of a case
(`[variants]`) holds the case. Other paraphrases are not found.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tunegate.harness.checks.contamination.index import CaseIndex, CaseOverlap
from tunegate.harness.checks.contamination.scan import TrainingText, scan_rows
from tunegate.harness.checks.contamination.text import case_text, row_texts
from tunegate.harness.checks.contamination.training_rows import TrainingRowStream, TrainingSource
from tunegate.harness.records.contamination import (
    MAX_TOUCHED_SHARE,
    ContaminationCheck,
    ContaminationCoverage,
    ContaminationMatch,
    ContaminationMode,
    OverlapKind,
    SuiteContamination,
)
from tunegate.harness.records.errors import NotComparable, SuiteError
from tunegate.harness.records.problems import summarize_problems
from tunegate.harness.records.wording import count_noun
from tunegate.harness.suite import Suite
from tunegate.harness.suite.arm_prompt import SolvedExample

RUN = 13
"""Words in a row that cannot be an accident."""
DIRTY, SUSPECT = 0.5, 0.2
"""Shares of a case's 8-grams."""
_NAMED = 10
"""Most cases that a refusal names."""


def check_contamination(
    suites: Sequence[Suite],
    sources: Sequence[TrainingSource],
    *,
    mode: ContaminationMode,
    unknown: str = "",
) -> ContaminationCheck:
    """Compare training rows, which stream by, with the cases of suites.

    `unknown` says what else tuned was trained on, without rows.
    """
    index = CaseIndex.of([[case_text(case) for case in suite.cases] for suite in suites])
    rows = TrainingRowStream(sources)
    count = scan_rows(index, rows)
    overlaps = iter(index.overlaps)
    absent = [f"{file.path}: {file.state}" for file in rows.files if not file.compared]
    absent += [unknown] if unknown else []
    seen = sum(bool(case.images) for suite in suites for case in suite.plain_cases)
    absent += [f"{count_noun(seen, 'case')} with images not compared"] if seen else []
    if not count:
        why = "; ".join(absent) or "the files of the training hold no rows"
        return ContaminationCheck(
            mode=mode, checked=ContaminationCoverage.NOTHING, why=why, files=tuple(rows.files)
        )
    return ContaminationCheck(
        mode=mode,
        checked=ContaminationCoverage.PART if absent else ContaminationCoverage.ALL,
        why="; ".join(absent),
        files=tuple(rows.files),
        rows=count,
        suites=tuple(_suite(suite, [next(overlaps) for _ in suite.cases]) for suite in suites),
    )


def refuse_too_many(leakage: ContaminationCheck, suites: Sequence[Suite]) -> None:
    """Refuse a run if the fine-tune was trained on too many cases of a suite with gates."""
    gated = {suite.name for suite in suites if suite.gates}
    for suite in leakage.suites:
        if leakage.mode is ContaminationMode.GATE and suite.name in gated and suite.too_many:
            touched = suite.touched
            more = len(touched) - _NAMED
            named = ", ".join(touched[:_NAMED]) + (f" and {more} more" if more > 0 else "")
            raise NotComparable(
                f"{suite.name}: {len(touched)} of {suite.n_cases} cases are in the training "
                f"rows, more than {MAX_TOUCHED_SHARE:.0%}: {named}; judge on cases that tuned was "
                "not trained on, or train without them (--gate-leakage=report judges anyway, "
                "with a note)"
            )


def refuse_cases_as_examples(suites: Sequence[Suite]) -> None:
    """Refuse solved examples of a prompt that are cases: they tell an arm the right answers.

    Raises:
        SuiteError: file and line of each such example, and its case.
    """
    problems = [
        f"{match.where}: this example of [{name}] is case {match.case!r} of {suite.name}; take "
        "examples from the training rows"
        for suite in suites
        for name, prompt in suite.arm_prompts.items()
        for match in _touched_by_examples(suite, _index_of(suite), prompt.examples)
    ]
    if problems:
        raise SuiteError(summarize_problems(problems))


def examples_without_cases(
    suite: Suite, examples: Iterable[SolvedExample], most: int
) -> tuple[SolvedExample, ...]:
    """Return the first examples, at most so many, that `refuse_cases_as_examples` accepts."""
    index = _index_of(suite)
    kept: tuple[SolvedExample, ...] = ()
    for example in examples:
        if not _touched_by_examples(suite, index, (*kept, example)):
            kept = (*kept, example)
        if len(kept) == most:
            break
    return kept


def _index_of(suite: Suite) -> CaseIndex:
    return CaseIndex.of([[case_text(case) for case in suite.cases]])


def _touched_by_examples(
    suite: Suite, index: CaseIndex, examples: Iterable[SolvedExample]
) -> list[ContaminationMatch]:
    index.overlaps = [CaseOverlap(words=o.words, runs=o.runs) for o in index.overlaps]
    scan_rows(index, (TrainingText(e.where, tuple(row_texts([*e.turns]))) for e in examples))
    return [match for match in _suite(suite, index.overlaps).matches if match.touched]


def _suite(suite: Suite, overlaps: Sequence[CaseOverlap]) -> SuiteContamination:
    pairs = list(zip(suite.cases, overlaps, strict=True))
    by_case: dict[str, list[ContaminationMatch]] = {case.id: [] for case in suite.plain_cases}
    for case, overlap in pairs:
        match = _match(case.variant_of or case.id, overlap)
        if match is not None:
            by_case[match.case].append(match)
    return SuiteContamination(
        name=suite.name,
        n_cases=sum(not case.images for case in suite.plain_cases),
        n_templates=sum(not o.runs for case, o in pairs if case.variant_of is None),
        matches=tuple(min(found, key=_weakness) for found in by_case.values() if found),
    )


def _weakness(match: ContaminationMatch) -> int:
    return list(OverlapKind).index(match.found)


def _match(case: str, overlap: CaseOverlap) -> ContaminationMatch | None:
    overlap_kind = classify_overlap(overlap)
    if overlap_kind is None:
        return None
    places = {
        OverlapKind.EXACT: overlap.exact_at,
        OverlapKind.RUN: overlap.longest_at,
        OverlapKind.WHOLE: overlap.one_at or overlap.answered_at,
    }
    return ContaminationMatch(
        case=case,
        found=overlap_kind,
        share=round(overlap.seen / overlap.runs, 3) if overlap.runs else 0.0,
        longest=overlap.longest,
        where=places.get(overlap_kind, overlap.one_at),
    )


def classify_overlap(overlap: CaseOverlap) -> OverlapKind | None:
    """Return the strongest overlap of a case and the rows; None if it is too small to count.

    Example:
        >>> classify_overlap(CaseOverlap(words=20, runs=13, seen=6, in_one=6, longest=13))
        <OverlapKind.RUN: '13 words in a row'>
    """
    if overlap.exact_at:
        return OverlapKind.EXACT
    if overlap.words < RUN:
        whole = overlap.answered_at or (overlap.runs and overlap.in_one == overlap.runs)
        return OverlapKind.WHOLE if whole else None
    if overlap.longest >= RUN:
        return OverlapKind.RUN
    share = overlap.seen / overlap.runs if overlap.runs else 0.0
    if share >= DIRTY:
        return OverlapKind.SHARE
    if overlap.answered_at:
        return OverlapKind.WHOLE
    return OverlapKind.SUSPECT if share >= SUSPECT else None
