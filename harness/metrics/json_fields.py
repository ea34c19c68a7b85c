"""How many fields of a JSON answer are right: F1 over the leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from tunegate.harness.contracts.metric import metric
from tunegate.harness.metrics import _json_parsing
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

Lists = Literal["sequence", "set"]


@dataclass(frozen=True, slots=True)
class _LeafCounts:
    """Leaves of the answer, of the expected value, and those that agree in place and value."""

    given: int
    wanted: int
    right: int
    wrong: str | None
    """Path of the first expected leaf that the answer misses."""

    @property
    def f1(self) -> float:
        return 2 * self.right / (self.given + self.wanted)

    @property
    def parts(self) -> dict[str, float]:
        return {
            "precision": self.right / self.given,
            "recall": self.right / self.wanted,
            "f1": self.f1,
        }


def _check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    tolerance = _tolerance_problem(options.get("numeric_tolerance", 0.0))
    problems = [] if tolerance is None else [tolerance]
    for case in cases:
        for text in case.expected_texts():
            try:
                _json_parsing.parse_json(text)
            except _json_parsing.UnreadableJson as error:
                shown = _json_parsing.shorten_text(repr(text), 120)
                problems.append(
                    f"case {case.id!r}: expected={shown} is not JSON: "
                    f"{error}; metric 'json_fields' compares JSON only"
                )
    return problems


@metric(label="right JSON fields", range=(0.0, 1.0), requires=("expected",), check=_check)
def json_fields(
    case: Case,
    completion: Completion,
    *,
    lists: Lists = "sequence",
    numeric_tolerance: float = 0.0,
    extract: _json_parsing.Extract | None = None,
) -> Score:
    """Score the share of right fields: F1 of the answer's JSON leaves against the expected ones.

    A leaf is right if path and value are equal, types included: `"1"`, `1` and `true` differ, `1`
    and `1.0` do not. The score is 2 · right / (leaves given + leaves expected). Invalid JSON scores
    0. The parts are `precision`, `recall` and `f1`.

    Known problems:
        Every leaf weighs the same, so a long list outweighs the rest. One extra element at the
        front of a `sequence` makes all later ones wrong.

    Example:
        Expected `{"city": "Rome", "days": 3}`, answer `{"city": "Rome", "days": 4, "vip": true}`: 2
        · 1 / 5 = 0.4.

    Options:
        lists: `sequence` compares element by element; `set` ignores the order (repeats count).
        numeric_tolerance: Largest difference between equal numbers.
        extract: `fence` also reads JSON inside a ``` fence, `prose` also JSON inside other
            text.
    """
    if problem := _tolerance_problem(numeric_tolerance):
        raise ValueError(problem)
    if completion.text is None:
        return Score.unscored("the completion has no text")
    if not case.expected_texts():
        return Score.unscored("the case has no expected answer")
    try:
        wanted = [_json_parsing.parse_json(text) for text in case.expected_texts()]
    except _json_parsing.UnreadableJson as error:
        return Score.unscored(f"the case's expected answer is not JSON: {error}")
    try:
        located = _json_parsing.find_json(completion.text, extract)
    except _json_parsing.UnreadableJson as error:
        nothing = {"precision": 0.0, "recall": 0.0, "f1": 0.0}
        return Score.of(0.0, f"not JSON: {error}", parts=nothing)
    compared = (_compare(located.value, value, lists, numeric_tolerance) for value in wanted)
    best = max(compared, key=lambda counts: counts.f1)
    return Score.of(best.f1, _format_counts(best, located.source), parts=best.parts)


def _tolerance_problem(tolerance: float) -> str | None:
    return None if tolerance >= 0 else f"numeric_tolerance={tolerance} must be 0 or more"


def _format_counts(best: _LeafCounts, source: str | None) -> str:
    text = f"{best.right} of {best.wanted} expected fields right, {best.given} given"
    wrong = None if best.wrong is None else _json_parsing.shorten_text(f"first wrong: {best.wrong}")
    return "; ".join(filter(None, (text, source, wrong)))


def _compare(answer: Any, wanted: Any, lists: Lists, tolerance: float) -> _LeafCounts:
    """Walk both values at once; a place holds several values where lists are sets."""
    right, wrong = 0, None
    waiting: list[tuple[list[Any], list[Any], Any]] = [([answer], [wanted], None)]
    while waiting:
        left, expected, path = waiting.pop()
        leaves = [value for value in expected if _is_leaf(value)]
        equal = _count_equal([value for value in left if _is_leaf(value)], leaves, tolerance)
        right += equal
        if equal < len(leaves) and wrong is None:
            wrong = _path(path)
        have = _children(left, lists)
        for step, values in reversed(_children(expected, lists).items()):
            waiting.append((have.get(step, []), values, (path, step)))
    return _LeafCounts(_count(answer), _count(wanted), right, wrong)


def _is_leaf(value: Any) -> bool:
    return not (isinstance(value, dict | list) and value)


def _children(values: Sequence[Any], lists: Lists) -> dict[str | int | None, list[Any]]:
    """Group the children by key, by index, or (lists as sets) all under None."""
    children: dict[str | int | None, list[Any]] = {}
    for value in values:
        if isinstance(value, dict):
            for key, child in value.items():
                children.setdefault(key, []).append(child)
        elif isinstance(value, list):
            for index, child in enumerate(value):
                children.setdefault(index if lists == "sequence" else None, []).append(child)
    return children


def _count(value: Any) -> int:
    leaves, waiting = 0, [value]
    while waiting:
        value = waiting.pop()
        if _is_leaf(value):
            leaves += 1
        else:
            waiting.extend(value.values() if isinstance(value, dict) else value)
    return leaves


def _count_equal(left: Sequence[Any], right: Sequence[Any], tolerance: float) -> int:
    """Return how many pairs of equal leaves can be made, each leaf used once."""
    plain = Counter(map(_comparable, left)) & Counter(map(_comparable, right))
    if tolerance == 0:
        return plain.total()
    texts = sum(count for (kind, _), count in plain.items() if kind != "number")
    return texts + _count_close(_numbers(left), _numbers(right), tolerance)


def _comparable(value: Any) -> tuple[str, Any]:
    """Return a hashable value that is equal for equal JSON leaves only."""
    if isinstance(value, dict | list):
        return (type(value).__name__, None)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return ("number", value)
    return (type(value).__name__, value)


def _numbers(values: Sequence[Any]) -> list[Decimal]:
    numbers = (value for kind, value in map(_comparable, values) if kind == "number")
    return sorted(Decimal(repr(value)) for value in numbers)


def _count_close(left: Sequence[Decimal], right: Sequence[Decimal], tolerance: float) -> int:
    """Pair sorted numbers from the smallest up: the most pairs that the tolerance allows."""
    limit, pairs, i, j = Decimal(repr(tolerance)), 0, 0, 0
    while i < len(left) and j < len(right):
        if abs(left[i] - right[j]) <= limit:
            pairs, i, j = pairs + 1, i + 1, j + 1
        elif left[i] < right[j]:
            i += 1
        else:
            j += 1
    return pairs


def _path(path: Any) -> str:
    steps: list[str] = []
    while path is not None:
        path, step = path
        steps.append(f".{step}" if isinstance(step, str) else f"[{'*' if step is None else step}]")
    return "$" + "".join(reversed(steps))
