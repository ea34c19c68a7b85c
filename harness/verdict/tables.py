"""The scores of a run, suite by suite, without the cases that no gate may rest on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from harness.manifest import Manifest
from harness.records import Case, ScoreRow
from harness.verdict.looks import Look
from harness.verdict.scores import Table


def tables_of(
    manifest: Manifest,
    cases: Mapping[str, Sequence[Case]],
    scores: Iterable[ScoreRow],
    looks: Mapping[str, Look],
    *,
    without: Mapping[str, frozenset[str]] | None = None,
) -> list[Table]:
    """Return the scores of each suite of `cases`, of those cases that its look has seen.

    Args:
        manifest: The run.
        cases: Suite → its cases.
        scores: Scores, of other suites too.
        looks: Suite → the look at which it is judged.
        without: Suite → cases to leave out; None leaves out those that tuned was trained on.
    """
    by_suite: dict[str, dict[tuple[str, str, str], ScoreRow]] = defaultdict(dict)
    for row in scores:
        by_suite[row.suite][row.metric, row.case, row.arm] = row
    planned = defaultdict(set)
    for cell in manifest.plan:
        planned[cell.suite].add((cell.kind, cell.case))
    if without is None:
        without = {} if manifest.leakage is None else manifest.leakage.left_out
    return [
        Table(
            suite,
            {
                c.id: c
                for c in cases[suite.name]
                if c.id not in out and (look is None or c.id in seen)
            },
            by_suite[suite.name],
            frozenset(planned[suite.name]),
            look,
        )
        for suite in manifest.suites
        if suite.name in cases
        for look in [looks.get(suite.name)]
        for seen in [frozenset(look.seen if look else ())]
        for out in [without.get(suite.name, frozenset())]
    ]
