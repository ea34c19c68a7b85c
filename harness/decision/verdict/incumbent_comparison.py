"""Incumbent: tuned compared with the fine-tune that is shipped today.

Better than base is not enough if users already have something better. With an incumbent arm, SHIP
also requires that each guardrail which compares tuned with base holds with the incumbent in base's
place. A metric with a goal and no tolerance gets a tolerance as wide as its goal. Floors and
ceilings are about tuned alone. Gates of a judge are advisory, since people labelled only answers of
base and tuned.

The comparison uses all cases of a suite, even if it ended early for base and tuned. Its regressions
are a family of their own for Holm's adjustment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from tunegate.harness.contracts.further_arm import INCUMBENT
from tunegate.harness.decision.answer_facts.answer_counts import FEW_CASES
from tunegate.harness.decision.score_table import tables_of
from tunegate.harness.decision.verdict.decide import ScoredRun, suite_results
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.gates.contract.sentences import gate_headline
from tunegate.harness.records.cases import Case
from tunegate.harness.records.gate_results import GateStatus
from tunegate.harness.records.incumbent_result import IncumbentResult, SuiteIncumbentResult
from tunegate.harness.records.manifest import Gate, Manifest, SuiteRecord
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.verdict import SuiteResult, Verdict
from tunegate.harness.records.wording import count_noun

_DECISIVE = {
    Verdict.BLOCK: GateStatus.FAIL,
    Verdict.ERROR: GateStatus.ERROR,
    Verdict.UNDECIDED: GateStatus.UNDECIDED,
}


def compare(run: ScoredRun) -> IncumbentResult:
    """Compare the incumbent of a run with its tuned arm."""
    result = compare_incumbent(run.manifest, run.cases, run.scores)
    if result.verdict in (Verdict.BLOCK, Verdict.ERROR):
        return result
    doubt = next(_doubts(run), None)
    if doubt is None:
        return result
    return result.model_copy(update={"verdict": Verdict.UNDECIDED, "sentence": doubt})


def _doubts(run: ScoredRun) -> Iterator[str]:
    """Yield why the incumbent may not be what ships today: broken answers, or tuned's own."""
    for suite, counts in run.answers.items():
        yield from (f"{suite}: {why}" for why in counts.broken.get(INCUMBENT, ()))
    arms = (INCUMBENT, "tuned")
    if all(run.manifest.identity(arm).get("weights_sha256") for arm in arms):
        return  # liveness refuses equal weights
    compared = [c for c in run.answers.values() if c.equals_incumbent is not None]
    n = sum(counts.empty["tuned"][1] for counts in compared)
    same = all(counts.equals_incumbent for counts in compared)
    if same and n >= FEW_CASES and not all(counts.all_expected for counts in compared):
        yield (
            f"the incumbent's answers are tuned's on all {count_noun(n, 'case')}: is it tuned "
            "itself, or was its record overwritten?"
        )


def compare_incumbent(
    manifest: Manifest, cases: Mapping[str, Sequence[Case]], scores: Iterable[ScoreRow]
) -> IncumbentResult:
    """Compare the incumbent with tuned by the suites' guardrails."""
    guarded = _guards_only(manifest)
    tables = [table.against(INCUMBENT) for table in tables_of(guarded, cases, scores, {})]
    suites = tuple(map(_suite, suite_results(guarded, tables)))
    ended = [suite.verdict for suite in suites if suite.verdict is not None]
    verdict = Verdict.worst(ended) if ended else Verdict.UNDECIDED
    return IncumbentResult(verdict=verdict, sentence=_sentence(verdict, suites), suites=suites)


def _guards_only(manifest: Manifest) -> Manifest:
    """Return the manifest with the gates that compare, on all cases."""
    # Filters, findings and drafts are reported once, by the verdict on base and tuned.
    suites = tuple(
        suite.model_copy(
            update={
                "gates": tuple(_guards(suite)),
                "metrics": tuple(metric.on_other_arms() for metric in suite.metrics),
                "looks": None,
            }
        )
        for suite in manifest.suites
    )
    arms = {**manifest.arms, "base": manifest.arms.get(INCUMBENT, {})}
    return manifest.model_copy(
        update={"arms": arms, "suites": suites, "filtered": (), "findings": (), "draft": False}
    )


def _guards(suite: SuiteRecord) -> Iterator[Gate]:
    """Yield the guardrails of metrics that score each arm on its own."""
    metrics = {m.name for m in suite.metrics if not m.compares_pairs}
    for gate in suite.gates:
        if gate.metric not in metrics or gate.against is not None:
            continue
        of_slice = [other for other in suite.gates if other.tag == gate.tag]
        guard = gate_kind(gate.kind).against_incumbent(gate, of_slice)
        if guard is not None:
            yield guard


def _suite(result: SuiteResult) -> SuiteIncumbentResult:
    compares = any(not gate.advisory for gate in result.gates)
    places = {"base": INCUMBENT}
    return SuiteIncumbentResult(
        name=result.name,
        verdict=result.verdict if compares else None,
        n_unscored={places.get(arm, arm): n for arm, n in result.n_unscored.items()},
        gates=result.gates,
    )


def _sentence(verdict: Verdict, suites: Sequence[SuiteIncumbentResult]) -> str:
    counting = [(s, g) for s in suites for g in s.gates if not g.advisory]
    if not counting:
        return (
            "no gate compares tuned with the incumbent: a tolerance does, or a gain of more than 0"
        )
    if verdict is Verdict.SHIP:
        return f"no worse than the incumbent by {count_noun(len(counting), 'gate')}"
    about = {
        Verdict.BLOCK: "worse than the incumbent",
        Verdict.ERROR: "tuned cannot be compared with the incumbent",
    }.get(verdict, "whether tuned is no worse than the incumbent is undecided")
    status = _DECISIVE.get(verdict, GateStatus.UNDECIDED)
    decisive = [(s, g) for s, g in counting if g.status is status]
    if not decisive:
        return f"{about}: it depends on unscored cases"
    suite, gate = decisive[0]
    more = f" (and {len(decisive) - 1} more of its gates)" if len(decisive) > 1 else ""
    return f"{about}: {suite.name}: {gate_headline(gate)}{more}"
