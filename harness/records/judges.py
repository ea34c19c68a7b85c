r"""Records of judges: calibration.json, and labels.jsonl with people's labels of answers.

The record is bound to one judge: its model, its prompt, its options. Another model, another word
of the prompt, and it is no longer about this judge. Whether a gate may rest on the judge
is decided from it by `tunegate.harness.decision.gating.judge_eligibility`, gate by gate: a narrow
margin asks for a better judge than a wide one.

People's labels: labels.jsonl, one line for each answer. A line of labels names the case and
the answer, and has a person's label of it:

    {"id": "t1", "arm": "tuned", "completion": "…", "label": 1}
    {"id": "t2", "prompt": "…", "completion": "…", "label": "no", "by": "anna"}

`id` is a case of the suite; a line with a `prompt` or `messages` of its own (and `context`,
`expected` …) brings its case along. `label` is a number in the metric's range, or yes or no. `arm`
names the arm that gave the answer; without it only what concerns both arms together can be learned.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from tunegate.harness.records.cases import (
    SCHEMA_VERSION,
    Case,
    Record,
    Text,
    canonical_json,
    sha256,
)
from tunegate.harness.records.defaults import CONFIDENCE
from tunegate.harness.records.errors import SuiteError, UsageError
from tunegate.harness.records.files import read_file, read_record
from tunegate.harness.records.problems import validation_problem

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
    n_examples: int = Field(default=0, exclude_if=lambda count: not count)
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
    batch_agreement: RateEstimate | None = Field(default=None, exclude_if=lambda rate: rate is None)
    """Share of answers that a judge with `batched = true` calls good or bad as it does in single
    calls; absent of others."""
    batch_difference: RateEstimate | None = Field(
        default=None, exclude_if=lambda rate: rate is None
    )
    """Mean score in one call minus that in single calls, likewise."""
    length_slope: RateEstimate | None = None
    """Change of the judged difference for tuned's answer being 2.7 times as long."""
    canaries: CanaryResult
    recorded: bool = Field(default=False, exclude_if=lambda recorded: not recorded)
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


WORDS = {"yes": 1.0, "no": 0.0, True: 1.0, False: 0.0}
"""Labels that are no numbers."""
OF_CASE = frozenset(
    {"prompt", "messages", "context", "expected", "tools", "expected_calls", "tags"}
)
"""Fields of a line that make a case of its own."""
ARMS = ("base", "tuned")
FILE_NAME = "labels.jsonl"
"""Name of the file in a run folder."""


class Label(Record):
    """A person's label of one answer; one line of a run's `labels.jsonl`."""

    suite: Text | None = None
    metric: Text | None = None
    id: Text = Field(min_length=1)
    """The case."""
    arm: Text | None = None
    """`base` or `tuned`; None if unknown."""
    completion: Text
    """The answer."""
    label: float
    """Its value on the metric's scale."""
    by: Text | None = None
    """The person's name."""
    case: Case | None = None
    """The case itself, where the line brings it along."""


def read_labels(
    path: Path, *, range: tuple[float, float] = (0.0, 1.0), unfinished: bool = False
) -> tuple[Label, ...]:
    """Read a file of labels.

    Args:
        path: JSON lines.
        range: Smallest and largest label.
        unfinished: Whether lines without a label are left out instead of refused.

    Raises:
        SuiteError: every problem, as `file:line: what; remedy`.
        UsageError: the file cannot be read, or holds no label.
    """
    try:
        lines = read_file(path).decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"{path}: cannot be read ({reason}); give a file of labels") from error
    found: list[Label] = []
    problems: list[str] = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                given = _object(line)
                if not (unfinished and given.get("label") is None):
                    found.append(_label(given, range))
            except ValueError as error:
                problems.append(f"{path}:{number}: {error}")
    problems = problems or [f"{path}: {problem}" for problem in _contradictions(found)]
    if problems:
        raise SuiteError(problems)
    if not found:
        raise UsageError(f"{path}: no label; write one line of JSON an answer")
    return tuple(found)


def refuse_one_arm(path: Path, labels: Iterable[Label]) -> None:
    """Refuse labels that name one arm only: they are no evidence of a difference.

    Raises:
        UsageError: all labels that name an arm name the same one.
    """
    counts = Counter(label.arm for label in labels if label.arm)
    if len(counts) == 1:
        ((arm, n),) = counts.items()
        other = ARMS[1 - ARMS.index(arm)]
        raise UsageError(
            f"{path}: all {n} labels that name an arm are of {arm}, and a gate compares both; "
            f"label {other}'s answers to the same cases too"
        )


