"""What interim looks saved: cases that were not asked, and the time that they would have taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tunegate.harness.decision.planning.pilot import seconds_per_case
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import SuiteResult
from tunegate.harness.records.wording import count_noun


def early_end_lines(run: Run) -> Iterator[str]:
    """Yield a line for each suite that ended before all its cases were asked."""
    for suite in run.verdict.suites:
        if suite.n_skipped_decided:
            asked, of = suite.n_planned - suite.n_skipped_decided, suite.n_planned
            yield (
                f"{suite.name}: ended early after {asked:,} of {count_noun(of, 'case')}"
                f"{saved_time(run, [suite])}"
            )


def saved_time(run: Run, suites: Iterable[SuiteResult]) -> str:
    """Return the time that the cases not asked would have taken, as in `, about 5 minutes saved`.

    Empty if it is less than a second, or no answer was timed.
    """
    seconds = sum(
        suite.n_skipped_decided * sum(seconds_per_case(run, suite.name).values())
        for suite in suites
        if suite.n_skipped_decided
    )
    if seconds < 1:
        return ""
    minutes = round(seconds / 60)
    time = count_noun(minutes, "minute") if minutes > 1 else count_noun(round(seconds), "second")
    return f", about {time} saved"
