"""A candidate judged as one of several: every gate at its share of the error.

Whoever ships the best of k candidates ships one of them if any of k verdicts is SHIP by luck. So
each candidate is decided again at alpha/k: the chance that any of them ships falsely is then at
most alpha, whatever rule chooses among them and however alike they are. Intervals widen with it and
hold for all candidates at once, the chosen one included.

Source: Bonferroni's inequality; the reusable holdout (Dwork et al. 2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tunegate.harness.decision.gating.attempts import attempt_number
from tunegate.harness.decision.verdict.redecide import decide_again
from tunegate.harness.records.manifest import Manifest, SuiteRecord
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import SuiteResult, Verdict


@dataclass(frozen=True, slots=True)
class CandidateVerdict:
    """How a run ends as one of several candidates."""

    verdict: Verdict
    sentence: str
    suites: tuple[SuiteResult, ...]

    def in_order(self, names: Sequence[str]) -> CandidateVerdict:
        """Return a copy with its suites in the given order."""
        suites = sorted(self.suites, key=lambda suite: names.index(suite.name))
        return replace(self, suites=tuple(suites))


def judge_among(run: Run, of: int) -> CandidateVerdict:
    """Decide a stored run again as one of `of` candidates; a BLOCK stays one."""
    again = decide_again(replace(run, manifest=shared_error(run.manifest, of)))
    verdict = Verdict.worst([run.verdict.verdict, again.verdict])
    sentence = again.sentence if again.verdict is verdict else run.verdict.sentence
    return CandidateVerdict(verdict, sentence, again.suites)


def shared_error(manifest: Manifest, of: int) -> Manifest:
    """Return a manifest whose gates have 1/`of` of their error.

    With `alpha_per_attempt` the smaller of both shares applies.
    """
    suites = tuple(_split_alpha(suite, manifest, of) for suite in manifest.suites)
    return manifest.model_copy(update={"suites": suites})


def _split_alpha(suite: SuiteRecord, manifest: Manifest, of: int) -> SuiteRecord:
    share = max(of, attempt_number(suite, manifest.attempts))
    gates = tuple(
        gate.model_copy(update={"confidence": 1 - (1 - gate.confidence) / share})
        for gate in suite.gates
    )
    return suite.model_copy(update={"gates": gates, "alpha_per_attempt": False})
