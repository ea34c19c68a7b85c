"""`tunegate doctor --aa SUITE`: runs an A/A test and prints it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from tunegate.harness.cli._output import say
from tunegate.harness.cli._run_suites import load_one_suite
from tunegate.harness.records.errors import UsageError, hide_credentials
from tunegate.harness.records.wording import count_noun

if TYPE_CHECKING:
    from tunegate.harness.records.gate_results import GateResult
    from tunegate.harness.run.aa_test import AaTestResult
    from tunegate.harness.suite import Suite


def run_aa_test(word: str, *, base: str, dtype: str, max_cases: int | None) -> int:
    """Run the A/A test of a suite and print it; return the exit code."""
    from tunegate.harness.cli.gate import refuse_unknown
    from tunegate.harness.decision.planning.unreachable_gates import unreachable_gates
    from tunegate.harness.run.aa_test import compare_arms, open_aa_arms

    suite = load_one_suite(word, max_cases)
    spec = base or _demo_model()
    refuse_unknown(dtype)
    say(f"tunegate: opening {hide_credentials(spec)}", file=sys.stderr, flush=True)
    with open_aa_arms(spec, dtype) as arms:
        comparisons = [compare_arms(suite, name, arms["base"], arm) for name, arm in arms.items()]
    for problem in unreachable_gates(suite):
        say(f"\nnote: nothing could ship here: {problem}")
    claims = [claim for c in comparisons for claim in _print(c, suite)]
    if "null" not in arms:
        print("\nNo null adapter: only a model loaded in this process can have one.")
    return _conclude(comparisons, claims)


def _demo_model() -> str:
    from tunegate.harness.models.demo_model import existing_demo_model

    folder = existing_demo_model()
    if folder is None:
        raise UsageError(
            "no base model: the embedded one is not fetched yet; `tunegate demo` fetches it, "
            "or name a model with --base SPEC"
        )
    return str(folder)


def _print(comparison: AaTestResult, suite: Suite) -> list[GateResult]:
    """Print a comparison's block; return its false claims."""
    from tunegate.harness.decision.score_table import tables_of
    from tunegate.harness.decision.verdict.false_claims import (
        broken_levels,
        false_claims,
        noise_floors,
    )
    from tunegate.harness.records.answers import CellKind
    from tunegate.harness.records.run_folder import Run
    from tunegate.harness.run.aa_test import claims_of_early_stop

    verdict = comparison.verdict
    say(f"\n{comparison.title}: {verdict.verdict.value.replace('_', ' ')}")
    if comparison.unchecked:
        say(f"  could not be checked: {verdict.sentence}")
        return []
    run = Run.load(comparison.folder)
    [table] = tables_of(run.manifest, run.cases_of, run.scores, {})
    [result] = verdict.suites
    floors = noise_floors(table)
    width = max(len(f.metric.name) for f in floors)
    for floor in floors:
        say(f"  {floor.metric.name:<{width}}  {_noise(floor)}")
    for gate in broken_levels(result):
        say(
            f"  {gate.subject} breaks its {gate.kind} with base already: a floor is about "
            "the level, not the difference, so it does not count"
        )
    if comparison.adapter and any(f.metric.needs is CellKind.LATENCY for f in floors):
        print("  an adapter itself takes time: differences in latency do not count")
    claims = list(false_claims(table.suite, result, adapter=comparison.adapter))
    early = claims_of_early_stop(comparison, suite, run)
    if early is not None:
        look, at_look = early
        n_seen, of = len(look.seen), len(look.looks.order)
        say(f"  with early stopping: ends at {look}, after {n_seen} of {of} cases")
        claims = [*at_look, *claims]
    return list({(gate.metric, gate.tag, gate.kind): gate for gate in claims}.values())


def _noise(floor: Any) -> str:
    from tunegate.harness.comparison.delta import Delta

    delta = Delta(floor.pairs)
    if not delta.n:
        return "no case has a score in both arms"
    cases = count_noun(delta.n, "case")
    apart = f"mean |difference| {floor.size:.2g} over {cases}"
    if floor.flips is not None:
        apart = f"{100 * floor.size:.2g} % flipped ({floor.flips} of {cases})"
    return (
        f"base {delta.base:.4g}, difference {delta.estimate:+.2g} "
        f"[{delta.low:+.2g}, {delta.high:+.2g}] at {100 * delta.confidence:g} %; "
        f"noise floor: {apart}"
    )


def _conclude(comparisons: list[AaTestResult], claims: list[GateResult]) -> int:
    """Print the conclusion; return the exit code."""
    from tunegate.harness.records.verdict import Verdict

    print()
    if claims:
        for gate in claims:
            say(f"FAIL: a difference was claimed between equal arms: {gate.sentence}")
        print(
            "By chance this happens in one test of twenty for a gate at 90 %, and with a null "
            "adapter where a margin is smaller than its effect; otherwise do not trust the suite."
        )
        return Verdict.BLOCK.exit_code
    unchecked = [c.verdict.verdict for c in comparisons if c.unchecked]
    if unchecked:
        print("The test is incomplete.")
        return Verdict.worst(unchecked).exit_code
    say(_fine(comparisons))
    return 0


def _fine(comparisons: list[AaTestResult]) -> str:
    from tunegate.harness.records.verdict import SuiteResult

    results: list[SuiteResult] = [s for c in comparisons for s in c.verdict.suites]
    if any(r.has_goal for r in results):
        verdict_text = "neither ships" if len(comparisons) > 1 else "it does not ship"
        return f"{verdict_text}: as it should be"
    return (
        "no regression is claimed: as it should be (the suite has no goal, so SHIP means "
        '"no worse", which is the right answer here)'
    )
