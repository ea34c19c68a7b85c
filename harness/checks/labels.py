"""Labels: what a suite may ask of a classifier, and which labels two classifiers share."""

from __future__ import annotations

from tunegate.harness.contracts.metric import Metric
from tunegate.harness.contracts.model import Arm, ClassifierArm, RecordedArm
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.errors import NotComparable, UsageError
from tunegate.harness.suite import Suite

_SHOWN = 5
"""Most labels that a message names."""


def check_labels(suite: Suite, name: str, arm: Arm) -> None:
    """Refuse metrics of text for a classifier, and labels that it can never give.

    Base may lack labels that the fine-tune adds, but not all of them.

    Raises:
        UsageError: suite, metric or case, and why.
    """
    if not isinstance(arm, ClassifierArm):
        for metric in suite.metrics:
            if metric.probabilities and not isinstance(arm, RecordedArm):
                raise UsageError(
                    f"{suite.name}: metric {metric.name!r} needs the probabilities of labels, "
                    f"which {name} does not give; write classifier:PATH for a classification head"
                )
        return
    for metric in suite.metrics:
        if not _reads_labels(metric):
            what = "asks a judge" if metric.judge is not None else "scores written text"
            raise UsageError(
                f"{suite.name}: metric {metric.name!r} {what}, and {name} is a classifier, which "
                "answers with a label; use classification, label_probability, brier_score, "
                "calibration_error, label_set_f1 or absolute_error"
            )
    if arm.labels:
        _refuse_unknown_labels(suite, name, arm)


def _reads_labels(metric: Metric) -> bool:
    """Return whether a metric can score a label: it reads `expected`, or is not bundled."""
    if metric.judge is not None or metric.episodes:
        return False
    if metric.needs is CellKind.LATENCY or not metric.is_bundled:
        return True
    return "expected" in metric.requires


def _refuse_unknown_labels(suite: Suite, name: str, arm: ClassifierArm) -> None:
    expected = {
        label.strip(): case.id
        for case in reversed(suite.cases)
        for label in case.expected_texts()
        if label.strip()
    }
    unknown = sorted(expected.keys() - {*arm.labels})
    if not unknown or (name != "tuned" and len(unknown) < len(expected)):
        return
    label, case = unknown[0], expected[unknown[0]]
    shown = ", ".join(arm.labels[:_SHOWN]) + (", …" if len(arm.labels) > _SHOWN else "")
    raise UsageError(
        f"{suite.name}: case {case!r} expects {label!r}, which {name} never answers: its labels "
        f"are {shown}; correct the case, or id2label in the config.json of {name}"
    )


def check_label_maps(name: str, base: ClassifierArm, arm: ClassifierArm) -> None:
    """Refuse two heads whose outputs are named differently.

    A training may add labels. Those of the smaller head must all be labels of the larger one, in
    the same order: exchanged names would make one arm wrong about texts that it reads right.

    Raises:
        NotComparable: the first label that differs.
    """
    kinds = [_kind(one) for one in (base, arm)]
    if kinds[0] != kinds[1]:
        raise NotComparable(
            f"base gives {kinds[0]} and {name} {kinds[1]}; correct problem_type or id2label in the "
            "config.json of one of them"
        )
    (few, fewer), (many, more) = sorted(
        (("base", base.labels), (name, arm.labels)), key=lambda side: len(side[1])
    )
    if lacking := [label for label in fewer if label not in more]:
        raise NotComparable(
            f"{few} answers {lacking[0]!r}, which is no label of {many} "
            f"({', '.join(more[:_SHOWN])}{', …' if len(more) > _SHOWN else ''}); write the labels "
            "that the cases expect into id2label in the config.json of both"
        )
    if other := [
        pair
        for pair in zip(fewer, filter({*fewer}.__contains__, more), strict=True)
        if pair[0] != pair[1]
    ]:
        raise NotComparable(
            f"the heads of base and {name} name their outputs in another order: {few} has "
            f"{other[0][0]!r} where {many} has {other[0][1]!r}; correct id2label in one of them, "
            "or, if both are right, put the rows of one head into the other's order"
        )


def _kind(arm: ClassifierArm) -> str:
    if not arm.labels:
        return "a number"
    return "several labels" if getattr(arm, "several", False) else "one label"
