"""All that a verdict takes from the texts of answers and prompts, read in one place.

What decides afterwards has counts and findings only. An attestation holds these, so that it is
decided again exactly as the run was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.contracts.further_arm import ARMS, INCUMBENT, reference_arms
from tunegate.harness.decision.answer_facts.answer_counts import AnswerCounts, count_answers
from tunegate.harness.decision.answer_facts.form_shift import answer_forms
from tunegate.harness.decision.answer_facts.plausibility import oddities
from tunegate.harness.decision.score_table import ScoreTable, tables_of
from tunegate.harness.records.answers import StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.images import content_text
from tunegate.harness.records.manifest import Manifest
from tunegate.harness.records.scores import ScoreRow


def read_answers(
    manifest: Manifest,
    cases: Mapping[str, Sequence[Case]],
    scores: Iterable[ScoreRow],
    cells: Iterable[StoredAnswer],
    looks: Mapping[str, InterimLook],
) -> dict[str, AnswerCounts]:
    """Return suite → what its verdict takes from the texts.

    Args:
        manifest: The run.
        cases: Suite → its cases.
        scores: Every score.
        cells: The answers, grouped by case.
        looks: Suite → the look at which it ended, if it has looks.
    """
    variants = {(suite, case.id) for suite, of in cases.items() for case in of if case.variant_of}
    plain = (stored for stored in cells if (stored.cell.suite, stored.cell.case) not in variants)
    counts = count_answers(plain, cases)
    return {
        table.suite.name: _without_texts(replace(table, answers=counts[table.suite.name]))
        for table in tables_of(manifest, cases, scores, looks)
        if table.suite.name in counts
    }


def _without_texts(table: ScoreTable) -> AnswerCounts:
    counts = table.answers
    tuned, incumbent = (counts.arms.get(arm) for arm in ("tuned", INCUMBENT))
    broken: dict[str, tuple[str, ...]] = {}
    odd: dict[str, tuple[str, ...]] = {}
    for oddity in oddities(table, (*ARMS, INCUMBENT, *reference_arms())):
        of_arm = broken if oddity.caps else odd
        of_arm[oddity.arm] = (*of_arm.get(oddity.arm, ()), oddity.sentence)
    return replace(
        counts,
        broken=broken,
        odd=odd,
        equals_incumbent=tuned.texts == incumbent.texts if tuned and incumbent else None,
        all_expected=tuned is not None and tuned.all_expected(),
        prompts_in_form=_prompts_in_form(table),
        arms={},
    )


def _prompts_in_form(table: ScoreTable) -> int:
    form = table.answers.form
    if form is None:
        return 0
    cases = table.cases.values()
    texts = (content_text(c.input_messages()[-1].get("content")) or "" for c in cases)
    return sum(form.form in answer_forms(text) for text in texts)
