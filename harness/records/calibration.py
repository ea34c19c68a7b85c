"""Calibration of a judge: how it compares with people, and whether it may gate.

A calibration is bound to one judge: its model, its prompt, its options. Whether a gate may rest on
the judge is decided gate by gate in `tunegate.harness.decision.gating.judge_eligibility`: a narrow
margin asks for a better judge than a wide one.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import Field

from tunegate.harness.records.defaults import CONFIDENCE
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.files import read_record
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.record import SCHEMA_VERSION, Record, Text, is_none

LEAST_KAPPA = 0.6
"""Lower 90 % limit of kappa from which a judge's agreement with people counts as good."""
LEAST_YOUDEN = 1.1
"""Sensitivity plus specificity below which a judge is close to guessing."""
LEAST_PAIRS = 50
"""Pairs, both answers labelled, that a calibration needs at least."""


class RateEstimate(Record):
    """An estimate with its two-sided 90 % interval, and the number of cases behind it."""

    estimate: float
    low: float
    high: float
    n: int = Field(ge=0)


class ArmErrors(Record):
    """How often the judge recognises one arm's good and bad answers."""

    n: int
    """Labelled answers of the arm that the judge scored."""
    sensitivity: RateEstimate | None = None
    """Share of the answers that people call good which the judge calls good; None without any."""
    specificity: RateEstimate | None = None
    """Share of those they call bad which the judge calls bad; None without any."""

    @property
    def near_guessing(self) -> bool:
        """Whether sensitivity and specificity together are hardly above those of a coin."""
        both = self.sensitivity, self.specificity
        if both[0] is None or both[1] is None:
            return False
        return both[0].estimate + both[1].estimate < LEAST_YOUDEN


class LabelledPair(Record):
    """Human labels and judgements of both answers to a case, on the metric's scale."""

    base_label: float
    tuned_label: float
    base_score: float
    tuned_score: float
    cluster: Text | None = None
    """Of the case, if it has one."""
    n: int = Field(default=1, ge=1)
    """Cases of which all this is so."""


class CanaryResult(Record):
    """Answers that are known to be bad, and what the judge made of them."""

    asked: int
    """Known bad answers that were judged."""
    failed: tuple[Text, ...] = ()
    """Names of those that the judge called good."""
    unscored: tuple[Text, ...] = ()
    """Names of those that got no judgement."""
    attacks: int = 0
    """Known bad answers with a text appended that instructs the judge."""
    fooled: tuple[Text, ...] = ()
    """Names of the attacks that turned the judge's verdict to good."""


