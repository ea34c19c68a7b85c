"""Ranking of several fine-tunes of one base: which of them may ship.

The rule is fixed before anything is seen: of the candidates with the best verdict the one with the
largest gain on the first goal, then the one whose worst guardrail has used up the least of its
tolerance, then the one named first. Each verdict is at the error's share of one of k candidates, so
the rule can choose as it likes without shipping falsely more often than promised.

A candidate judged as one of several: every gate at its share of the error. Whoever ships the best
of k candidates ships one of them if any of k verdicts is SHIP by luck. Each candidate is
therefore decided again at alpha/k: the chance that any of them ships falsely is then at most alpha,
whatever rule chooses among them and however alike they are. Intervals widen with it, and those of
all candidates hold at once: that of the chosen one is no exception, although it was chosen for its
result.

Source: Bonferroni's inequality; the reusable holdout (Dwork et al. 2015).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tunegate.harness.contracts.further_arm import SHIPPED
from tunegate.harness.decision.candidates.matching import refuse_unmatched
from tunegate.harness.decision.candidates.pairwise import compare_pairwise
from tunegate.harness.decision.gating.error_control import attempt_number
from tunegate.harness.decision.verdict.redecide import decide_again
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.candidates import (
    Candidate,
    CandidateComparison,
    CandidateEffect,
    ComparedSuite,
    PairwiseComparison,
)
from tunegate.harness.records.gate_results import GateResult
from tunegate.harness.records.manifest import Gate, Manifest, SuiteRecord
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import SuiteResult, Verdict
from tunegate.harness.records.wording import count_noun


def compare_runs(
    runs: Sequence[Run], *, of: int = 0, choose: int | None = None
) -> CandidateComparison:
    """Compare the fine-tunes of several finished runs.

    Args:
        runs: Two runs or more of the same suites with the same base.
        of: Over how many candidates the error is shared, if more than are compared.
        choose: Index of the run that the user chooses; None leaves it to the rule.

    Raises:
        UsageError: fewer than two runs, or one folder twice.
        NotComparable: two runs differ in more than the fine-tune.
    """
    refuse_unmatched(runs)
    share = max(of, len(runs))
    named = {_letter(i): run for i, run in enumerate(runs)}
    goal, order = _goal(runs[0]), [suite.name for suite in runs[0].manifest.suites]
    candidates = _rank_candidates(
        [
            _candidate(name, run, judge_among(run, share).in_order(order), goal)
            for name, run in named.items()
        ]
    )
    chosen = candidates[choose] if choose is not None else min(candidates, key=_order)
    comparisons = compare_pairwise(named)
    return CandidateComparison(
        verdict=chosen.verdict,
        chosen=chosen.letter,
        by_user=choose is not None,
        sentence=_sentence(chosen, candidates, by_user=choose is not None),
        of=share,
        base=runs[0].manifest.arms["base"],
        suites=tuple(_suites(runs)),
        candidates=tuple(candidates),
        duels=comparisons,
        notes=tuple(comparison_notes(runs, candidates, chosen, comparisons, share)),
    )


def _letter(index: int) -> str:
    """Return A, B … Z, AA, AB …"""
    rest, last = divmod(index, 26)
    return (_letter(rest - 1) if rest else "") + chr(ord("A") + last)


def _goal(run: Run) -> tuple[str, str] | None:
    """Return suite and gate id of the first goal that counts; None without one."""
    results = {suite.name: suite for suite in run.verdict.suites}
    for suite in run.manifest.suites:
        counting = {result.id for result in results[suite.name].gates if not result.advisory}
        for gate in suite.gates:
            if gate_kind(gate.kind).is_goal and gate.id in counting:
                return suite.name, gate.id
    return None


def _candidate(
    letter: str, run: Run, judged: CandidateVerdict, goal: tuple[str, str] | None
) -> Candidate:
    identity = run.manifest.arms["tuned"]
    return Candidate(
        letter=letter,
        run_id=run.verdict.run_id,
        folder=str(run.folder),
        spec=str(identity.get("spec", "tuned")),
        identity=identity,
        alone=run.verdict.verdict,
        verdict=judged.verdict,
        sentence=judged.sentence,
        suites=judged.suites,
        gain=_gain(judged.suites, goal),
        forgetting=_worst_tolerance_use(judged.suites),
        notes=tuple(candidate_notes(run, judged)),
    )


def _gain(suites: Sequence[SuiteResult], goal: tuple[str, str] | None) -> CandidateEffect | None:
    for suite in suites:
        for gate in suite.gates:
            if (suite.name, gate.id) == goal and gate.delta is not None:
                low, high = _improvement_interval(gate)
                sign = 1 if gate.higher_is_better else -1
                return CandidateEffect(
                    suite=suite.name,
                    metric=gate.metric,
                    tag=gate.tag,
                    estimate=sign * gate.delta,
                    low=low,
                    high=high,
                    bound=None if isinstance(gate.margin, str) else gate.margin,
                    rate=gate.rate,
                )
    return None


def _worst_tolerance_use(suites: Sequence[SuiteResult]) -> CandidateEffect | None:
    """Return how much of its tolerance the guardrail has used up that has used up most."""
    used = [
        effect
        for suite in suites
        for gate in suite.gates
        if not gate.advisory and (effect := _tolerance_use(suite.name, gate)) is not None
    ]
    return max(used, key=lambda effect: effect.estimate or 0.0, default=None)


def _tolerance_use(suite: str, gate: GateResult) -> CandidateEffect | None:
    width = gate_kind(gate.kind).allowance(gate)
    if gate.delta is None or not width:
        return None
    low, high = _improvement_interval(gate)
    sign = -1 if gate.higher_is_better else 1
    return CandidateEffect(
        suite=suite,
        metric=gate.metric,
        tag=gate.tag,
        estimate=sign * gate.delta / width,
        low=None if high is None else -high / width,
        high=None if low is None else -low / width,
        bound=1.0,
    )


def _improvement_interval(gate: GateResult) -> tuple[float | None, float | None]:
    """Return the interval of the improvement."""
    if gate.higher_is_better:
        return gate.low, gate.high
    return (
        None if gate.high is None else -gate.high,
        None if gate.low is None else -gate.low,
    )


def _rank_candidates(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates with who beats them on both axes."""
    return [
        one.model_copy(update={"beaten_by": tuple(c.letter for c in candidates if _beats(c, one))})
        for one in candidates
    ]


