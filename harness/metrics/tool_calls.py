"""Whether the answer calls the right tools with the right arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from harness.metric import metric
from harness.metrics._calls_compare import Pair, pairs
from harness.metrics._calls_expected import Expected, expected, problems
from harness.metrics._calls_form import Call, show
from harness.metrics._calls_read import Reading, Syntax, read
from harness.metrics._json import shorten
from harness.records import Case, Completion, Score

_OF_A_CALL = ("required", "optional", "not_hallucinated", "types", "values")
"""Sub-scores that each call of the right name has."""


def _check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    """Return the expectations that no answer can meet."""
    return [f"case {case.id!r}: {problem}" for case in cases for problem in problems(case)]


@metric(binary=True, requires=("expected_calls",), check=_check)
def tool_calls(
    case: Case,
    completion: Completion,
    *,
    syntax: Syntax = "auto",
    ordered: bool = False,
    strings: Literal["standardized", "exact"] = "standardized",
) -> Score:
    """Score 1 if the answer makes exactly the expected tool calls, else 0 with what is wrong.

    What it does:
        The calls are read from the text: OpenAI's `tool_calls` or `function_call`, Anthropic's
        `tool_use` blocks, Hermes' `<tool_call>`, Llama 3's `<|python_tag|>` and
        `{"name", "parameters"}`, Mistral's `[TOOL_CALLS]`, plain JSON, or Python calls with
        literal arguments (parsed, never run). The reason names the syntax. They are compared with
        the case's `expected_calls`, each argument with the list of its allowed values; `""` in the
        list means that the argument may be left out, and an empty `expected_calls` that no tool
        may be called. The tools' schemas say which arguments exist, are required, and of which
        type. Calls too many, arguments that nobody asked for and calls that cannot be read are
        wrong. The parts are `syntax`, `count`, `names` (share of the expected calls), and the
        shares of the calls so named without a fault in `required`, `optional` (arguments missing),
        `not_hallucinated` (arguments invented), `types` and `values`.

    Why:
        A program runs the calls. The rules are those of the Berkeley Function Calling
        Leaderboard's AST check (Patil et al., ICML 2025), which its rankings made familiar:
        parallel calls match in any order; strings match without regard to case, spaces, the
        characters `,./-_*^` and the kind of quotation mark; 1 counts as 1.0 for a number, but
        1.0, "1" and true are no whole number.

    Known problems:
        The leaderboard differs in these: it pairs parallel calls greedily, here the pairing with
        the most right calls counts; it takes a variable as a string and computes arithmetic in
        Python calls, drops arguments without a name, and looks one level into lists and objects,
        here any depth counts, and true inside a list is not 1; it lets `a_b` stand for `a.b` for
        some models, here it always may; a call that cannot be read counts there as no call, here
        as a wrong one; null is right where it is an allowed value. Standardised strings make
        `-5` and `5` one text: use `strings = "exact"` where that matters. A text that quotes a
        marker (`<tool_call>` in its reasoning) is taken to call. Markers that are special tokens
        are lost when a backend drops those from the text; what is left of Llama's and Mistral's
        forms is still read.

    Example:
        ```json
        {"name": "weather", "arguments": {"city": ["Rome", "Roma"], "unit": ["celsius", ""]}}
        ```
        The answer `[weather(city="rome")]` is right; `[weather(city="Rome", days=3)]` is not.

    Options:
        syntax: The one syntax that counts; `auto` takes the first that fits.
        ordered: Whether the calls must come in the order of `expected_calls`.
        strings: `exact` compares strings character by character.
    """
    if completion.text is None:
        return Score.unscored("the completion has no text")
    if case.expected_calls is None:
        return Score.unscored("the case has no expected calls")
    if unmet := problems(case):
        return Score.unscored(f"no answer can meet the expectation: {unmet[0]}")
    wanted, reading = expected(case), read(completion.text, syntax)
    if reading.problem is not None:
        reason = shorten(f"cannot be read as {reading.syntax}: {reading.problem}", 400)
        return Score.of(0.0, reason, parts={"syntax": 0.0})
    if not wanted or not reading.calls:
        return _without_pairs(wanted, reading)
    found = pairs(wanted, reading.calls, ordered=ordered, exact=strings == "exact")
    parts = _parts(found, reading.calls)
    faults = [finding.words for pair in found for finding in pair.findings]
    if len(reading.calls) != len(wanted):
        faults.insert(0, f"{len(reading.calls)} calls instead of {len(wanted)}")
    return Score.of(float(not faults), _in_words(reading, faults), parts=parts)


def _without_pairs(wanted: Sequence[Expected], reading: Reading) -> Score:
    """Score an answer without calls, or one that should have none."""
    parts = {"syntax": 1.0, "count": float(len(wanted) == len(reading.calls))}
    if wanted:
        return Score.of(0.0, "no tool is called", parts=parts)
    names = ", ".join(show(call.name, 110) for call in reading.calls[:3])
    faults = [f"calls {names} where no tool may be called"] if names else []
    reason = _in_words(reading, faults) if reading.calls else None
    return Score.of(parts["count"], reason, parts=parts)


def _parts(found: Sequence[Pair], calls: Sequence[Call]) -> dict[str, float]:
    named = [pair for pair in found if not pair.lacks("names")]
    parts = {
        "syntax": 1.0,
        "count": float(len(found) == len(calls)),
        "names": len(named) / len(found),
    }
    for part in _OF_A_CALL if named else ():
        parts[part] = sum(not pair.lacks(part) for pair in named) / len(named)
    return parts


def _in_words(reading: Reading, faults: Sequence[str]) -> str:
    more = [f"and {len(faults) - 3} more faults"] if len(faults) > 3 else []
    return "; ".join([f"read as {reading.syntax}", *faults[:3], *more])
