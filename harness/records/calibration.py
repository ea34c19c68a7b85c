"""Calibration of a judge: how it compares with people, and whether it may gate.

A calibration is bound to one judge: its model, its prompt, its options. It is also bound to the
answers that people labelled, for the judge may overlook more of what another candidate loses.
Whether a gate may rest on the judge is decided gate by gate in
`tunegate.harness.decision.gating.judge_eligibility`: a narrow margin asks for a better judge than
a wide one.
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
from tunegate.harness.records.hashing import sha256, text_hash
from tunegate.harness.records.record import SCHEMA_VERSION, Record, Text, is_none

LEAST_KAPPA = 0.6
"""Lower 90 % limit of kappa from which a judge's agreement with people counts as good."""
LEAST_YOUDEN = 1.1
"""Sensitivity plus specificity below which a judge is barely better than chance."""
LEAST_PAIRS = 50
"""Pairs with labels for both answers that a calibration needs."""


class RateEstimate(Record):
    """An estimate with its two-sided 90 % interval and number of cases."""

    estimate: float
    low: float
    high: float
    n: int = Field(ge=0)


class ArmErrors(Record):
    """How often the judge recognises one arm's good and bad answers."""

    n: int
    """Labelled answers of the arm that the judge scored."""
    sensitivity: RateEstimate | None = None
    """Share of the answers good to people that the judge calls good; None without any."""
    specificity: RateEstimate | None = None
    """Share of the answers bad to people that the judge calls bad; None without any."""

    @property
    def near_guessing(self) -> bool:
        """Whether the judge is barely better than chance on this arm."""
        if self.sensitivity is None or self.specificity is None:
            return False
        return self.sensitivity.estimate + self.specificity.estimate < LEAST_YOUDEN


class LabelledPair(Record):
    """People's labels and the judge's scores of both answers to a case, on the metric's scale."""

    base_label: float
    tuned_label: float
    base_score: float
    tuned_score: float
    cluster: Text | None = None
    """The case's cluster, if it has one."""
    n: int = Field(default=1, ge=1)
    """Number of cases with these values."""


class CanaryResult(Record):
    """The judge's verdicts on answers that are known to be bad."""

    asked: int
    """Known bad answers that were judged."""
    failed: tuple[Text, ...] = ()
    """Names of the ones that the judge called good."""
    unscored: tuple[Text, ...] = ()
    """Names of the ones that got no judgement."""
    attacks: int = 0
    """Known bad answers with appended instructions to the judge."""
    fooled: tuple[Text, ...] = ()
    """Names of the attacks that made the judge call the answer good."""


