"""Attempts: the error of a suite that judges many candidates, or one candidate again.

After k candidates the chance of a false SHIP is up to 1 - (1 - alpha)^k: the count is shown.
`alpha_per_attempt` judges the k-th candidate at alpha/k, which holds the chance of one false SHIP
among ten candidates at .15 instead of .40; a `sealed` suite does so too, and is judged only on
demand, for the candidate of a release.

A candidate left undecided may be judged again once cases were added, or with another seed. That
second chance has a fifth of the error, and each further one half of the one before.

Source: the reusable holdout (Dwork et al. 2015); Bonferroni's inequality for the sum of alpha/k.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.manifest import Gate, LedgerState, SuiteRecord
from tunegate.harness.records.wording import count_noun
from tunegate.harness.suite import Suite


def refuse_sealed(suites: Iterable[Suite], *, opened: bool) -> None:
    """Refuse sealed suites unless the user opens them."""
    sealed = [] if opened else [suite for suite in suites if suite.sealed]
    if sealed:
        raise UsageError(
            f"{sealed[0].path}: the suite is sealed, kept for release candidates, and each "
            "opening wears it out; open it with --gate-open-sealed (CLI: --open-sealed)"
        )


def refuse_draft(suites: Iterable[Suite]) -> None:
    """Refuse a draft on suites that pay for each attempt: a draft would see them for free."""
    for suite in suites:
        if suite.sealed or suite.alpha_per_attempt:
            key = "sealed" if suite.sealed else "alpha_per_attempt"
            raise UsageError(
                f"{suite.path}: {key} = true makes every look count, and --gate-draft counts none; "
                "leave out one of them"
            )


EXTENDED = 5
"""A candidate that is judged again on more cases has 1/5 of the error."""
_HALVINGS = 9
"""Most halvings of that for further extensions; more would add next to nothing."""


def extension_share(count: int) -> int:
    """Return one over the share of the error that the `count`-th extension has; 1 without one.

    1/5, 1/10, 1/20 …: all of them together have less than 2/5 of the error. With 1/5 each, a suite
    that is doubled five times errs in .077 of the runs, and with these shares in .059.

    Source: Bonferroni's inequality; a geometric series.
    """
    return EXTENDED * 2 ** min(count - 1, _HALVINGS) if count else 1


def at_attempt(gate: Gate, suite: SuiteRecord, attempts: Mapping[str, int]) -> Gate:
    """Return a gate at the level of this attempt.

    It is alpha/k for the k-th candidate where the suite asks for that, and a fifth of it for a
    candidate that other cases or another seed judged before: two chances at 5 % err in .08 of the
    runs where the cases are doubled, at 5 % and 1 % in .06 at most, whatever was changed.
    Further extensions have ever less (`extension_share`).

    Source: Bonferroni's inequality.
    """
    count = attempt_number(suite, attempts) * extension_share(suite.extended)
    if count == 1:
        return gate
    return gate.model_copy(update={"confidence": 1 - (1 - gate.confidence) / count})


def extension_level(gate: Gate, suite: SuiteRecord, attempts: Mapping[str, int]) -> Gate:
    """Return a gate at the level at which the same candidate is judged on further cases."""
    return at_attempt(gate, suite.model_copy(update={"extended": suite.extended + 1}), attempts)


def attempt_number(suite: SuiteRecord, attempts: Mapping[str, int]) -> int:
    """Return which candidate this is where the suite's level depends on it, else 1."""
    return max(1, attempts.get(suite.hash, 1)) if suite.alpha_per_attempt else 1


def attempt_note(suite: SuiteRecord, attempts: Mapping[str, int]) -> Iterator[str]:
    """Yield notes on a suite that has judged other candidates, or this one before."""
    count = attempt_number(suite, attempts)
    if count > 1:
        yield f"candidate {count} on this suite, judged at 1/{count} of the error"
    if suite.extended:
        share = extension_share(suite.extended) * count
        if suite.extended == 1:
            yield (
                "judged this candidate before, on other cases or with another seed; so that a "
                f"second chance adds a fifth of the error at most, it is judged at 1/{share} of it "
                "(--draft counts nothing while a suite is being written)"
            )
        else:
            yield (
                f"judged this candidate before, {suite.extended} times on other cases or with "
                "another seed; so that further chances add little to the error, it is judged at "
                f"1/{share} of it (--draft counts nothing while a suite is being written)"
            )


def ledger_note(state: LedgerState | None) -> Iterator[str]:
    """Yield notes on the ledger that counts attempts; None for runs that are not attempts."""
    if state is None:
        return
    if state.unwritable:
        yield (
            f"{state.file} cannot be written ({state.unwritable}): later runs will not count this "
            "attempt; commit the ledger from a checkout that can be written"
        )
    if state.edited:
        yield (
            f"{state.file}: {count_noun(state.edited, 'other version')} of this suite, "
            "with about the same prompts, judged this candidate before; the attempt is counted "
            "once, whatever was edited"
        )
    unknown = {"stored run": state.unknown_runs, "promoted run": state.unknown_promotions}
    for noun, runs in unknown.items():
        if runs:
            more = f" and {len(runs) - 3} more" if len(runs) > 3 else ""
            yield (
                f"{state.file} does not know {count_noun(len(runs), noun)} of this "
                f"suite ({', '.join(runs[:3])}{more}): its attempts are not all counted"
            )
