r"""labels.jsonl: people's labels of answers, one line each.

    {"id": "t1", "arm": "tuned", "completion": "…", "label": 1}
    {"id": "t2", "prompt": "…", "completion": "…", "label": "no", "by": "anna"}

`id` is a case of the suite; a line with its own `prompt` or `messages` (and `context`, …) brings
its case along. `label` is a number in the metric's range, or yes or no. `arm` names the arm
that gave the answer; without it, only both arms together can be assessed.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import SuiteError, UsageError, refuse_unreadable
from tunegate.harness.records.files import numbered_lines
from tunegate.harness.records.hashing import canonical_json, sha256
from tunegate.harness.records.problems import validation_problem
from tunegate.harness.records.record import Record, Text

WORDS = {"yes": 1.0, "no": 0.0, True: 1.0, False: 0.0}
"""Labels that are words."""
_CASE_FIELDS = frozenset(
    {"prompt", "messages", "context", "expected", "tools", "expected_calls", "tags"}
)
"""Fields of a line that belong to its own case."""
ARMS = ("base", "tuned")
LABELS_FILE = "labels.jsonl"
"""Name of the file in a run folder."""


class Label(Record):
    """A person's label of one answer."""

    suite: Text | None = None
    metric: Text | None = None
    id: Text = Field(min_length=1)
    """Id of the case."""
    arm: Text | None = None
    """`base` or `tuned`; None if unknown."""
    completion: Text
    """The answer."""
    label: float
    """Its value on the metric's scale."""
    by: Text | None = None
    """The person's name."""
    case: Case | None = None
    """The case itself, if the line brings it along."""


def read_labels(
    path: Path, *, range: tuple[float, float] = (0.0, 1.0), unfinished: bool = False
) -> tuple[Label, ...]:
    """Read a file of labels.

    Args:
        path: JSON lines.
        range: Smallest and largest label.
        unfinished: Whether lines without a label are skipped instead of refused.

    Raises:
        SuiteError: every problem, as `file:line: what; remedy`.
        UsageError: the file cannot be read, or has no label.
    """
    with refuse_unreadable(path, "give a file of labels"):
        lines = [(number, line.decode("utf-8")) for number, line in numbered_lines(path)]
    found: list[Label] = []
    problems: list[str] = []
    for number, line in lines:
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
        raise UsageError(f"{path}: no label; write one line of JSON for each answer")
    return tuple(found)


def refuse_one_arm(path: Path, labels: Iterable[Label]) -> None:
    """Raise UsageError if the labels name only one arm: they say nothing about a difference."""
    counts = Counter(label.arm for label in labels if label.arm)
    if len(counts) == 1:
        ((arm, n),) = counts.items()
        other = ARMS[1 - ARMS.index(arm)]
        raise UsageError(
            f"{path}: all {n} labels that name an arm are for {arm}, and a gate compares both; "
            f"label {other}'s answers to the same cases too"
        )


def refuse_judges_labels(path: Path | str, labels: Iterable[Label], specs: Iterable[str]) -> None:
    """Raise UsageError if a label's `by` names a judge, by its model spec or name."""
    names = {"judge"}
    for spec in (spec.lower() for spec in specs if spec):
        names |= {spec, spec.partition(":")[2] or spec, re.split(r"[/#:]", spec)[-1]}
    for label in labels:
        if label.by is not None and label.by.strip().lower() in names:
            raise UsageError(
                f"{path}: the label of {label.id!r} is by {label.by!r}, the judge itself; "
                "have people label the answers"
            )


# People and judges differ most between the ends of a scale: 20 labels, 5 of them between, cannot
# equal the judge's scores by accident.
_LEAST_COPIES, _LEAST_BETWEEN = 20, 5


def are_copies(both: Iterable[tuple[float, float]], ends: tuple[float, float]) -> bool:
    """Return whether labels are a judge's own scores.

    Args:
        both: Label and score of each answer.
        ends: Smallest and largest label.
    """
    pairs = list(both)
    between = sum(label not in ends for label, _ in pairs)
    same = all(label == score for label, score in pairs)
    return same and len(pairs) >= _LEAST_COPIES and between >= _LEAST_BETWEEN


def copied_labels(metric: str, n: int) -> str:
    """Return the message for labels that are a judge's own scores."""
    return (
        f"{metric}: all {n} labels are the judge's own scores, to the digit; have people label the "
        "answers"
    )


def labels_hash(labels: Sequence[Label]) -> str:
    """Return the SHA-256 of labels in any order."""
    return sha256(sorted(canonical_json(label.model_dump(mode="json")) for label in labels))


def _object(line: str) -> dict[str, Any]:
    try:
        given = json.loads(line)
    except ValueError as error:
        raise ValueError(f"not JSON: {error}; write one object per line") from error
    if not isinstance(given, dict):
        raise ValueError("not a JSON object; write one object per line")
    return given


def _label(given: Mapping[str, Any], range_: tuple[float, float]) -> Label:
    """Return the label of a line; raises ValueError with the problem in words."""
    value = _value(given.get("label"), range_)
    arm = given.get("arm")
    if arm not in (None, *ARMS):
        raise ValueError(f"arm={arm!r} must be base or tuned; leave it out if it is unknown")
    own = {key: given[key] for key in given if key in _CASE_FIELDS}
    rest = {key: item for key, item in given.items() if key not in own and key != "label"}
    if "case" in rest:
        raise ValueError("case: write its fields into the line itself: prompt, context, expected")
    try:
        has_case = "prompt" in own or "messages" in own
        case = Case.model_validate({"id": given.get("id"), **own}) if has_case else None
        return Label.model_validate({**rest, "label": value, "case": case})
    except ValidationError as error:
        raise ValueError(validation_problem(Label, error)) from error


def _value(given: Any, range_: tuple[float, float]) -> float:
    low, high = range_
    allowed = f"a number from {low:g} to {high:g}, yes or no"
    if given is None or given == "":
        raise ValueError(f"no label; write {allowed}, or remove the line")
    if isinstance(given, str | bool):
        word = given.strip().lower() if isinstance(given, str) else given
        if word not in WORDS:
            raise ValueError(f"label={given!r} must be {allowed}")
        return high if WORDS[word] else low
    if not isinstance(given, int | float) or not low <= given <= high:
        raise ValueError(f"label={given!r} must be {allowed}")
    return float(given)


def _contradictions(labels: Sequence[Label]) -> Iterator[str]:
    """Yield the answers that have two different labels."""
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
