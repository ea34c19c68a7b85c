"""Judge eligibility: whether a gate may rest on a judge's scores.

- Advisory: too little is known about the judge, it is barely better than chance, or the arms
  are not base and tuned.
- Calibrated: it agrees with people, nearly all labelled answers are this run's, the gate is on all
  cases, and its margin leaves room for the differential error. The labelled pairs of the
  calibration correct the difference.
- Open: it counts, and the run's labels are no random sample, or a share of base's level proves to
  be too narrow for the differential error. It stays undecided.
- Corrected: people labelled both answers of a random sample of this run's pairs.
- Refused: it would count, but calls known bad answers good.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from tunegate.harness.comparison.calibrated_level import CalibrationSample
from tunegate.harness.comparison.estimator import exact_mean
from tunegate.harness.comparison.labelled_level import n_labelled
from tunegate.harness.comparison.pairs import Pairs, shared_clusters
from tunegate.harness.contracts.metric import HINT
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.calibration import LEAST_PAIRS, Calibration
from tunegate.harness.records.manifest import Gate


class EligibilityStatus(StrEnum):
    """The eligibility of a gate on some metric."""

    RULE = "rule"
    """No judge is asked."""
    ADVISORY = "advisory"
    """Shown, without influence on the verdict."""
    CALIBRATED = "calibrated"
    """Its difference decides, corrected by the calibration's labels."""
    CORRECTED = "corrected"
    """Its difference decides, corrected by people's labels on this run."""
    OPEN = "open"
    """It counts, but this run's scores or labels cannot decide it: undecided."""
    REFUSED = "refused"
    """It would decide, but its judge calls known bad answers good: an error."""


@dataclass(frozen=True, slots=True)
class JudgeEligibility:
    """Eligibility of a gate, and why; "" for rules."""

    status: EligibilityStatus
    why: str = ""

    @property
    def counts(self) -> bool:
        """Whether the gate takes part in the verdict."""
        return self.status is not EligibilityStatus.ADVISORY


FARTHEST_SAMPLE = 4.0
"""Standard errors by which the judge's mean on a random sample may differ from the rest."""
RULE = JudgeEligibility(EligibilityStatus.RULE)


def judge_eligibility(
    gate: Gate, pairs: Pairs, answers: Mapping[str, str] | None = None
) -> JudgeEligibility:
    """Return whether a gate may rest on its metric.

    Args:
        gate: The gate.
        pairs: The complete pairs of its metric, with people's labels, if any.
        answers: Case → hash of the run's two answers; None if unknown.
    """
    judge = pairs.metric.judge
    if judge is None:
        return _advisory(HINT) if pairs.metric.indicative else RULE
    if judge.other_arms:
        return _advisory("people labelled answers of base and tuned, and of no other arm")
    calibration = judge.calibration
    if calibration is None:
        return _advisory("the judge was never calibrated: see `tunegate judge calibrate`")
    if calibration.near_guessing:
        arms = [arm for arm, errors in calibration.arms.items() if errors.near_guessing]
        where = "" if arms == ["all"] else f"on {' and '.join(arms)} "
        return _advisory(f"{where}the judge is barely better than chance")
    cannot = gate_kind(gate.kind).judge_refusal(gate)
    if cannot:
        return _advisory(cannot)
    eligibility = _eligibility_by_labels(pairs) or _eligibility_by_calibration(
        gate, pairs, calibration, _changed_answers(calibration, answers)
    )
    if eligibility.status is EligibilityStatus.CALIBRATED:
        eligibility = replace(
            eligibility, why=eligibility.why + _coverage_note(pairs, calibration, answers)
        )
    if eligibility.counts and calibration.canaries.failed:
        names = ", ".join(calibration.canaries.failed)
        return JudgeEligibility(
            EligibilityStatus.REFUSED, f"the judge calls known bad answers good: {names}"
        )
    return eligibility