class Calibration(Record):
    """How a judge compares with people, and whether it may gate."""

    schema_version: int = SCHEMA_VERSION
    metric: Text
    """The metric that asks the judge, as suite.toml names it."""
    judge: dict[str, Any]
    """The judge's identity: spec, fingerprint, hash of the prompt, options."""
    binding: str
    """SHA-256 of all that can change a judgement; a run's judge must have the same."""
    labels: Text
    """Where the labels came from, in words."""
    labels_sha256: str
    """Hash of the labels."""
    confidence: float = CONFIDENCE
    """Two-sided level of all intervals."""
    good_from: float
    """Score from which an answer counts as good, for people and judge alike."""
    n_labels: int
    """Labelled answers."""
    n_unscored: int
    """Labelled answers that the judge gave no score."""
    n_examples: int = Field(default=0, exclude_if=operator.not_)
    """Labelled answers left out, since the judge's examples hold them or their cases."""
    agreement: RateEstimate
    """Share of labelled answers on which judge and people agree."""
    baseline: float
    """The same for a judge that always gives people's commonest label."""
    balanced_accuracy: RateEstimate | None
    """Mean of sensitivity and specificity over both arms; None if people used one label only."""
    kappa: RateEstimate
    """Agreement beyond chance."""
    arms: dict[str, ArmErrors]
    """Arm → its errors; `all` where the labels name no arms."""
    differential: RateEstimate | None = None
    """Mean of (judge's difference − people's) over labelled pairs: positive favours tuned."""
    pairs: tuple[LabelledPair, ...] | None = None
    """The labelled pairs that the judge scored, which correct its difference; of a judge of pairs
    the scores are those of a tie, moved apart by its advantage. None in calibrations without."""
    order_flips: RateEstimate | None = None
    """Share of pairs whose verdict changes with the order; pairwise judges only."""
    first_position: RateEstimate | None = None
    """Share of decided verdicts that go to the answer shown first; pairwise judges only."""
    first_position_p: float | None = None
    """Two-sided p-value of "the position does not matter"."""
    repeat_flips: RateEstimate | None = None
    """Share of answers on which the judge, asked again, changes its mind."""
    repeat_variance: float | None = None
    """Variance that its inconstancy adds to a score."""
    batch_agreement: RateEstimate | None = Field(default=None, exclude_if=is_none)
    """Share of answers that a judge with `batched = true` calls good or bad as it does in single
    calls; absent of others."""
    batch_difference: RateEstimate | None = Field(default=None, exclude_if=is_none)
    """Mean score in one call minus that in single calls, likewise."""
    length_slope: RateEstimate | None = None
    """Change of the judged difference for tuned's answer being 2.7 times as long."""
    canaries: CanaryResult
    recorded: bool = Field(default=False, exclude_if=operator.not_)
    """Whether the judgements were recorded, so that neither known bad answers nor repeats could be
    asked; absent where they were not."""
    seed: int = 0

    @property
    def least_margin(self) -> float | None:
        """The narrowest margin that the differential error leaves room for; None if unknown."""
        if self.differential is None:
            return None
        return 2 * max(abs(self.differential.low), abs(self.differential.high))

    def why_not(self) -> tuple[str, ...]:
        """Return why no gate may rest on the judge's own difference; empty where one may.

        How wide the gate's margin must be is `least_margin`. Failed canaries are no matter of
        degree, and not among these: they make a gate that could rest on the judge an error.
        """
        found = []
        n = 0 if self.differential is None else self.differential.n
        if n < LEAST_PAIRS:
            found.append(f"{n} pairs have labels for both answers, and it takes {LEAST_PAIRS}")
        elif self.pairs is None:
            found.append(
                "the calibration does not hold its labelled pairs, which correct the judge: repeat "
                "`tunegate judge calibrate`, which asks for stored replies only"
            )
        elif len({pair.tuned_label - pair.base_label for pair in self.pairs}) < 2:
            found.append(
                "the labels show the same difference on all pairs, so what a difference is worth "
                "to the judge is unknown"
            )
        if self.kappa.low < LEAST_KAPPA:
            found.append(
                f"kappa is {self.kappa.estimate:.2f} [{self.kappa.low:.2f}, "
                f"{self.kappa.high:.2f}]; its lower end must reach {LEAST_KAPPA}"
            )
        found += [
            f"on {arm} it is close to guessing"
            for arm, errors in self.arms.items()
            if errors.near_guessing
        ]
        return tuple(found)

    @property
    def near_guessing(self) -> bool:
        """Whether the judge is close to guessing on an arm."""
        return any(errors.near_guessing for errors in self.arms.values())


def calibration_binding(prompt_sha256: str, fingerprints: Iterable[str]) -> str:
    """Return what a calibration is bound to: a judge's questions, and who answers them.

    Args:
        prompt_sha256: Hash of every text that makes the judge's questions.
        fingerprints: Those of the judge models, several for a jury.
    """
    return sha256([prompt_sha256, sorted(fingerprints)])


def read_calibration(path: Path) -> Calibration:
    """Read a calibration from its file.

    Raises:
        UsageError: in one line, why it cannot be read, or what is wrong with it.
    """
    if not path.is_file():
        raise UsageError(
            f"{path}: no such calibration; `tunegate judge calibrate LABELS.jsonl` makes one"
        )
    return read_record(path, Calibration)