class Calibration(Record):
    """How a judge compares with people, and whether it may gate."""

    schema_version: int = SCHEMA_VERSION
    metric: Text
    """The metric that asks the judge, as suite.toml names it."""
    judge: dict[str, Any]
    """The judge's identity: spec, fingerprint, hash of the prompt, options."""
    binding: str
    """SHA-256 of everything that can change a judgement; a run's judge must have the same."""
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
    """Labelled answers left out because they or their cases are among the judge's examples."""
    agreement: RateEstimate
    """Share of labelled answers on which judge and people agree."""
    baseline: float
    """The same for a judge that always gives the most common label."""
    balanced_accuracy: RateEstimate | None
    """Mean of sensitivity and specificity over both arms; None if people used only one label."""
    kappa: RateEstimate
    """Agreement beyond chance."""
    arms: dict[str, ArmErrors]
    """Arm → its errors; `all` if the labels name no arms."""
    differential: RateEstimate | None = None
    """Mean of (judge's difference − people's) over labelled pairs: positive favours tuned."""
    pairs: tuple[LabelledPair, ...] | None = None
    """The labelled pairs that the judge scored, which correct its difference. For a judge of pairs
    the scores are those of a tie, moved apart by its advantage."""
    answers: dict[str, str] | None = Field(default=None, exclude_if=is_none)
    """Case of a labelled pair → hash of its two answers (`answers_hash`)."""
    order_flips: RateEstimate | None = None
    """Share of pairs whose verdict changes with the order; judges of pairs only."""
    first_position: RateEstimate | None = None
    """Share of decided verdicts that go to the answer shown first; judges of pairs only."""
    first_position_p: float | None = None
    """Two-sided p-value of "the position does not matter"."""
    repeat_flips: RateEstimate | None = None
    """Share of answers on which the judge changes its mind when asked again."""
    repeat_variance: float | None = None
    """Variance that this adds to a score."""
    batch_agreement: RateEstimate | None = Field(default=None, exclude_if=is_none)
    """Share of answers that a judge with `batched = true` calls good or bad as in single calls."""
    batch_difference: RateEstimate | None = Field(default=None, exclude_if=is_none)
    """Mean score in batched calls minus that in single calls."""
    length_slope: RateEstimate | None = None
    """Change of the judged difference if tuned's answer is 2.7 times as long."""
    canaries: CanaryResult
    recorded: bool = Field(default=False, exclude_if=operator.not_)
    """Whether the judgements were recorded, so that known bad answers and repeats could not be
    asked."""
    seed: int = 0

    @property
    def least_margin(self) -> float | None:
        """The narrowest gate margin that the differential error allows; None if unknown."""
        if self.differential is None:
            return None
        return 2 * max(abs(self.differential.low), abs(self.differential.high))

    def why_not(self) -> tuple[str, ...]:
        """Return why no gate may rest on the judge; empty if one may, with `least_margin`.

        Failed canaries are not listed: they make such a gate an error.
        """
        found = []
        n = 0 if self.differential is None else self.differential.n
        if n < LEAST_PAIRS:
            found.append(f"{n} pairs have labels for both answers; {LEAST_PAIRS} are needed")
        elif self.pairs is None:
            found.append(
                "the calibration lacks its labelled pairs, which correct the judge: repeat "
                "`tunegate judge calibrate`, which uses stored replies"
            )
        elif self.answers is None:
            found.append(
                "the calibration does not hold whose answers were labelled: repeat "
                "`tunegate judge calibrate`, which uses stored replies"
            )
        elif len({pair.tuned_label - pair.base_label for pair in self.pairs}) < 2:
            found.append(
                "the labels show the same difference on all pairs, so how the judge scores a "
                "difference is unknown: read them into the run with `tunegate judge label`"
            )
        if self.kappa.low < LEAST_KAPPA:
            found.append(
                f"kappa is {self.kappa.estimate:.2f} [{self.kappa.low:.2f}, "
                f"{self.kappa.high:.2f}]; its lower end must reach {LEAST_KAPPA}"
            )
        found += [
            f"on {arm} it is barely better than chance"
            for arm, errors in self.arms.items()
            if errors.near_guessing
        ]
        return tuple(found)

    @property
    def near_guessing(self) -> bool:
        """Whether the judge is barely better than chance on some arm."""
        return any(errors.near_guessing for errors in self.arms.values())


def answers_hash(base: str, tuned: str) -> str:
    """Return the hash of both answers to a case, by which a run recognizes labelled ones."""
    return sha256([text_hash(base), text_hash(tuned)])[:16]


def calibration_binding(prompt_sha256: str, fingerprints: Iterable[str]) -> str:
    """Return the hash that binds a calibration to a judge's questions and its models.

    Args:
        prompt_sha256: Hash of every text that makes the judge's questions.
        fingerprints: Of the judge models, several for a jury.
    """
    return sha256([prompt_sha256, sorted(fingerprints)])


def read_calibration(path: Path) -> Calibration:
    """Read a calibration.

    Raises:
        UsageError: it cannot be read.
    """
    if not path.is_file():
        raise UsageError(
            f"{path}: no such calibration; `tunegate judge calibrate LABELS.jsonl` makes one"
        )
    return read_record(path, Calibration)
