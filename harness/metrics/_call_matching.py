"""Which of the expected tool calls an answer makes, and what is wrong with the others.

The rules are those of the AST check of the Berkeley Function Calling Leaderboard (`bfcl_eval`,
`eval_checker/ast_eval/ast_checker.py`); docs/guides/tool-calls.md lists the differences.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tunegate.harness.metrics._argument_types import type_mismatch
from tunegate.harness.metrics._expected_calls import ExpectedCall
from tunegate.harness.metrics._tool_call import ToolCall, format_value

_STANDARD = str.maketrans({**dict.fromkeys(" ,./-_*^"), "'": '"'})


@dataclass(frozen=True, slots=True)
class CallMismatch:
    """One thing wrong with a call."""

    part: str
    """The sub-score that it fails."""
    text: str


@dataclass(frozen=True, slots=True)
class MatchedCall:
    """An expected call and what is wrong with the call that answers it."""

    expected: ExpectedCall
    mismatches: tuple[CallMismatch, ...]

    def lacks(self, part: str) -> bool:
        """Whether a sub-score fails."""
        return any(one.part == part for one in self.mismatches)


def match_calls(
    wanted: Sequence[ExpectedCall], calls: Sequence[ToolCall], *, ordered: bool, exact: bool
) -> list[MatchedCall]:
    """Pair each expected call with a call of the answer.

    `ordered` pairs by position; otherwise the pairing has the most right calls, then the most right
    names. `exact` compares strings character by character.
    """
    chosen = dict(enumerate(range(min(len(wanted), len(calls)))))
    if not ordered and max(len(wanted), len(calls)) > 1:
        chosen = _best_pairing(wanted, calls, exact)
    return [
        MatchedCall(
            expected,
            tuple(
                _mismatches(expected, calls[chosen[i]], exact)
                if i in chosen
                else _no_call(expected)
            ),
        )
        for i, expected in enumerate(wanted)
    ]


def _best_pairing(
    wanted: Sequence[ExpectedCall], calls: Sequence[ToolCall], exact: bool
) -> dict[int, int]:
    """Return expected → given; right calls outweigh right names, names outweigh closeness."""
    import numpy as np
    from scipy import optimize  # type: ignore[import-untyped]  # ships no types

    n = len(wanted)
    gains = np.zeros((n, len(calls)))
    for i, expected in enumerate(wanted):
        for j, call in enumerate(calls):
            if _same_name(expected, call):
                faults = sum(1 for _ in _mismatches(expected, call, exact))
                gains[i, j] = 2 * n + 1 / (1 + faults) if faults else 4 * n * n
    rows, columns = optimize.linear_sum_assignment(gains, maximize=True)
    return dict(zip(rows.tolist(), columns.tolist(), strict=True))


def _same_name(expected: ExpectedCall, call: ToolCall) -> bool:
    """Compare names; APIs without dots write `a.b` as `a_b`."""
    return call.name in (expected.name, expected.name.replace(".", "_"))


def _no_call(expected: ExpectedCall) -> Iterator[CallMismatch]:
    yield CallMismatch("names", f"no call of {expected.name}")


def _mismatches(expected: ExpectedCall, call: ToolCall, exact: bool) -> Iterator[CallMismatch]:
    if not _same_name(expected, call):
        yield CallMismatch(
            "names", f"no call of {expected.name}, but one of {format_value(call.name, 110)}"
        )
        return
    missing = [name for name in expected.required if name not in call.arguments]
    for name in missing:
        yield CallMismatch(
            "required", f"{expected.name}: the required argument {name!r} is missing"
        )
    for name, values in expected.allowed.items():
        if name not in call.arguments and name not in missing and "" not in values:
            yield CallMismatch("optional", f"{expected.name}: the argument {name!r} is missing")
    for name, value in call.arguments.items():
        if name not in expected.allowed:
            exists = expected.tool is None or name in expected.tool.arguments
            why = "is not expected" if exists else "does not exist"
            text = f"{expected.name}: the argument {format_value(name, 110)} {why}"
            yield CallMismatch("not_hallucinated", text)
        elif mismatch := _value_mismatch(expected, name, value, exact):
            yield mismatch


def _value_mismatch(
    expected: ExpectedCall, name: str, value: Any, exact: bool
) -> CallMismatch | None:
    allowed = expected.allowed[name]
    if value is None and None in allowed:
        return None
    wrong_type = type_mismatch(value, expected.schema(name), name)
    if wrong_type:
        return CallMismatch("types", f"{expected.name}: {wrong_type}")
    if any(_equal(value, choice, exact) for choice in allowed):
        return None
    listed = format_value([choice for choice in allowed if choice != ""])[1:-1]
    return CallMismatch(
        "values", f"{expected.name}: {name}={format_value(value)} is not one of {listed}"
    )


def _equal(value: Any, allowed: Any, exact: bool) -> bool:
    """Compare with one allowed value, whose objects hold lists of allowed values."""
    if isinstance(allowed, dict):
        return isinstance(value, dict) and _equal_objects(value, allowed, exact)
    if isinstance(allowed, list):
        return (
            isinstance(value, list)
            and len(value) == len(allowed)
            and all(_equal(item, other, exact) for item, other in zip(value, allowed, strict=True))
        )
    if isinstance(allowed, str):
        return isinstance(value, str) and _same_text(value, allowed, exact)
    if allowed is None or isinstance(allowed, bool):
        return value is allowed
    return isinstance(value, int | float) and not isinstance(value, bool) and value == allowed


def _equal_objects(given: dict[str, Any], allowed: dict[str, Any], exact: bool) -> bool:
    return given.keys() <= allowed.keys() and all(
        any(_equal(given[key], one, exact) for one in values) if key in given else "" in values
        for key, values in allowed.items()
    )


def _same_text(given: str, allowed: str, exact: bool) -> bool:
    if exact or given == allowed:
        return given == allowed
    return given.translate(_STANDARD).lower() == allowed.translate(_STANDARD).lower()