def _advisory(why: str) -> JudgeEligibility:
    return JudgeEligibility(EligibilityStatus.ADVISORY, why)


def _eligibility_by_labels(pairs: Pairs) -> JudgeEligibility | None:
    """Return the eligibility by labels on this run; None if they are too few."""
    n = n_labelled(pairs.labels)
    if n < LEAST_PAIRS or (pairs.clusters is not None and pairs.n - n > 1):
        return None  # PPI has no clusters; labels on every pair need no correction
    chosen = _not_random(pairs)
    if chosen:
        return JudgeEligibility(EligibilityStatus.OPEN, chosen)
    return JudgeEligibility(
        EligibilityStatus.CORRECTED, f"labels on {n} of {pairs.n} pairs correct it (PPI++)"
    )


def _not_random(pairs: Pairs) -> str:
    """Return why the labelled pairs cannot be a random sample; "" if they may be one."""
    labelled = [pair is not None for pair in pairs.labels or ()]
    means = _far_means([pairs.sign * d for d in pairs.differences], labelled)
    if means is None:
        return ""
    return (
        f"the labelled pairs are not a random sample: the judge's difference is {means[0]:+.3f} on "
        f"them and {means[1]:+.3f} on the others; draw them with `tunegate judge label`"
    )


def _far_means(values: Sequence[float], chosen: Sequence[bool]) -> tuple[float, float] | None:
    """Return the means of chosen values and of the rest; None if chance may explain both."""
    from tunegate.harness.stats.ppi import sample_distance

    inside, rest = (
        [v for v, there in zip(values, chosen, strict=True) if there is of] for of in (True, False)
    )
    if not inside or not rest or abs(sample_distance(inside, rest)) <= FARTHEST_SAMPLE:
        return None
    return exact_mean(inside), exact_mean(rest)


def _coverage_note(
    pairs: Pairs, calibration: Calibration, answers: Mapping[str, str] | None
) -> str:
    """Return how the calibration's answers differ from the run's others; "" if they do not."""
    labelled = calibration.answers or {}
    chosen = [
        case in labelled and (answers or {}).get(case) == labelled[case] for case in pairs.cases
    ]
    columns = {
        "place in the suite": [float(place) for place in range(1, pairs.n + 1)],
        "judged score of base": pairs.base,
        "judged difference": [pairs.sign * d for d in pairs.differences],
    }
    for name, values in columns.items():
        means = _far_means(values, chosen)
        if means is not None:
            return (
                f"; the labelled answers are not a random sample of the run's: the mean {name} is "
                f"{means[0]:.3g} on them and {means[1]:.3g} on the others; draw them with "
                "`tunegate judge label`"
            )
    return ""


@dataclass(frozen=True, slots=True)
class _ChangedAnswers:
    """How many labelled pairs are not this run's answers, of those whose case it has."""

    changed: int
    of: int

    @property
    def share(self) -> float:
        """The share that changed; 1 if the run has none of the cases."""
        return self.changed / self.of if self.of else 1.0


def _changed_answers(
    calibration: Calibration, answers: Mapping[str, str] | None
) -> _ChangedAnswers | None:
    """Return how many labelled answers are not this run's; None if that is unknown.

    A judge may overlook more in another candidate's answers.
    """
    if answers is None or calibration.answers is None:
        return None
    shared = {
        case: answer_hash for case, answer_hash in calibration.answers.items() if case in answers
    }
    return _ChangedAnswers(
        sum(answers[c] != answer_hash for c, answer_hash in shared.items()), len(shared)
    )


