"""Whether the answer calls the right tools with the right arguments.

Which of the expected calls an answer makes, and what is wrong with the others.

The rules are those of the AST check of the Berkeley Function Calling Leaderboard (`bfcl_eval`,
`eval_checker/ast_eval/ast_checker.py`); `tool_calls` lists the differences.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tunegate.harness.contracts.metric import metric
from tunegate.harness.metrics._embedded_calls import FORMS, FoundCalls, read_calls
from tunegate.harness.metrics._expected_calls import (
    ExpectedCall,
    expectation_problems,
    expected_calls,
    offered_tools,
    type_mismatch,
)
from tunegate.harness.metrics._json_parsing import shorten_text
from tunegate.harness.metrics._tool_call_parsers import (
    Syntax,
    ToolCall,
    format_value,
)
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

Extract = Literal["strict", "fence", "prose"]
_EXTRACTS: tuple[Extract, ...] = ("strict", "fence", "prose")
"""In the order of `FORMS`: each reads the forms up to its own place."""

_OF_A_CALL = ("required", "optional", "not_hallucinated", "types", "values")
"""Sub-scores that each call of the right name has."""


def _check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    """Return the expectations that no answer can meet."""
    return [
        f"case {case.id!r}: {problem}" for case in cases for problem in expectation_problems(case)
    ]


@metric(label="right tool calls", binary=True, requires=("expected_calls",), check=_check)
def tool_calls(
    case: Case,
    completion: Completion,
    *,
    syntax: Syntax = "auto",
    extract: Extract = "strict",
    ordered: bool = False,
    strings: Literal["standardized", "exact"] = "standardized",
) -> Score:
    """Score 1 if the answer makes exactly the expected tool calls, else 0 with what is wrong.

    Reads the syntaxes of OpenAI, Anthropic, Hermes, Llama 3, Mistral, plain JSON, Python (parsed,
    never run), and the markup of DeepSeek, Qwen-Coder, GLM, Kimi, gpt-oss, Granite, Phi, Nemotron,
    Command, Functionary, ReAct and XML. `expected_calls` lists the allowed values of each argument;
    `""` lets an argument be left out, and an empty list means that no tool may be called. Rules are
    those of the Berkeley Function Calling Leaderboard (Patil et al., ICML 2025): parallel calls
    match in any order, strings match without case, spaces and `,./-_*^`, and 1 counts as 1.0 for a
    number. [Differences](tool-calls.md).

    The parts are `syntax`, `form`, `count`, `names`, `required`, `optional`, `not_hallucinated`,
    `types` and `values`.

    Known problems:
        A quoted example of a call counts as a call. `-5` and `5` are equal unless `strings =
        "exact"`.

    Example:
        ```json
        {"name": "weather", "arguments": {"city": ["Rome", "Roma"], "unit": ["celsius", ""]}}
        ```

        The answer `[weather(city="rome")]` is right; `[weather(city="Rome", days=3)]` is not.

    Options:
        syntax: The one syntax that counts; `auto` takes the first that fits, `markup` means the
            other families'.
        extract: `fence` also reads calls that are a ``` fence as a whole, `prose` also calls
            within other text. With `strict` they are wrong.
        ordered: Whether calls must come in the order of `expected_calls`.
        strings: `exact` compares strings character by character.
    """
    if completion.text is None:
        return Score.unscored("the completion has no text")
    if case.expected_calls is None:
        return Score.unscored("the case has no expected calls")
    if unmet := expectation_problems(case):
        return Score.unscored(f"no answer can meet the expectation: {unmet[0]}")
    wanted = expected_calls(case)
    found = read_calls(completion.text, offered_tools(case), syntax)
    if found.reading.problem is not None:
        problem = f"cannot be read as {found.reading.syntax}: {found.reading.problem}"
        return Score.of(0.0, shorten_text(problem, 400), parts={"syntax": 0.0})
    form = _form_fault(found, extract)
    calls = found.reading.calls
    if not wanted or not calls:
        return _score_without_calls(wanted, found, form)
    pairs = match_calls(wanted, calls, ordered=ordered, exact=strings == "exact")
    parts = _parts(pairs, calls) | {"form": float(form is None)}
    faults = [finding.words for pair in pairs for finding in pair.findings]
    if len(calls) != len(wanted):
        faults.insert(0, f"{len(calls)} calls instead of {len(wanted)}")
    if form is not None:
        faults.insert(0, form)
    return Score.of(float(not faults), _format_faults(found, faults), parts=parts)


def _form_fault(found: FoundCalls, extract: Extract) -> str | None:
    """Return why the form of the calls is wrong; None if they are read where they are."""
    if not found.reading.calls or FORMS.index(found.form) <= _EXTRACTS.index(extract):
        return None
    if found.form == "other":
        return "wrong form: another syntax than the one named"
    return f'wrong form: read only with extract = "{found.form}"'


def _score_without_calls(
    wanted: Sequence[ExpectedCall], found: FoundCalls, form: str | None
) -> Score:
    """Score an answer without calls, or one that should have none."""
    calls = found.reading.calls
    parts = {"syntax": 1.0, "count": float(len(wanted) == len(calls))}
    if wanted:
        return Score.of(0.0, "no tool is called", parts=parts)
    if not calls:
        return Score.of(1.0, parts=parts)
    names = ", ".join(format_value(call.name, 110) for call in calls[:3])
    faults = [f"calls {names} where no tool may be called"]
    parts["form"] = float(form is None)
    return Score.of(0.0, _format_faults(found, faults), parts=parts)


def _parts(found: Sequence[MatchedCall], calls: Sequence[ToolCall]) -> dict[str, float]:
    named = [pair for pair in found if not pair.lacks("names")]
    parts = {
        "syntax": 1.0,
        "count": float(len(found) == len(calls)),
        "names": len(named) / len(found),
    }
    for part in _OF_A_CALL if named else ():
        parts[part] = sum(not pair.lacks(part) for pair in named) / len(named)
    return parts


def _format_faults(found: FoundCalls, faults: Sequence[str]) -> str:
    more = [f"and {len(faults) - 3} more faults"] if len(faults) > 3 else []
    where = _PLACES.get(found.form, "")
    return "; ".join([f"read as {found.reading.syntax}{where}", *faults[:3], *more])


_PLACES = {"fence": " in a ``` fence", "prose": " within other text"}


