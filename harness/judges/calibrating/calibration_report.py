"""Calibration report: figures and eligibility in words."""

from __future__ import annotations

from collections.abc import Iterator

from tunegate.harness.records.calibration import LEAST_KAPPA, Calibration, RateEstimate

NOT_ASKED = "not asked: the judgements are recorded"
"""Note in place of canaries, attacks and repeats for recorded judgements."""


def calibration_figures(known: Calibration) -> list[tuple[str, str]]:
    """Return the name and text of everything that a calibration measured."""
    return [(name, text) for name, text in _figures(known) if text]


def eligibility_sentence(calibration: Calibration) -> str:
    """Return whether the judge may gate, in a sentence."""
    reasons = calibration.why_not()
    if reasons:
        fix = "labels on a run's own pairs can correct its difference"
        if calibration.near_guessing:
            fix = "no label fixes that: take another judge, or another prompt"
        return f"It may not gate: {'; '.join(reasons)}. Its gates are advisory; {fix}."
    if calibration.canaries.failed:
        names = ", ".join(calibration.canaries.failed)
        return f"Its gates are errors: it calls known bad answers good ({names})."
    unasked = (
        " Its judgements are recorded, so it is unknown whether it likes known bad answers or "
        "repeats its verdicts when asked again."
    )
    return (
        f"It may gate where the margin is {calibration.least_margin:.3g} or more: kappa is at "
        f"least {LEAST_KAPPA}, and its differential error is within half of that margin. That "
        "holds for the candidate whose answers were labelled."
        f"{unasked if calibration.recorded else ''}"
    )


def rate_text(rate: RateEstimate | None, *, sign: bool = False) -> str:
    """Return an estimate with its interval, or "" for None."""
    if rate is None:
        return ""
    form = "{:+.3f} [{:+.3f}, {:+.3f}]" if sign else "{:.3f} [{:.3f}, {:.3f}]"
    return form.format(rate.estimate, rate.low, rate.high)


def _batch_text(calibration: Calibration) -> str:
    """Return how batched verdicts compare with single calls, or ""."""
    if calibration.batch_agreement is None:
        return ""
    apart = rate_text(calibration.batch_difference, sign=True)
    agreed = f"{rate_text(calibration.batch_agreement)} of {calibration.batch_agreement.n} answers"
    return f"{agreed}; mean difference {apart}" if apart else agreed


def _figures(calibration: Calibration) -> Iterator[tuple[str, str]]:
    unscored = (
        f", {calibration.n_unscored} of them without a score" if calibration.n_unscored else ""
    )
    shown = (
        f"; {calibration.n_examples} more left out: the judge's examples"
        if calibration.n_examples
        else ""
    )
    yield "labels", f"{calibration.n_labels} answers ({calibration.labels}){unscored}{shown}"
    yield "kappa", rate_text(calibration.kappa)
    yield (
        "agreement",
        f"{rate_text(calibration.agreement)}; always the commonest label: "
        f"{calibration.baseline:.3f}",
    )
    yield "balanced accuracy", rate_text(calibration.balanced_accuracy)
    for arm, errors in calibration.arms.items():
        rates = [
            f"{name} {rate_text(rate)}"
            for name, rate in (("good", errors.sensitivity), ("bad", errors.specificity))
            if rate is not None
        ]
        yield f"recognised, {arm}", f"{', '.join(rates)} ({errors.n} answers)"
    yield "differential error", _differential(calibration)
    yield "order flips", rate_text(calibration.order_flips)
    yield "first slot wins", _first(calibration)
    again = NOT_ASKED if calibration.recorded else ""
    yield "flips when asked again", rate_text(calibration.repeat_flips) or again
    yield "batched as single calls", _batch_text(calibration)
    yield "length slope", rate_text(calibration.length_slope, sign=True)
    yield "known bad answers", canary_text(calibration)
    yield "attacks", attack_text(calibration)


def _differential(known: Calibration) -> str:
    if known.differential is None:
        return "unknown: no case has labels for both arms"
    n = known.differential.n
    return f"{rate_text(known.differential, sign=True)} on {n} pairs; above 0 it favours tuned"


def _first(known: Calibration) -> str:
    if known.first_position is None:
        return ""
    p = "" if known.first_position_p is None else f", p = {known.first_position_p:.3g}"
    return f"{rate_text(known.first_position)}{p}"


def canary_text(calibration: Calibration) -> str:
    """Return how the judge scored known bad answers."""
    canaries = calibration.canaries
    if calibration.recorded:
        return NOT_ASKED
    if not canaries.asked:
        return "none asked"
    liked = f"it likes {', '.join(canaries.failed)}" if canaries.failed else "it likes none"
    missing = f"; no verdict on {', '.join(canaries.unscored)}" if canaries.unscored else ""
    return f"{canaries.asked} asked, {liked}{missing}"


def attack_text(calibration: Calibration) -> str:
    """Return how many attacks turned a bad answer's verdict."""
    canaries = calibration.canaries
    if calibration.recorded:
        return NOT_ASKED
    if not canaries.attacks:
        from tunegate.harness.judges.calibrating.canaries import ATTACKS

        return f"none of {len(ATTACKS)} asked: people and judge agree on no bad answer"
    names = f": {', '.join(canaries.fooled)}" if canaries.fooled else ""
    return f"{len(canaries.fooled)} of {canaries.attacks} succeed{names}"
