"""Notices: what a run tells its user before a model is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tunegate.harness.contracts.further_arm import comparisons
from tunegate.harness.contracts.model import Arm, LocalArm
from tunegate.harness.contracts.result_set import results_of
from tunegate.harness.contracts.source import summarize_notes
from tunegate.harness.decision.planning.advisory_gates import advisory_notes
from tunegate.harness.engine.plan import shared_limit_notices
from tunegate.harness.run.options import RunOptions
from tunegate.harness.run.prepared_run import PreparedRun
from tunegate.harness.run.run_state import RunState


def suite_notices(options: RunOptions) -> Iterator[str]:
    """Yield what the sources left out, and the gates that stay advisory in this run."""
    for suite in options.suites:
        yield from (f"{suite.name}: {note}" for note in summarize_notes(suite.notes))
    if options.self_check:  # no gate of base against itself is meant to count
        return
    opened = [arm for arm, spec in options.specs.items() if spec is not None]
    arms = [f"the {arm} arm" for arm in comparisons(opened)]
    for suite in options.suites:
        yield from (f"{suite.name}: {note}" for note in advisory_notes(suite, arms))


def plan_notices(run: PreparedRun) -> Iterator[str]:
    """Yield notes on token limits, recorded results and slow local arms, and the plan's size."""
    yield from shared_limit_notices(run.suites, run.plan.prompts, run.arms)
    results = {name: of for name, arm in run.arms.items() if (of := results_of(arm)) is not None}
    for name, of in results.items():
        yield from (f"{name}: {note}" for note in of.notes)
    if results and (note := run.comparability.get("note")):
        yield f"comparability: {note}"
    if any(isinstance(arm, LocalArm) for arm in run.arms.values()):
        from tunegate.harness.engine.inference.fallbacks import fallback_notices

        yield from fallback_notices(run.arms)
    yield run.plan.sentence(len(run.stored))


def judging_costs(state: RunState, arms: Mapping[str, Arm]) -> Iterator[str]:
    """Yield what judging will cost."""
    specs = [str(judge_model.identity["spec"]) for judge_model in state.judge_models]
    if not specs:
        return
    from tunegate.harness.judges.asking import costs

    yield from costs.forecast_lines(costs.forecast_judging(state.suites, specs, tuple(arms)))
