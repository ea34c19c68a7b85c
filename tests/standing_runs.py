"""A run whose fine-tune is worse than the one that is shipped today, for the tests of reports."""

from __future__ import annotations

from dataclasses import replace

from tunegate.harness.records.incumbent_result import IncumbentResult, SuiteIncumbentResult
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import Verdict

SENTENCE = "worse than the incumbent: general_knowledge: choice_probability went from 0.5 to 0.3"


def beside(run: Run, text: str = SENTENCE) -> Run:
    """Return a run whose guards were also judged beside an incumbent; one of them failed."""
    suite = run.verdict.suites[1]
    gates = tuple(g.model_copy(update={"sentence": text, "base": 0.5}) for g in suite.gates)
    own = SuiteIncumbentResult(
        name=suite.name,
        verdict=Verdict.BLOCK,
        n_unscored={"incumbent": 0, "tuned": 0},
        gates=gates,
    )
    standing = IncumbentResult(verdict=Verdict.BLOCK, sentence=text, suites=(own,))
    arms = {**run.verdict.arms, "incumbent": {"spec": f"replay:{text}"}}
    update = {"further_arms": {"incumbent": standing}, "arms": arms, "verdict": Verdict.BLOCK}
    return replace(run, verdict=run.verdict.model_copy(update=update))
