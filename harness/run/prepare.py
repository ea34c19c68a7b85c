"""Preparation of a run: plans what the arms are asked, and checks that they get the same prompts.

A caller may stop after any step:

    with prepare(suites, arms, STORE) as run:
        run.answer(sys.stderr)
        answers = list(run.answers())
    scores = list(run.score(answers))
    verdict = run.decide(run.with_scores(run.manifest("look"), scores))

`tunegate.harness.run.evaluate` adds judges, early stopping and the run folder. Callers check
first whether the arms are different models that can answer (`tunegate.harness.checks`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from tunegate.harness.checks import comparability
from tunegate.harness.checks.recorded_scores import check_recorded_scores
from tunegate.harness.contracts.further_arm import add_derived_arms
from tunegate.harness.contracts.model import Arm, RecordedArm
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.engine.plan import make_plan
from tunegate.harness.records.answers import StoredAnswer
from tunegate.harness.records.manifest import LookSchedule
from tunegate.harness.run.attempt_ledger import CountedAttempts
from tunegate.harness.run.prepared_run import PreparedRun
from tunegate.harness.suite import Suite


class RunPurpose(StrEnum):
    """What the answers of a run are for."""

    ANSWERS = "answers"
    """They are looked at; nothing is decided about tuned."""
    AA_TEST = "A/A test"
    """Base is compared with itself, as a gate would; no attempt is counted."""
    DRAFT = "draft"
    """Tuned is judged while the suites are being written; no attempt is counted."""
    GATE = "gate"
    """Tuned is judged, which counts as an attempt on the suites."""


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """What is asked, which arms are asked, and why."""

    purpose: RunPurpose = RunPurpose.ANSWERS
    seed: int = 0
    looks: Mapping[str, LookSchedule] = field(default_factory=dict)
    """Suite → its interim looks; suites that are asked whole are absent."""
    asked: Collection[str] | None = None
    """Arms to ask; None asks every open arm. Base may be open for comparison alone."""
    timed: bool = True
    """Whether times and drafts are measured. They are compared with base's, so ask base, too."""
    whole: bool = True
    """Whether all cases and gates are judged, so that the run is an attempt on the suites."""


@contextmanager
def prepare(
    suites: Sequence[Suite],
    arms: Mapping[str, Arm],
    store: Path | None,
    options: PlanOptions = PlanOptions(),  # frozen
) -> Iterator[PreparedRun]:
    """Plan what the arms are asked, and keep the store open inside the block.

    Args:
        suites: The suites.
        arms: The opened arms, base among them.
        store: File of stored answers; None keeps the answers until the end of the block.
        options: What is asked, and which arms.

    Yields:
        The prepared run; scoring and deciding also work after the block.

    Raises:
        NotComparable: the arms get different prompts.
        UsageError: an arm that is decided about can answer no case of a suite.
    """
    with ExitStack() as stack:
        if store is None:
            store = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "store.sqlite"
        opened = AnswerCache(store.absolute())
        stack.callback(opened.close)
        yield prepare_with(opened, suites, arms, options)


def prepare_with(
    store: AnswerCache, suites: Sequence[Suite], arms: Mapping[str, Arm], options: PlanOptions
) -> PreparedRun:
    """Plan as `prepare` does, with a store that is open already and stays open."""
    decides = options.purpose is not RunPurpose.ANSWERS
    prompted = {name for suite in suites for name in suite.arm_prompts}
    answering = add_derived_arms(arms, prompted) if decides else arms
    for suite in suites:
        for name, arm in answering.items():
            comparability.refuse_unseen_images(suite, name, arm)
    before = store.judged_before(suites, arms["tuned"].fingerprint) if decides else {}
    plan = make_plan(suites, answering, seed=options.seed, looks=options.looks, before=before)
    if options.asked is not None:
        answering = {name: arm for name, arm in answering.items() if name in options.asked}
    if answering.keys() < arms.keys() or not options.timed:
        plan = plan.narrow(answering, timed=options.timed)
    if decides:
        comparability.check_prompts(plan.cells, plan.failures)
        comparability.refuse_long_prompts(plan.requests.values(), answering)
    check_recorded_scores(suites, arms)
    proven = comparability.check_comparability(plan.prompts, arms, suites)
    attempts = CountedAttempts()
    if options.purpose is RunPurpose.GATE:
        tuned = arms["tuned"]
        recorded: list[StoredAnswer] = []
        if isinstance(tuned, RecordedArm):
            requests = [r for (_, name), r in plan.requests.items() if name == "tuned"]
            recorded = list(tuned.complete(requests))
        attempts = CountedAttempts.count(
            store,
            suites,
            tuned.fingerprint,
            options.seed,
            whole=options.whole,
            answers=recorded,
        )
    stored = store.answered(cell.key for cell in plan.cells)
    return PreparedRun(suites, arms, answering, plan, store, options.seed, proven, attempts, stored)
