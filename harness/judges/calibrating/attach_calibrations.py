"""Calibrations of a run's judges: read from files, and attached where they fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tunegate.harness.judges.asking.judge_model import JudgeModel
from tunegate.harness.records.calibration import Calibration, calibration_binding, read_calibration
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.manifest import MetricRecord, SuiteRecord


def read_calibrations(option: str | None) -> dict[Path, Calibration]:
    """Read the calibrations of an option's value: files separated by commas.

    Raises:
        UsageError: one cannot be read.
    """
    names = [name.strip() for name in (option or "").split(",") if name.strip()]
    return {Path(name): read_calibration(Path(name)) for name in names}


def attach_calibrations(
    suites: Sequence[SuiteRecord],
    calibrations: dict[Path, Calibration],
    judge_models: Sequence[JudgeModel],
) -> tuple[SuiteRecord, ...]:
    """Return the suites with the calibration of each judge that has one.

    Raises:
        UsageError: a calibration fits none of the run's judges.
    """
    fingerprints = [judge_model.fingerprint for judge_model in judge_models]
    by_binding = {calibration.binding: calibration for calibration in calibrations.values()}
    judged = {
        calibration_binding(m.judge.prompt_sha256, fingerprints): m
        for suite in suites
        for m in suite.metrics
        if m.judge is not None
    }
    for path, calibration in calibrations.items():
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
    metric: MetricRecord, calibrations: dict[str, Calibration], fingerprints: Sequence[str]
) -> MetricRecord:
    if metric.judge is None or not fingerprints:
        return metric
    calibration = calibrations.get(calibration_binding(metric.judge.prompt_sha256, fingerprints))
    judge = metric.judge.model_copy(update={"calibration": calibration})
    return metric.model_copy(update={"judge": judge})


def _judge_differences(calibration: Calibration, judged: Sequence[MetricRecord]) -> str:
    """Return how the judge of a calibration differs from those of the run."""
    again = "calibrate it again with `tunegate judge calibrate`"
    if not judged:
        return "no metric of the run asks a judge; remove the calibration"
    prompts = {m.judge.prompt_sha256 for m in judged if m.judge is not None}
    if calibration.judge.get("prompt_sha256") not in prompts:
        return (
            f"it calibrates {calibration.metric!r} with another prompt or other options than any "
            f"judge of the run; {again}"
        )
    models = ", ".join(str(m.get("spec")) for m in calibration.judge.get("models", ()))
    return f"it calibrates another judge model ({models}) than the run's; {again}"
