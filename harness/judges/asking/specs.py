"""Judge specs: what `--judge` names, and the judge models it opens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunegate.harness.contracts import lookup
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.judges.asking.judge_model import JudgeModel
from tunegate.harness.judges.asking.stage import judge_metrics
from tunegate.harness.records.errors import UsageError
from tunegate.harness.suite import Suite

NONE = "none"
"""Runs without a judge: judge metrics are unscored and their gates advisory."""
BACKENDS = "tunegate.harness.judges.backends"


def parse_specs(value: str | None) -> tuple[str, ...]:
    """Split the value of `--judge` at its commas; several specs make a jury.

    Raises:
        UsageError: a spec is empty or repeated.
    """
    if value is None or value.strip() == NONE:
        return ()
    specs = tuple(spec.strip() for spec in value.split(","))
    if not all(specs):
        raise UsageError(f"judge={value!r} has an empty name; write SPEC, or SPEC,SPEC for a jury")
    if len(set(specs)) < len(specs):
        raise UsageError(f"judge={value!r} names a judge twice, so its vote would count double")
    return specs


def refuse_unjudged(suites: Sequence[Suite], value: str | None) -> None:
    """Refuse gates on judge metrics if no judge was named.

    Raises:
        UsageError: a gate needs a judge, or the judge that was named cannot answer it.
    """
    if value is not None:
        _refuse_other_judges(suites, parse_specs(value))
        return
    for suite, metric in judge_metrics(suites):
        if metric in suite.gated_metrics:
            specs = ", ".join(lookup.defined_texts(BACKENDS, "SPEC").values())
            raise UsageError(
                f"{suite.name}: the gate on {metric.name!r} needs a judge: name one with "
                f"--gate-judge SPEC ({specs}), or run without a judge with --gate-judge none"
            )


def _refuse_other_judges(suites: Sequence[Suite], specs: Sequence[str]) -> None:
    """Refuse judge models that answer some judges only, if a metric asks another."""
    alone = lookup.defined_texts(BACKENDS, "JUDGES")
    for spec in specs:
        prefix, only = spec.partition(":")[0], alone.get(split_spec(spec)[0]) or ""
        for suite, metric in judge_metrics(suites) if only else ():
            if metric.judge is not None and metric.judge.name not in only.split(", "):
                raise UsageError(
                    f"{suite.name}: {prefix} only judges {only}, but the metric {metric.name!r} "
                    f"asks {metric.judge.name}; remove the metric, or name another judge"
                )


def open_judge_models(specs: Sequence[str], store: AnswerCache | None) -> tuple[JudgeModel, ...]:
    """Open the judge models.

    Raises:
        UsageError: one cannot be opened.
    """
    return tuple(_open_judge_model(spec, store) for spec in specs)


def _open_judge_model(spec: str, store: AnswerCache | None) -> JudgeModel:
    name, target = split_spec(spec)
    opened: Any = lookup.find_object(BACKENDS, name, what="judge backend")(target)
    if hasattr(opened, "keeping"):
        opened = opened.keeping(store)
    if hasattr(opened, "ask"):
        from tunegate.harness.judges.asking.conversation import AskedJudgeModel

        opened = AskedJudgeModel(opened, store)
    model: JudgeModel = opened
    return model


def split_spec(spec: str) -> tuple[str, str]:
    """Split a spec into its backend and the target that the backend opens."""
    prefix, has_prefix, target = spec.partition(":")
    name = prefix.replace("-", "_")
    if has_prefix and name in lookup.available_names(BACKENDS):
        return name, target
    return "local", spec
