"""Calibration report: figures in words, matched with the judges of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tunegate.harness.judges.asking.judge_model import JudgeModel
from tunegate.harness.records.calibration import (
    LEAST_KAPPA,
    Calibration,
    RateEstimate,
    calibration_binding,
    read_calibration,
)
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.manifest import MetricRecord, SuiteRecord

NOT_ASKED = "not asked: the judgements are recorded"
"""Note in place of canaries, attacks and repeats for recorded judgements."""


def calibration_figures(known: Calibration) -> list[tuple[str, str]]:
    """Return name and value of everything a calibration measured, in the order of reading."""
    return [(name, text) for name, text in _figures(known) if text]


def eligibility_sentence(known: Calibration) -> str:
    """Return in a sentence whether gates may rest on the judge."""
    reasons = known.why_not()
    if reasons:
        fix = "labels on a run's own pairs can correct its difference"
        if known.near_guessing:
            fix = "no label fixes that: take another judge, or another prompt"
        return f"It may not gate: {'; '.join(reasons)}. Its gates are advisory; {fix}."
    if known.canaries.failed:
        names = ", ".join(known.canaries.failed)
        return f"Its gates are errors: it calls known bad answers good ({names})."
    unasked = (
        " Its judgements are recorded: whether it likes known bad answers, or repeats itself when "
        "asked again, is unknown."
    )
    return (
        f"It may gate where the margin is {known.least_margin:.3g} or more: kappa is at least "
        f"{LEAST_KAPPA}, and its differential error is within half of that margin."
        f"{unasked if known.recorded else ''}"
    )


def rate_text(rate: RateEstimate | None, *, sign: bool = False) -> str:
    """Return an estimate with its interval; nothing for none."""
    if rate is None:
        return ""
    form = "{:+.3f} [{:+.3f}, {:+.3f}]" if sign else "{:.3f} [{:.3f}, {:.3f}]"
    return form.format(rate.estimate, rate.low, rate.high)


def _batch_text(known: Calibration) -> str:
    """Return how verdicts of one call compare with those of single calls; nothing without any."""
    if known.batch_agreement is None:
        return ""
    apart = rate_text(known.batch_difference, sign=True)
    agreed = f"{rate_text(known.batch_agreement)} of {known.batch_agreement.n} answers"
    return f"{agreed}; mean difference {apart}" if apart else agreed


def _figures(known: Calibration) -> Iterator[tuple[str, str]]:
    unscored = f", {known.n_unscored} of them without a score" if known.n_unscored else ""
    shown = f"; {known.n_examples} more left out: the judge's examples" if known.n_examples else ""
    yield "labels", f"{known.n_labels} answers ({known.labels}){unscored}{shown}"
    yield "kappa", rate_text(known.kappa)
    yield (
        "agreement",
        f"{rate_text(known.agreement)}; always the commonest label: {known.baseline:.3f}",
    )
    yield "balanced accuracy", rate_text(known.balanced_accuracy)
    for arm, errors in known.arms.items():
        both = [
            f"{name} {rate_text(rate)}"
            for name, rate in (("good", errors.sensitivity), ("bad", errors.specificity))
            if rate is not None
        ]
        yield f"recognised, {arm}", f"{', '.join(both)} ({errors.n} answers)"
    yield "differential error", _differential(known)
    yield "order flips", rate_text(known.order_flips)
    yield "first slot wins", _first(known)
    again = NOT_ASKED if known.recorded else ""
    yield "flips when asked again", rate_text(known.repeat_flips) or again
    yield "batched as single calls", _batch_text(known)
    yield "length slope", rate_text(known.length_slope, sign=True)
    yield "known bad answers", canary_text(known)
    yield "attacks", attack_text(known)


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


def canary_text(known: Calibration) -> str:
    """Return what the judge made of answers that are known to be bad."""
    told = known.canaries
    if known.recorded:
        return NOT_ASKED
    if not told.asked:
        return "none asked"
    liked = f"it likes {', '.join(told.failed)}" if told.failed else "none of them is liked"
    missing = f"; no verdict on {', '.join(told.unscored)}" if told.unscored else ""
    return f"{told.asked} asked, {liked}{missing}"


def attack_text(known: Calibration) -> str:
    """Return how many texts turned a bad answer's verdict."""
    told = known.canaries
    if known.recorded:
        return NOT_ASKED
    if not told.attacks:
        from tunegate.harness.judges.calibrating.calibration import ATTACKS

        return f"none of {len(ATTACKS)} asked: no answer is called bad by people and judge"
    names = f": {', '.join(told.fooled)}" if told.fooled else ""
    return f"{len(told.fooled)} of {told.attacks} succeed{names}"


def read_all(given: str | None) -> dict[Path, Calibration]:
    """Read the calibrations of an option's value; commas part several files.

    Raises:
        UsageError: one cannot be read.
    """
    names = [name.strip() for name in (given or "").split(",") if name.strip()]
    return {Path(name): read_calibration(Path(name)) for name in names}


def attach_calibrations(
    suites: Sequence[SuiteRecord],
    known: dict[Path, Calibration],
    judge_models: Sequence[JudgeModel],
) -> tuple[SuiteRecord, ...]:
    """Return the suites with each judge's calibration, where there is one of this very judge.

    Raises:
        UsageError: a calibration is of none of the run's judges, and why not.
    """
    fingerprints = [judge_model.fingerprint for judge_model in judge_models]
    by_binding = {calibration.binding: calibration for calibration in known.values()}
    judged = {
        calibration_binding(m.judge.prompt_sha256, fingerprints): m
        for suite in suites
        for m in suite.metrics
        if m.judge is not None
    }
    for path, calibration in known.items():
        if judge_models and calibration.binding not in judged:
            raise UsageError(f"{path}: {_judge_differences(calibration, list(judged.values()))}")
    return tuple(
        suite.model_copy(
            update={
                "metrics": tuple(
                    _attach_calibration(m, by_binding, fingerprints) for m in suite.metrics
                ),
            }
        )
        for suite in suites
    )


def _attach_calibration(
    metric: MetricRecord, known: dict[str, Calibration], fingerprints: Sequence[str]
) -> MetricRecord:
    if metric.judge is None or not fingerprints:
        return metric
    found = known.get(calibration_binding(metric.judge.prompt_sha256, fingerprints))
    judge = metric.judge.model_copy(update={"calibration": found})
    return metric.model_copy(update={"judge": judge})


def _judge_differences(calibration: Calibration, judged: Sequence[MetricRecord]) -> str:
    """Return in what the judge of a calibration differs from those of the run."""
    again = "calibrate it again with `tunegate judge calibrate`"
    if not judged:
        return "no metric of the run asks a judge; leave the calibration out"
    prompts = {m.judge.prompt_sha256 for m in judged if m.judge is not None}
    if calibration.judge.get("prompt_sha256") not in prompts:
        return (
            f"it is of {calibration.metric!r} with another prompt or other options than any judge "
            f"of the run has; {again}"
        )
    models = ", ".join(str(m.get("spec")) for m in calibration.judge.get("models", ()))
    return f"it is of another judge model ({models}) than the run's; {again}"
