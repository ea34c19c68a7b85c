"""One artifact beside its fine-tune: both answer the suites, and are compared.

Base is opened, to prove that the artifact is another model, but asked nothing: whether tuned is
better than base is the gate's question. The answers go to the gate's own store, and come from it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.engine.levers import ALL
from harness.engine.plan import Plan, make_plan
from harness.engine.progress import Progress
from harness.engine.runner import Runner, collect
from harness.engine.store import Store
from harness.errors import UsageError
from harness.manifest import SHIPPED, Manifest, SuiteRecord
from harness.model import Arm
from harness.records import CellKind, StoredCell
from harness.suite import Suite
from harness.verdict.parity_record import Parity

PAIR = ("tuned", SHIPPED)


@dataclass(frozen=True)
class ShipRun:
    """What one artifact is compared on, and how."""

    suites: Sequence[Suite]
    base: str
    adapter: str
    store: Path
    dtype: str = "auto"

    def compared(self, shipped: str) -> Parity:
        """Ask tuned and an artifact what is not stored yet, and compare their answers.

        Args:
            shipped: Model spec of the artifact.

        Raises:
            NotComparable: the adapter has another base, or the artifact is base.
            UsageError: an arm cannot be opened, or cannot answer a suite's questions.
            BackendError: an arm or the store failed; finished answers are stored.
            Interrupted: the user stopped it; likewise.
        """
        from harness.checks import comparability, liveness
        from harness.models.pair import open_arms

        specs = {"base": self.base, "tuned": self.adapter, SHIPPED: shipped}
        arms = open_arms(specs, dtype=self.dtype)
        self._refuse_unanswerable(arms)
        liveness.check(arms)
        plan = _untimed(make_plan(self.suites, arms, seed=0))
        comparability.check(plan.prompts, arms)
        store = Store(self.store.absolute())
        try:
            cached = store.answered(c.key for c in plan.cells)
            pair = {name: arms[name] for name in PAIR}
            Runner(plan, pair, store, Progress(1.0, stream=sys.stderr), levers=ALL).run()
            cells = tuple(collect(plan, store, cached))
        finally:
            store.close()
        return self._judged(plan, arms, cells)

    def _judged(self, plan: Plan, arms: Mapping[str, Arm], cells: Sequence[StoredCell]) -> Parity:
        from harness.plugin import divergence
        from harness.verdict.agreement import agreement
        from harness.verdict.parity import Evidence, compare_shipped
        from harness.verdict.scores import score_suite

        scores = [row for suite in self.suites for row in score_suite(suite, cells, PAIR)]
        apart = divergence.measure(plan, cells, arms, seed=0)
        cases = {s.name: [c.case for c in s.cases] for s in self.suites}
        evidence = Evidence(agreement(cells), apart)
        return compare_shipped(self._manifest(plan, arms), cases, scores, evidence)

    def _manifest(self, plan: Plan, arms: Mapping[str, Arm]) -> Manifest:
        return Manifest(
            run_id="ship-check",
            created="",
            command=(),
            arms={name: dict(arm.identity) for name, arm in arms.items()},
            suites=tuple(_unjudged(suite) for suite in self.suites),
            plan=plan.cells,
            seed=0,
            versions={},
            comparability={},
            liveness={},
            attempts={},
        )

    def _refuse_unanswerable(self, arms: Mapping[str, Arm]) -> None:
        for suite in self.suites:
            for metric in suite.metrics:
                for name in PAIR:
                    if metric.needs not in arms[name].kinds:
                        reason = arms[name].cannot(metric.needs)
                        raise UsageError(f"{suite.name}: metric {metric.name!r}: {reason}")


def _unjudged(suite: Suite) -> SuiteRecord:
    """Return a suite without the gates on what a judge says: no judge is asked here."""
    record = suite.record()
    known = {metric.name for metric in record.metrics if metric.judge is None}
    kept = tuple(gate for gate in record.gates if gate.metric in known)
    return record.model_copy(update={"gates": kept})


def _untimed(plan: Plan) -> Plan:
    """Return the plan of what tuned and shipped are asked, without what is timed.

    Times are compared with base's, which is not asked; and taken anew they would take the place of
    those that a gate took with base's.
    """
    return replace(
        plan,
        cells=tuple(c for c in plan.cells if c.arm in PAIR and c.kind is not CellKind.LATENCY),
        batches=tuple(b for b in plan.batches if b.kind is not CellKind.LATENCY),
    )
