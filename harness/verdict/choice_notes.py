"""What must be known of a comparison of candidates beside its numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.records import CellKind
from harness.run import Run
from harness.verdict.among import Judged
from harness.verdict.comparison_record import Candidate, Duel
from harness.verdict.words import counted


def candidate_notes(run: Run, judged: Judged) -> Iterator[str]:
    """Yield what must be known of one candidate."""
    skipped = sum(suite.n_skipped_decided for suite in judged.suites)
    if skipped:
        yield (
            f"ended early, with {counted(skipped, 'case')} not asked, once all was decided for it "
            "alone: `--early-stop off` keeps them for a comparison"
        )
    touched = sum(suite.n_touched for suite in judged.suites)
    if touched:
        yield f"{counted(touched, 'case')} left out: they stand in its training rows"
    if run.verdict.parity is not None:
        yield "what ships was compared with tuned at an error of its own, which is not shared"


def comparison_notes(
    runs: Sequence[Run],
    candidates: Sequence[Candidate],
    chosen: Candidate,
    fought: Sequence[Duel],
    share: int,
) -> Iterator[str]:
    """Yield what must be known of the comparison as a whole.

    Args:
        runs: The runs.
        candidates: What they end as, in the same order.
        chosen: The one that was chosen.
        fought: Every pair of them.
        share: Over how many candidates the error is shared.
    """
    changed = [c for c in candidates if c.verdict is not c.alone]
    for one in changed:
        yield (
            f"{one.letter}: {one.alone.value} alone, {one.verdict.value} where the error is shared "
            f"by {share} candidates"
        )
    yield from _lead(candidates, chosen, fought)
    for suite in runs[0].manifest.suites:
        judged = max(run.manifest.attempts.get(suite.hash, 0) for run in runs)
        if judged > share:
            yield (
                f"{suite.name} had judged {judged} candidates, and the error is shared by {share}: "
                f"if these were picked by their results, `--of {judged}` accounts for it"
            )
    yield from _twins(candidates)
    yield from _base_moved(runs)


def _lead(
    candidates: Sequence[Candidate], chosen: Candidate, fought: Sequence[Duel]
) -> Iterator[str]:
    """Yield of whom the chosen one is proven better or worse by the first goal."""
    if chosen.gain is None:
        return
    place = chosen.gain.suite, chosen.gain.metric
    mine = {
        next(x for x in (d.first, d.second) if x != chosen.letter): d.better
        for d in fought
        if (d.suite, d.metric) == place and chosen.letter in (d.first, d.second)
    }
    words = {
        "is proven better than": [o for o, better in mine.items() if better == chosen.letter],
        "is proven worse than": [o for o, better in mine.items() if better == o],
        "is not proven to differ from": [o for o, better in mine.items() if better is None],
    }
    said = [f"{word} {', '.join(others)}" for word, others in words.items() if others]
    if said:
        yield f"by {place[1]} on the same cases {chosen.letter} {'; '.join(said)}"


def _twins(candidates: Sequence[Candidate]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for one in candidates:
        key = repr(sorted((k, repr(v)) for k, v in one.identity.items() if k != "spec"))
        if key in seen:
            yield f"{seen[key]} and {one.letter} are the same model by all that the runs recorded"
        seen.setdefault(key, one.letter)


def _base_moved(runs: Sequence[Run]) -> Iterator[str]:
    """Yield where base scored differently in the runs, although it is the same base."""
    first, *others = (_base_scores(run) for run in runs)
    for run, scores in zip(runs[1:], others, strict=True):
        apart = [key for key in first.keys() & scores.keys() if first[key] != scores[key]]
        if apart:
            yield (
                f"base scored differently in {runs[0].folder} and {run.folder} on "
                f"{counted(len({(s, c) for s, _, c in apart}), 'case')}: each candidate is "
                "compared with base as its own run saw it"
            )


def _base_scores(run: Run) -> Mapping[tuple[str, str, str], float | None]:
    timed = {
        (suite.name, metric.name)
        for suite in run.manifest.suites
        for metric in suite.metrics
        if metric.needs is CellKind.LATENCY
    }
    return {
        (row.suite, row.metric, row.case): row.value
        for row in run.scores
        if row.arm == "base" and (row.suite, row.metric) not in timed
    }