def refuse_judges_labels(path: Path | str, labels: Iterable[Label], specs: Iterable[str]) -> None:
    """Refuse labels by the judge itself: it agrees with its own words whatever they are worth.

    Args:
        path: What messages call the labels.
        labels: The labels.
        specs: The judges' model specs.

    Raises:
        UsageError: a label's `by` names a judge.
    """
    names = {"judge"}
    for spec in (spec.lower() for spec in specs if spec):
        names |= {spec, spec.partition(":")[2] or spec, re.split(r"[/#:]", spec)[-1]}
    for label in labels:
        if label.by is not None and label.by.strip().lower() in names:
            raise UsageError(
                f"{path}: the label of {label.id!r} is by {label.by!r}, the judge itself: a judge "
                "is measured by what people say; have them label the answers"
            )


LEAST_COPIES = 20
"""So many labels cannot equal the judge's by accident …"""
LEAST_BETWEEN = 5
"""… if so many of them are neither the best nor the worst, where people and judges differ."""


def are_copies(both: Iterable[tuple[float, float]], ends: tuple[float, float]) -> bool:
    """Return whether labels are a judge's own scores.

    Args:
        both: Label and score of each answer.
        ends: Smallest and largest label.
    """
    pairs = list(both)
    between = sum(label not in ends for label, _ in pairs)
    same = all(label == score for label, score in pairs)
    return same and len(pairs) >= LEAST_COPIES and between >= LEAST_BETWEEN


def copied_labels(metric: str, n: int) -> str:
    """Return what is wrong with labels that are a judge's own scores."""
    return (
        f"{metric}: all {n} labels are the judge's own scores, to the digit, also between good and "
        "bad: a judge is measured by what people say; have them label the answers"
    )


def labels_hash(labels: Sequence[Label]) -> str:
    """Return the SHA-256 of labels, whatever their order."""
    return sha256(sorted(canonical_json(label.model_dump(mode="json")) for label in labels))


def _object(line: str) -> dict[str, Any]:
    try:
        given = json.loads(line)
    except ValueError as error:
        raise ValueError(f"not JSON: {error}; write one object a line") from error
    if not isinstance(given, dict):
        raise ValueError("not a JSON object; write one object a line")
    return given


def _label(given: Mapping[str, Any], range_: tuple[float, float]) -> Label:
    """Read one line; raises ValueError with the problem in words."""
    value = _value(given.get("label"), range_)
    arm = given.get("arm")
    if arm not in (None, *ARMS):
        raise ValueError(f"arm={arm!r} must be base or tuned; leave it out if it is unknown")
    own = {key: given[key] for key in given if key in OF_CASE}
    rest = {key: item for key, item in given.items() if key not in own and key != "label"}
    if "case" in rest:
        raise ValueError("case: write its fields into the line itself: prompt, context, expected")
    try:
        case = Case.model_validate({"id": given.get("id"), **own}) if _brings_case(own) else None
        return Label.model_validate({**rest, "label": value, "case": case})
    except ValidationError as error:
        raise ValueError(validation_problem(Label, error)) from error


def _brings_case(own: Mapping[str, Any]) -> bool:
    return "prompt" in own or "messages" in own


def _value(given: Any, range_: tuple[float, float]) -> float:
    low, high = range_
    allowed = f"a number from {low:g} to {high:g}, yes or no"
    if given is None or given == "":
        raise ValueError(f"no label; write {allowed}, or take the line out")
    if isinstance(given, str | bool):
        word = given.strip().lower() if isinstance(given, str) else given
        if word not in WORDS:
            raise ValueError(f"label={given!r} must be {allowed}")
        return high if WORDS[word] else low
    if not isinstance(given, int | float) or not low <= given <= high:
        raise ValueError(f"label={given!r} must be {allowed}")
    return float(given)


def _contradictions(labels: Sequence[Label]) -> Iterator[str]:
    """Yield answers that the same file calls two things: one person can't mean both."""
    seen: dict[tuple[Any, ...], float] = {}
    for label in labels:
        key = (label.suite, label.metric, label.id, label.arm, label.completion)
        before = seen.setdefault(key, label.label)
        if before != label.label:
            whose = f" of {label.arm}" if label.arm else ""
            yield (
                f"the answer{whose} to {label.id!r} has two labels, {before:g} and "
                f"{label.label:g}; keep one, or their mean"
            )
