"""Ranking of several fine-tunes of one base: which of them may ship.

The rule is fixed before anything is seen: of the candidates with the best verdict, the one with the
largest gain on the first goal, then the one whose worst guardrail has used up the least of its
tolerance, then the one named first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tunegate.harness.decision.candidates.candidate_tests import compare_pairwise
from tunegate.harness.decision.candidates.comparison_notes import candidate_notes, comparison_notes
from tunegate.harness.decision.candidates.matching import refuse_unmatched
from tunegate.harness.decision.candidates.shared_error import CandidateVerdict, judge_among
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.candidates import (
    Candidate,
    CandidateComparison,
    CandidateEffect,
    ComparedSuite,
)
from tunegate.harness.records.gate_results import GateResult
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import SuiteResult, Verdict


def compare_runs(
    runs: Sequence[Run],
    *,
    of: int = 0,
    choose: int | None = None,
    strengths: Sequence[float] = (),
) -> CandidateComparison:
    """Compare the fine-tunes of several finished runs.

    Args:
        runs: Two runs or more of the same suites with the same base.
        of: Number of candidates that share the error, if more than are compared.
        choose: Index of the run that the user chose; None applies the rule.
        strengths: Strength of the adapter in each run, if all are of one fine-tune: then the rule
            takes the largest that ships.
    """
    refuse_unmatched(runs)
    share = max(of, len(runs))
    names = [f"{strength:g}" for strength in strengths] or [_letter(i) for i in range(len(runs))]
    named = dict(zip(names, runs, strict=True))
    goal, order = _goal(runs[0]), [suite.name for suite in runs[0].manifest.suites]
    candidates = _rank_candidates(
        [
            _candidate(name, run, judge_among(run, share).in_order(order), goal)
            for name, run in named.items()
        ]
    )
    ships = [i for i, candidate in enumerate(candidates) if candidate.verdict is Verdict.SHIP]
    if choose is not None:
        chosen = candidates[choose]
    elif strengths and ships:
        chosen = candidates[max(ships, key=strengths.__getitem__)]
    else:
        chosen = min(candidates, key=_order)
    comparisons = compare_pairwise(named)
    return CandidateComparison(
        verdict=chosen.verdict,
        chosen=chosen.letter,
        by_user=choose is not None,
        sentence=_sentence(
            f"strength {chosen.letter}" if strengths else chosen.letter,
            chosen,
            candidates,
            by_user=choose is not None,
        ),
        of=share,
        base=runs[0].manifest.arms["base"],
        suites=tuple(_suites(runs)),
        candidates=tuple(candidates),
        duels=comparisons,
        notes=tuple(comparison_notes(runs, candidates, chosen, comparisons, share)),
        strengths=tuple(strengths),
    )


def _letter(index: int) -> str:
    """Return A, B … Z, AA, AB …"""
    rest, last = divmod(index, 26)
    return (_letter(rest - 1) if rest else "") + chr(ord("A") + last)


def _goal(run: Run) -> tuple[str, str] | None:
    """Return suite and rule id of the first goal that counts; None without one."""
    results = {suite.name: suite for suite in run.verdict.suites}
    for suite in run.manifest.suites:
        counting = {result.id for result in results[suite.name].gates if not result.advisory}
        for gate in suite.gates:
            if gate_kind(gate.kind).is_goal and gate.id in counting:
                return suite.name, gate.rule_id
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
        for gate in suite.rules:
            if (suite.name, gate.rule_id) == goal and gate.delta is not None:
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
    """Return the guardrail that has used up most of its tolerance."""
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
    """Return the interval of the improvement; none where the kind measures something else."""
    if not gate_kind(gate.kind).tests_difference:
        return None, None
    if gate.higher_is_better:
        return gate.low, gate.high
    return (
        None if gate.high is None else -gate.high,
        None if gate.low is None else -gate.low,
    )


def _rank_candidates(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates, each with those that beat it on both axes."""
    return [
        candidate.model_copy(
            update={"beaten_by": tuple(c.letter for c in candidates if _beats(c, candidate))}
        )
        for candidate in candidates
    ]


def _beats(other: Candidate, candidate: Candidate) -> bool:
    mine, theirs = _axes(candidate), _axes(other)
    if None in mine or None in theirs:
        return False
    pairs = [(m or 0.0, t or 0.0) for m, t in zip(mine, theirs, strict=True)]
    return all(t >= m for m, t in pairs) and any(t > m for m, t in pairs)


def _axes(candidate: Candidate) -> tuple[float | None, float | None]:
    """Return the gain and what is left of the tolerance."""
    kept = None if candidate.forgetting is None else -(candidate.forgetting.estimate or 0.0)
    return None if candidate.gain is None else candidate.gain.estimate, kept


def _order(candidate: Candidate) -> tuple[int, float, float]:
    gain, kept = _axes(candidate)
    return list(Verdict).index(candidate.verdict), -(gain or 0.0), -(kept or 0.0)


def _suites(runs: Sequence[Run]) -> Iterator[ComparedSuite]:
    for suite in runs[0].manifest.suites:
        yield ComparedSuite(
            name=suite.name,
            hash=suite.hash,
            n_cases=suite.n_cases,
            attempts=max(run.manifest.attempts.get(suite.hash, 0) for run in runs),
        )


def _sentence(
    name: str, chosen: Candidate, candidates: Sequence[Candidate], *, by_user: bool
) -> str:
    among = f"one of {len(candidates)} candidates"
    if chosen.verdict is Verdict.SHIP:
        return f"{name} may ship as {among}: {chosen.sentence}"
    word = chosen.verdict.value.replace("_", " ")
    if by_user or any(candidate.verdict is Verdict.SHIP for candidate in candidates):
        return f"{name} ends in {word} as {among}: {chosen.sentence}"
    return f"none of {len(candidates)} candidates may ship; {name}: {word}: {chosen.sentence}"