def _beats(other: Candidate, one: Candidate) -> bool:
    mine, theirs = _axes(one), _axes(other)
    if None in mine or None in theirs:
        return False
    pairs = [(m or 0.0, t or 0.0) for m, t in zip(mine, theirs, strict=True)]
    return all(t >= m for m, t in pairs) and any(t > m for m, t in pairs)


def _axes(one: Candidate) -> tuple[float | None, float | None]:
    """Return gain and what is kept of the tolerance: more of both is better."""
    kept = None if one.forgetting is None else -(one.forgetting.estimate or 0.0)
    return None if one.gain is None else one.gain.estimate, kept


def _order(one: Candidate) -> tuple[int, float, float]:
    gain, kept = _axes(one)
    return list(Verdict).index(one.verdict), -(gain or 0.0), -(kept or 0.0)


def _suites(runs: Sequence[Run]) -> Iterator[ComparedSuite]:
    for suite in runs[0].manifest.suites:
        yield ComparedSuite(
            name=suite.name,
            hash=suite.hash,
            n_cases=suite.n_cases,
            attempts=max(run.manifest.attempts.get(suite.hash, 0) for run in runs),
        )


def _sentence(chosen: Candidate, candidates: Sequence[Candidate], *, by_user: bool) -> str:
    among = f"one of {len(candidates)} candidates"
    if chosen.verdict is Verdict.SHIP:
        return f"{chosen.letter} may ship as {among}: {chosen.sentence}"
    word = chosen.verdict.value.replace("_", " ")
    if by_user or any(one.verdict is Verdict.SHIP for one in candidates):
        return f"{chosen.letter} ends in {word} as {among}: {chosen.sentence}"
    return (
        f"none of {len(candidates)} candidates may ship; {chosen.letter}: {word}: {chosen.sentence}"
    )


@dataclass(frozen=True, slots=True)
class CandidateVerdict:
    """How a run ends as one of several candidates."""

    verdict: Verdict
    sentence: str
    suites: tuple[SuiteResult, ...]

    def in_order(self, names: Sequence[str]) -> CandidateVerdict:
        """Return the same with its suites in the order of their names given."""
        suites = sorted(self.suites, key=lambda suite: names.index(suite.name))
        return replace(self, suites=tuple(suites))


def judge_among(run: Run, of: int) -> CandidateVerdict:
    """Decide a stored run again as one of `of` candidates.

    What was broken alone stays broken: wider intervals take nothing back from a BLOCK.
    """
    again = decide_again(replace(run, manifest=shared_error(run.manifest, of)))
    verdict = Verdict.worst([run.verdict.verdict, again.verdict])
    sentence = again.sentence if again.verdict is verdict else run.verdict.sentence
    return CandidateVerdict(verdict, sentence, again.suites)


def shared_error(manifest: Manifest, of: int) -> Manifest:
    """Return a manifest whose gates have 1/`of` of their error.

    A suite that judges its j-th candidate at 1/j of the error does so at the smaller of both
    shares: the error is not divided twice.
    """
    suites = tuple(_split_alpha(suite, manifest, of) for suite in manifest.suites)
    return manifest.model_copy(update={"suites": suites})


def _split_alpha(suite: SuiteRecord, manifest: Manifest, of: int) -> SuiteRecord:
    share = max(of, attempt_number(suite, manifest.attempts))
    gates = tuple(_at(gate, share) for gate in suite.gates)
    return suite.model_copy(update={"gates": gates, "alpha_per_attempt": False})


def _at(gate: Gate, share: int) -> Gate:
    return gate.model_copy(update={"confidence": 1 - (1 - gate.confidence) / share})


def candidate_notes(run: Run, judged: CandidateVerdict) -> Iterator[str]:
    """Yield what must be known of one candidate."""
    skipped = sum(suite.n_skipped_decided for suite in judged.suites)
    if skipped:
        yield (
            f"ended early, with {count_noun(skipped, 'case')} not asked, once all was decided for "
            "it "
            "alone: `--early-stop off` keeps them for a comparison"
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
    """Yield what must be known of the comparison as a whole.

    Args:
        runs: The runs.
        candidates: What they end as, in the same order.
        chosen: The one that was chosen.
        comparisons: The pairwise comparisons of them.
        share: Over how many candidates the error is shared.
    """
    changed = [c for c in candidates if c.verdict is not c.alone]
    for one in changed:
        yield (
            f"{one.letter}: {one.alone.value} alone, {one.verdict.value} where the error is shared "
            f"by {share} candidates"
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
