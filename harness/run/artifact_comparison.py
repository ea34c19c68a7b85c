"""A deployment artifact compared with its fine-tune, where the fine-tune itself is not judged."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tunegate.harness.checks import comparability, export_losses, liveness
from tunegate.harness.contracts.further_arm import SHIPPED
from tunegate.harness.contracts.model import ServerHosting
from tunegate.harness.decision.verdict.deployment_parity import PAIR
from tunegate.harness.models._model_folder import base_record, resolve_folder
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.manifest import SuiteRecord
from tunegate.harness.records.parity import DeploymentParity
from tunegate.harness.records.training_card import precision_note
from tunegate.harness.run import divergence
from tunegate.harness.run.prepare import PlanOptions, prepare
from tunegate.harness.run.served_proof import prove_prompts, prove_served
from tunegate.harness.suite import Suite


@dataclass(frozen=True)
class ArtifactComparison:
    """The suites, the fine-tune that artifacts are compared with, and where answers are stored.

    Base is opened to prove that an artifact is another model, but asked nothing: whether tuned is
    better than base is the gate's question. Answers go to the gate's own store, and come from it.
    """

    suites: Sequence[Suite]
    base: str
    adapter: str
    store: Path
    say: Callable[[str], None]
    dtype: str = "auto"
    allow_prompt_difference: bool = False

    def compare(self, shipped: str) -> DeploymentParity:
        """Ask tuned and an artifact what is not stored yet, and compare their answers.

        Raises:
            ModelError: the artifact cannot be opened.
            NotComparable: it has base's weights, its files contradict each other, or it is asked
                other prompts than tuned.
        """
        # open
        specs = {"base": self.base, "tuned": self.adapter, SHIPPED: shipped}
        losses = export_losses.find_export_losses(specs)
        export_losses.refuse_broken_exports(losses, self.suites)
        for loss in losses.get(SHIPPED, ()):
            self.say(loss.sentence)
        arms = open_arms(specs, dtype=self.dtype, hosting=ServerHosting(report=self.say))
        trained = base_record(resolve_folder(self.adapter))
        if note := precision_note(trained, arms["tuned"].identity.get("stored")):
            self.say(note)

        # check
        comparability.check_answerable(self.suites, {name: arms[name] for name in PAIR})
        liveness.check_liveness(arms)
        served = prove_served(arms, partial(open_arms, dtype="float32"), self.say)

        # Times are compared with base's, which is not asked; new ones would replace a gate's.
        options = PlanOptions(asked=PAIR, timed=False)
        with prepare(self.suites, arms, self.store, options) as run:
            prompts = prove_prompts(run)
            prompts.refuse_different(allowed=self.allow_prompt_difference)
            for line in (
                *prompts.lines(),
                *prompts.sentences("warning"),
                *prompts.sentences("note"),
            ):
                self.say(line)

            # answer
            run.answer(sys.stderr)
            if served is not None and served.folders:
                served.check(arms)  # once more, now that they have answered
            cells = tuple(run.answers())

        # score and compare; no judge is asked, so the gates on their scores are dropped
        manifest = run.manifest("ship-check", map(_drop_judge_gates, self.suites))
        scored = run.with_scores(manifest, list(run.score(cells)), cells=cells)
        if served is not None and (note := served.record[SHIPPED].get("note")):
            self.say(str(note))
        return divergence.compare(scored)


def _drop_judge_gates(suite: Suite) -> SuiteRecord:
    record = suite.record()
    measured = {metric.name for metric in record.metrics if metric.judge is None}
    kept = tuple(gate for gate in record.gates if gate.metric in measured)
    return record.model_copy(update={"gates": kept})
