"""Notes on a comparison of candidates, and on each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tunegate.harness.contracts.further_arm import SHIPPED
from tunegate.harness.decision.candidates.shared_error import CandidateVerdict
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.candidates import Candidate, PairwiseComparison
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.wording import count_noun


def candidate_notes(run: Run, judged: CandidateVerdict) -> Iterator[str]:
    """Yield notes on one candidate."""
    skipped = sum(suite.n_skipped_decided for suite in judged.suites)
    if skipped:
        yield (
            f"ended early, with {count_noun(skipped, 'case')} not asked, once decided alone: "
            "`--early-stop off` keeps them for a comparison"
        )
    touched = sum(suite.n_touched for suite in judged.suites)
    if touched:
        yield f"{count_noun(touched, 'case')} left out: they are in its training rows"
    if SHIPPED in run.verdict.further_arms:
        yield "what ships was compared with tuned at an error of its own, which is not shared"


def comparison_notes(
    runs: Sequence[Run],
    candidates: Sequence[Candidate],
    chosen: Candidate,
    comparisons: Sequence[PairwiseComparison],
    share: int,
) -> Iterator[str]:
    """Yield notes on the comparison as a whole.

    Args:
        runs: The runs.
        candidates: Their outcomes, in the same order.
        chosen: The one that was chosen.
        comparisons: Their pairwise comparisons.
        share: Over how many candidates the error is shared.
    """
    changed = [c for c in candidates if c.verdict is not c.alone]
    for candidate in changed:
        yield (
            f"{candidate.letter}: {candidate.alone.value} alone, {candidate.verdict.value} where "
            f"the error is shared by {share} candidates"
        )
    yield from _lead(candidates, chosen, comparisons)
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
    candidates: Sequence[Candidate], chosen: Candidate, comparisons: Sequence[PairwiseComparison]
) -> Iterator[str]:
    """Yield the candidates that the chosen one is proven better or worse than by the first goal."""
    if chosen.gain is None:
        return
    place = chosen.gain.suite, chosen.gain.metric
    mine = {
        next(x for x in (pair.first, pair.second) if x != chosen.letter): pair.better
        for pair in comparisons
        if (pair.suite, pair.metric) == place
        and chosen.letter in (pair.first, pair.second)
        and not pair.advisory
    }
    words = {
        "is proven better than": [o for o, better in mine.items() if better == chosen.letter],
        "is proven worse than": [o for o, better in mine.items() if better == o],
        "is not proven to differ from": [o for o, better in mine.items() if better is None],
    }
    sentences = [f"{word} {', '.join(others)}" for word, others in words.items() if others]
    if sentences:
        yield f"by {place[1]} on the same cases {chosen.letter} {'; '.join(sentences)}"


def _twins(candidates: Sequence[Candidate]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for candidate in candidates:
        key = repr(sorted((k, repr(v)) for k, v in candidate.identity.items() if k != "spec"))
        if key in seen:
            yield (
                f"{seen[key]} and {candidate.letter} are the same model by all that the runs "
                "recorded"
            )
        seen.setdefault(key, candidate.letter)


def _base_moved(runs: Sequence[Run]) -> Iterator[str]:
    """Yield the runs in which the same base scored differently."""
    first, *others = (_base_scores(run) for run in runs)
    for run, scores in zip(runs[1:], others, strict=True):
        apart = [key for key in first.keys() & scores.keys() if first[key] != scores[key]]
        if apart:
            yield (
                f"base scored differently in {runs[0].folder} and {run.folder} on "
                f"{count_noun(len({(s, c) for s, _, c in apart}), 'case')}: each candidate is "
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
