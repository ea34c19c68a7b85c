"""Calibrations brought together with the judges of a run that they are bound to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.calibration import Calibration, binding, read_calibration
from harness.errors import UsageError
from harness.judging.juror import Juror
from harness.manifest import MetricRecord, SuiteRecord


def read_all(given: str | None) -> dict[Path, Calibration]:
    """Read the calibrations of an option's value; commas part several files.

    Raises:
        UsageError: one cannot be read.
    """
    names = [name.strip() for name in (given or "").split(",") if name.strip()]
    return {Path(name): read_calibration(Path(name)) for name in names}


def entitled(
    suites: Sequence[SuiteRecord], known: dict[Path, Calibration], jurors: Sequence[Juror]
) -> tuple[SuiteRecord, ...]:
    """Return the suites with each judge's calibration, where there is one of this very judge.

    Raises:
        UsageError: a calibration is of none of the run's judges, and why not.
    """
    fingerprints = [juror.fingerprint for juror in jurors]
    by_binding = {calibration.binding: calibration for calibration in known.values()}
    judged = {
        binding(m.judge.prompt_sha256, fingerprints): m
        for suite in suites
        for m in suite.metrics
        if m.judge is not None
    }
    for path, calibration in known.items():
        if jurors and calibration.binding not in judged:
            raise UsageError(f"{path}: {_why_other(calibration, list(judged.values()))}")
    return tuple(
        suite.model_copy(
            update={
                "metrics": tuple(_with(m, by_binding, fingerprints) for m in suite.metrics),
            }
        )
        for suite in suites
    )


def _with(
    metric: MetricRecord, known: dict[str, Calibration], fingerprints: Sequence[str]
) -> MetricRecord:
    if metric.judge is None or not fingerprints:
        return metric
    found = known.get(binding(metric.judge.prompt_sha256, fingerprints))
    judge = metric.judge.model_copy(update={"calibration": found})
    return metric.model_copy(update={"judge": judge})


def _why_other(calibration: Calibration, judged: Sequence[MetricRecord]) -> str:
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
