"""What interim looks saved: cases that were not asked, and the time that they would have taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from tunegate.harness.decision.planning.pilot import seconds_per_case
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import SuiteResult
from tunegate.harness.records.wording import count_noun


def early_end_lines(run: Run) -> Iterator[str]:
    """Yield a line for each suite that ended before all its cases were asked."""
    ended = [suite for suite in run.verdict.suites if suite.n_skipped_decided]
    seconds = seconds_per_case(run) if ended else {}
    for suite in ended:
        n_asked, of = suite.n_planned - suite.n_skipped_decided, suite.n_planned
        yield (
            f"{suite.name}: ended early after {n_asked:,} of {count_noun(of, 'case')}"
            f"{_saved(seconds, [suite])}"
        )


def saved_time(run: Run) -> str:
    """Return the time that the cases not asked would have taken, as in `, about 5 minutes saved`.

    Empty if it is less than a second, or no answer was timed.
    """
    ended = [suite for suite in run.verdict.suites if suite.n_skipped_decided]
    return _saved(seconds_per_case(run), ended) if ended else ""


def _saved(seconds: Mapping[str, Mapping[str, float]], suites: Iterable[SuiteResult]) -> str:
    saved = sum(
        suite.n_skipped_decided * sum(seconds.get(suite.name, {}).values()) for suite in suites
    )
    if saved < 1:
        return ""
    minutes = round(saved / 60)
    time = count_noun(minutes, "minute") if minutes > 1 else count_noun(round(saved), "second")
    return f", about {time} saved"