_STANDARD = str.maketrans({**dict.fromkeys(" ,./-_*^"), "'": '"'})


@dataclass(frozen=True, slots=True)
class CallMismatch:
    """One thing wrong with a call."""

    part: str
    """The sub-score that it fails."""
    words: str


@dataclass(frozen=True, slots=True)
class MatchedCall:
    """An expected call with what is wrong with the call made for it."""

    expected: ExpectedCall
    findings: tuple[CallMismatch, ...]

    def lacks(self, part: str) -> bool:
        """Whether a sub-score fails."""
        return any(finding.part == part for finding in self.findings)


def match_calls(
    wanted: Sequence[ExpectedCall], given: Sequence[ToolCall], *, ordered: bool, exact: bool
) -> list[MatchedCall]:
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
        MatchedCall(
            one, tuple(_findings(one, given[chosen[i]], exact) if i in chosen else _no_call(one))
        )
        for i, one in enumerate(wanted)
    ]


def _best(wanted: Sequence[ExpectedCall], given: Sequence[ToolCall], exact: bool) -> dict[int, int]:
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


def _same_name(expected: ExpectedCall, call: ToolCall) -> bool:
    """Compare names; APIs that know no dots write `a.b` as `a_b`."""
    return call.name in (expected.name, expected.name.replace(".", "_"))


def _no_call(expected: ExpectedCall) -> Iterator[CallMismatch]:
    yield CallMismatch("names", f"no call of {expected.name}")


def _findings(expected: ExpectedCall, call: ToolCall, exact: bool) -> Iterator[CallMismatch]:
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
            known = expected.tool is None or name in expected.tool.arguments
            why = "is not expected" if known else "does not exist"
            words = f"{expected.name}: the argument {format_value(name, 110)} {why}"
            yield CallMismatch("not_hallucinated", words)
        elif finding := _value_finding(expected, name, value, exact):
            yield finding


def _value_finding(
    expected: ExpectedCall, name: str, value: Any, exact: bool
) -> CallMismatch | None:
    allowed = expected.allowed[name]
    if value is None and None in allowed:
        return None
    wrong_type = type_mismatch(value, expected.schema(name), name)
    if wrong_type:
        return CallMismatch("types", f"{expected.name}: {wrong_type}")
    if any(_equal(value, one, exact) for one in allowed):
        return None
    listed = format_value([one for one in allowed if one != ""])[1:-1]
    return CallMismatch(
        "values", f"{expected.name}: {name}={format_value(value)} is none of {listed}"
    )


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
