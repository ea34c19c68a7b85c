"""Attempts: a suite that has judged many candidates says SHIP to one of them by luck.

After k candidates the chance of one false SHIP is up to 1 - (1 - alpha)^k. The count is always
shown. `alpha_per_attempt` judges the k-th candidate at alpha/k, which holds the chance of one false
SHIP among ten candidates at .15 instead of .40; a `sealed` suite does so too, and is judged only on
demand, for the candidate of a release.

Source: the reusable holdout (Dwork et al. 2015); Bonferroni's inequality for the sum of alpha/k.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from harness.errors import UsageError
from harness.manifest import Gate, SuiteRecord
from harness.suite import Suite


def refuse_sealed(suites: Iterable[Suite], *, opened: bool) -> None:
    """Refuse sealed suites unless the user opens them.

    Raises:
        UsageError: a suite is sealed.
    """
    sealed = [] if opened else [suite for suite in suites if suite.sealed]
    if sealed:
        raise UsageError(
            f"{sealed[0].path}: the suite is sealed, kept for the candidate of a release, and each "
            "opening wears it; open it with --gate-open-sealed (CLI: --open-sealed)"
        )


def at_attempt(gate: Gate, suite: SuiteRecord, attempts: Mapping[str, int]) -> Gate:
    """Return a gate at the level of this attempt: alpha/k for the k-th candidate."""
    count = attempt(suite, attempts)
    if count == 1:
        return gate
    return gate.model_copy(update={"confidence": 1 - (1 - gate.confidence) / count})


def attempt(suite: SuiteRecord, attempts: Mapping[str, int]) -> int:
    """Return which candidate this is where the suite's level depends on it, else 1."""
    return max(1, attempts.get(suite.hash, 1)) if suite.alpha_per_attempt else 1


def attempt_note(suite: SuiteRecord, attempts: Mapping[str, int]) -> Iterator[str]:
    """Yield what a reader must know of a suite that has judged other candidates."""
    count = attempt(suite, attempts)
    if count > 1:
        yield f"candidate {count} on this suite, judged at 1/{count} of the error"