def _eligibility_by_calibration(
    gate: Gate, pairs: Pairs, calibration: Calibration, changed: _ChangedAnswers | None
) -> JudgeEligibility:
    """Return the eligibility by the calibration, or what is missing."""
    if gate.tag is not None:
        # A judge that misses one group's loss is hardly wrong on average.
        return _advisory(
            "the calibration covers all cases, and the judge may err differently on a tag: "
            f"it takes labels on {LEAST_PAIRS} pairs of the tag{_have(pairs)}"
        )
    margin = gate_kind(gate.kind).judge_margin(gate, pairs.base_level if pairs.n else 0.0)
    if margin is None:
        return _advisory(
            f"a {gate.kind} has no margin for a judge's errors: it takes labels on "
            f"{LEAST_PAIRS} pairs of the run{_have(pairs)}"
        )
    narrow = _too_narrow(gate, margin, calibration)
    reasons = [*calibration.why_not(), *narrow]
    if not reasons and changed is not None:
        reasons = _of_others(margin, calibration, changed, pairs.metric.bound or math.inf)
    if reasons:
        # The width of a relative margin depends on this run.
        open_ = isinstance(gate.margin, str) and reasons == narrow
        status = EligibilityStatus.OPEN if open_ else EligibilityStatus.ADVISORY
        return JudgeEligibility(status, f"{'; '.join(reasons)}{_have(pairs)}")
    n = calibration.differential.n if calibration.differential else 0
    unasked = (
        "; recorded, so it was never asked about known bad answers" if calibration.recorded else ""
    )
    return JudgeEligibility(
        EligibilityStatus.CALIBRATED,
        f"the judge agrees with people: kappa {calibration.kappa.estimate:.2f}, differential error "
        f"within half the margin; labels on {n} pairs of the calibration correct its difference"
        f"{unasked}",
    )


def calibrated_pairs(pairs: Pairs) -> Pairs:
    """Return a judge's pairs with the labelled pairs of its calibration."""
    judge = pairs.metric.judge
    labelled = None if judge is None or judge.calibration is None else judge.calibration.pairs
    if labelled is None:
        return pairs
    rows = [pair for pair in labelled for _ in range(pair.n)]
    names = [pair.cluster or f"\0{number}" for number, pair in enumerate(rows)]
    sample = CalibrationSample(
        base_labels=tuple(pair.base_label for pair in rows),
        tuned_labels=tuple(pair.tuned_label for pair in rows),
        base_scores=tuple(pair.base_score for pair in rows),
        tuned_scores=tuple(pair.tuned_score for pair in rows),
        clusters=shared_clusters(names),
    )
    return replace(pairs, calibration=sample)


def _of_others(
    margin: float, calibration: Calibration, changed: _ChangedAnswers, bound: float
) -> list[str]:
    """Return that people labelled other answers, if the judge's possible errors in these matter.

    It may be wrong by the whole range on each changed pair. Those errors and the differential error
    must fit into half of the margin.
    """
    missed = 2 * changed.share * bound if changed.share else 0.0
    if (calibration.least_margin or 0.0) + missed <= abs(margin):
        return []
    of = "none of the labelled cases is in this run"
    if changed.of:
        of = f"{changed.changed} of {changed.of} labelled pairs have other answers in this run"
    return [
        f"{of}, and the judge may overlook more in others: it takes labels on {LEAST_PAIRS} pairs "
        "of this run"
    ]


def _too_narrow(gate: Gate, margin: float, calibration: Calibration) -> list[str]:
    """Return why the gate's margin is too narrow for the judge's differential error."""
    if calibration.least_margin is None or calibration.differential is None:
        return []
    if calibration.least_margin <= abs(margin):
        return []
    error = calibration.differential
    return [
        f"the judge's differential error, {error.estimate:+.3f} [{error.low:+.3f}, "
        f"{error.high:+.3f}], is not proven to be within half the {gate.kind} of "
        f"{abs(margin):.3g}"
    ]


def _have(pairs: Pairs) -> str:
    """Return why the labels on this run are not enough; "" without labels."""
    n = n_labelled(pairs.labels)
    if not n:
        return ""
    if pairs.clusters is not None:
        return (
            "; labels correct cases that come in clusters only if all pairs have them: "
            f"{n} of {pairs.n}"
        )
    return f"; labels on {n} pairs of the run are not enough: it takes {LEAST_PAIRS}"
