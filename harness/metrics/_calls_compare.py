"""Which of the expected calls an answer makes, and what is wrong with the others.

The rules are those of the AST check of the Berkeley Function Calling Leaderboard (`bfcl_eval`,
`eval_checker/ast_eval/ast_checker.py`); `tool_calls` says where they differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.metrics._calls_expected import Expected
from harness.metrics._calls_form import Call, show
from harness.metrics._calls_types import misfit

_STANDARD = str.maketrans({**dict.fromkeys(" ,./-_*^"), "'": '"'})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with a call."""

    part: str
    """The sub-score that it fails."""
    words: str


@dataclass(frozen=True, slots=True)
class Pair:
    """An expected call with what is wrong with the call made for it."""

    expected: Expected
    findings: tuple[Finding, ...]

    def lacks(self, part: str) -> bool:
        """Whether a sub-score fails."""
        return any(finding.part == part for finding in self.findings)


def pairs(
    wanted: Sequence[Expected], given: Sequence[Call], *, ordered: bool, exact: bool
) -> list[Pair]:
    """Return each expected call with the one made for it.

    Without an order the pairing is the one with the most right calls, then the most right names.

    Args:
        wanted: The expected calls.
        given: The calls of the answer.
        ordered: Whether the first belongs to the first, the second to the second …
        exact: Whether strings are compared character by character.
    """
    chosen = dict(enumerate(range(min(len(wanted), len(given)))))
    if not ordered and max(len(wanted), len(given)) > 1:
        chosen = _best(wanted, given, exact)
    return [
        Pair(one, tuple(_findings(one, given[chosen[i]], exact) if i in chosen else _no_call(one)))
        for i, one in enumerate(wanted)
    ]


def _best(wanted: Sequence[Expected], given: Sequence[Call], exact: bool) -> dict[int, int]:
    """Return expected → given; a right call outweighs all names, a name all closeness."""
    import numpy as np
    from scipy import optimize  # type: ignore[import-untyped]  # ships no types

    n = len(wanted)
    gains = np.zeros((n, len(given)))
    for i, one in enumerate(wanted):
        for j, call in enumerate(given):
            if _same_name(one, call):
                faults = sum(1 for _ in _findings(one, call, exact))
                gains[i, j] = 2 * n + 1 / (1 + faults) if faults else 4 * n * n
    rows, columns = optimize.linear_sum_assignment(gains, maximize=True)
    return dict(zip(rows.tolist(), columns.tolist(), strict=True))


def _same_name(expected: Expected, call: Call) -> bool:
    """Compare names; APIs that know no dots write `a.b` as `a_b`."""
    return call.name in (expected.name, expected.name.replace(".", "_"))


def _no_call(expected: Expected) -> Iterator[Finding]:
    yield Finding("names", f"no call of {expected.name}")


def _findings(expected: Expected, call: Call, exact: bool) -> Iterator[Finding]:
    if not _same_name(expected, call):
        yield Finding("names", f"no call of {expected.name}, but one of {show(call.name, 110)}")
        return
    missing = [name for name in expected.required if name not in call.arguments]
    for name in missing:
        yield Finding("required", f"{expected.name}: the required argument {name!r} is missing")
    for name, values in expected.allowed.items():
        if name not in call.arguments and name not in missing and "" not in values:
            yield Finding("optional", f"{expected.name}: the argument {name!r} is missing")
    for name, value in call.arguments.items():
        if name not in expected.allowed:
            known = expected.tool is None or name in expected.tool.arguments
            why = "is not expected" if known else "does not exist"
            words = f"{expected.name}: the argument {show(name, 110)} {why}"
            yield Finding("not_hallucinated", words)
        elif finding := _value_finding(expected, name, value, exact):
            yield finding


def _value_finding(expected: Expected, name: str, value: Any, exact: bool) -> Finding | None:
    allowed = expected.allowed[name]
    if value is None and None in allowed:
        return None
    wrong_type = misfit(value, expected.schema(name), name)
    if wrong_type:
        return Finding("types", f"{expected.name}: {wrong_type}")
    if any(_equal(value, one, exact) for one in allowed):
        return None
    listed = show([one for one in allowed if one != ""])[1:-1]
    return Finding("values", f"{expected.name}: {name}={show(value)} is none of {listed}")


def _equal(given: Any, allowed: Any, exact: bool) -> bool:
    """Compare with one allowed value, whose objects hold lists of allowed values."""
    if isinstance(allowed, dict):
        return isinstance(given, dict) and _equal_objects(given, allowed, exact)
    if isinstance(allowed, list):
        return (
            isinstance(given, list)
            and len(given) == len(allowed)
            and all(_equal(one, other, exact) for one, other in zip(given, allowed, strict=True))
        )
    if isinstance(allowed, str):
        return isinstance(given, str) and _same_text(given, allowed, exact)
    if allowed is None or isinstance(allowed, bool):
        return given is allowed
    return isinstance(given, int | float) and not isinstance(given, bool) and given == allowed


def _equal_objects(given: dict[str, Any], allowed: dict[str, Any], exact: bool) -> bool:
    return given.keys() <= allowed.keys() and all(
        any(_equal(given[key], one, exact) for one in values) if key in given else "" in values
        for key, values in allowed.items()
    )


def _same_text(given: str, allowed: str, exact: bool) -> bool:
    if exact or given == allowed:
        return given == allowed
    return given.translate(_STANDARD).lower() == allowed.translate(_STANDARD).lower()
