"""What follows for a gate's rule, in words."""

from __future__ import annotations

import math

from tunegate.harness.comparison.estimator import FEW_CLUSTERS
from tunegate.harness.comparison.labelled_level import n_labelled
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.contracts.quantity import quantity_of
from tunegate.harness.records.gate_results import GateReason, GateResult
from tunegate.harness.records.wording import count_noun

CONCLUSIONS: dict[GateReason | None, str] = {
    GateReason.PASS_WITH_LOSS: "{} holds, though a loss is proven",
    **dict.fromkeys((GateReason.BELOW_FLOOR, GateReason.ABOVE_CEILING), "{} is broken"),
    **dict.fromkeys((GateReason.SEVERE_DROPS, GateReason.BOUND_BROKEN), "{} is broken"),
    GateReason.REGRESSED: "a regression is proven, and {} is not",
    GateReason.NO_WORTHWHILE_GAIN: "{} is not proven, and a gain worth having is ruled out",
    GateReason.WITHIN_NOISE: "the difference may be no larger than what base shows against itself, "
    "so inexact arithmetic alone may explain it, and {} is undecided",
    GateReason.INSENSITIVE: "{} means nothing here: base is not proven that much better than "
    "guessing or failing, so it may have nothing to lose",
}
"""Reason → what follows for the rule."""

IN_BRIEF: dict[GateReason | None, str] = {
    **dict.fromkeys((GateReason.BELOW_FLOOR, GateReason.ABOVE_CEILING), "{} is broken"),
    **dict.fromkeys((GateReason.SEVERE_DROPS, GateReason.BOUND_BROKEN), "{} is broken"),
    GateReason.WITHIN_NOISE: "which inexact arithmetic alone may explain",
    GateReason.INSENSITIVE: "but base may have had nothing to lose",
    GateReason.UNSCORED: "open while cases are unscored",
    GateReason.NOT_COMPUTABLE: "{} cannot be computed",
    GateReason.LOSS_MAY_BE_STYLE: "a proven loss, which may be only wording",
}
"""Reason → the same in a headline; the rule is not proven for any other."""


CHANCE = "but not beyond chance among all gates of the run"
"""What follows if the adjustment over all gates takes a claim back."""


def looks_broken(rule: str) -> str:
    """Return what follows if only the adjustment over all gates keeps a rule from failing."""
    return f"{rule} looks broken, {CHANCE}"


def missing_evidence(result: GateResult, pairs: Pairs) -> str | None:
    """Return what an undecided gate lacks that more cases alone do not give."""
    clusters = pairs.n_clusters
    if result.n < 2:
        return "one case is too little to judge by"
    if pairs.labels is not None:
        return "more labels would narrow it"
    if clusters is not None and clusters < FEW_CLUSTERS:
        come = f"the cases come in {count_noun(clusters, 'cluster')}"
        return f"{come}, and it takes {FEW_CLUSTERS} at least"
    if result.low is None and result.high is None:
        return "all differences are equal, so the next one cannot be predicted"
    return None


def uncorrected_note(result: GateResult, pairs: Pairs) -> str:
    """Return what the judge alone would say, if labels correct it."""
    if pairs.labels is None or not pairs.n:
        return ""
    labelled = count_noun(n_labelled(pairs.labels), "pair")
    alone = (math.fsum(pairs.tuned) - math.fsum(pairs.base)) / pairs.n
    uncorrected = f"the judge alone gives {quantity_of(result).difference(alone)}"
    return f" (corrected by labels on {labelled}; {uncorrected})"
