"""Did the fine-tune see the cases that it is judged on? Training rows against every suite's cases.

What counts, and where it comes from:

- the whole prompt is a turn of a row (`exact`);
- 13 words in a row: GPT-3's unit of contamination (Brown et al. 2020, appendix C);
- half of the case's 8-grams, a near duplicate; a fifth is listed for review. PaLM asks for 70 %
  (Chowdhery et al. 2022), which lets light edits through;
- of a case with fewer than 13 words of its own, all of them: in one row as they stand, or, if
  there are not eight in a row, within a text of a row that holds the right answer too.

Words are compared in lower case and without punctuation. What several cases of a suite share is a
template and no case's own (`harness.checks.overlap.own`). A paraphrase is found by none of this.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.checks.overlap.index import CaseIndex, Overlap
from harness.checks.overlap.scan import scan
from harness.checks.overlap.texts import case_text
from harness.checks.training_data import Rows, Source
from harness.errors import NotComparable
from harness.leakage import MOST, Checked, Found, Leakage, Match, Mode, SuiteLeakage
from harness.suite import Suite

RUN = 13
"""Words in a row that are no accident."""
DIRTY, SUSPECT = 0.5, 0.2
"""Shares of a case's 8-grams."""
_NAMED = 10
"""Cases that a refusal names."""


def compare(
    suites: Sequence[Suite], sources: Sequence[Source], *, mode: Mode, unknown: str = ""
) -> Leakage:
    """Compare training rows with the cases of suites.

    Args:
        suites: The suites with their cases.
        sources: The files of rows; each is read once, and no row is kept.
        mode: What is to be done with touched cases.
        unknown: What else tuned was trained on, of which there are no rows.

    Raises:
        UsageError: a file that the user names cannot be read.
    """
    index = CaseIndex.of([[case_text(s.case) for s in suite.cases] for suite in suites])
    rows = Rows(sources)
    count = scan(index, rows)
    overlaps = iter(index.overlaps)
    absent = [f"{file.path}: {file.state}" for file in rows.files if not file.compared]
    absent += [unknown] if unknown else []
    if not count:
        why = "; ".join(absent) or "the files of the training hold no rows"
        return Leakage(mode=mode, checked=Checked.NOTHING, why=why, files=tuple(rows.files))
    return Leakage(
        mode=mode,
        checked=Checked.PART if absent else Checked.ALL,
        why="; ".join(absent),
        files=tuple(rows.files),
        rows=count,
        suites=tuple(_suite(suite, [next(overlaps) for _ in suite.cases]) for suite in suites),
    )


def refuse_too_many(leakage: Leakage, suites: Sequence[Suite]) -> None:
    """Refuse a run one of whose gating suites is known to the fine-tune.

    Raises:
        NotComparable: with the suite, how many of its cases are touched, and which.
    """
    gated = {suite.name for suite in suites if suite.gates}
    for suite in leakage.suites:
        if leakage.mode is Mode.GATE and suite.name in gated and suite.too_many:
            touched = suite.touched
            more = len(touched) - _NAMED
            named = ", ".join(touched[:_NAMED]) + (f" and {more} more" if more > 0 else "")
            raise NotComparable(
                f"{suite.name}: {len(touched)} of {suite.n_cases} cases stand in the training "
                f"rows, more than {MOST:.0%}: {named}; judge on cases that tuned was not trained "
                "on, or train without them (--gate-leakage=report judges all the same, and says so)"
            )


def _suite(suite: Suite, overlaps: Sequence[Overlap]) -> SuiteLeakage:
    matches = (_match(s.case.id, o) for s, o in zip(suite.cases, overlaps, strict=True))
    return SuiteLeakage(
        name=suite.name,
        n_cases=len(suite.cases),
        n_templates=sum(not overlap.runs for overlap in overlaps),
        matches=tuple(match for match in matches if match is not None),
    )


def _match(case: str, overlap: Overlap) -> Match | None:
    found = judged(overlap)
    if found is None:
        return None
    places = {
        Found.EXACT: overlap.exact_at,
        Found.RUN: overlap.longest_at,
        Found.WHOLE: overlap.one_at or overlap.answered_at,
    }
    return Match(
        case=case,
        found=found,
        share=round(overlap.seen / overlap.runs, 3) if overlap.runs else 0.0,
        longest=overlap.longest,
        where=places.get(found, overlap.one_at),
    )


def judged(overlap: Overlap) -> Found | None:
    """Return the strongest thing that a case and the rows have in common; None if it is too little.

    Example:
        >>> judged(Overlap(words=20, runs=13, seen=6, in_one=6, longest=13))
        <Found.RUN: '13 words in a row'>
    """
    if overlap.exact_at:
        return Found.EXACT
    if overlap.words < RUN:
        whole = overlap.answered_at or (overlap.runs and overlap.in_one == overlap.runs)
        return Found.WHOLE if whole else None
    if overlap.longest >= RUN:
        return Found.RUN
    share = overlap.seen / overlap.runs if overlap.runs else 0.0
    if share >= DIRTY:
        return Found.SHARE
    if overlap.answered_at:
        return Found.WHOLE
    return Found.SUSPECT if share >= SUSPECT else None
