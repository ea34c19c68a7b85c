"""Whether the answer calls the right tools with the right arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tunegate.harness.contracts.metric import metric
from tunegate.harness.metrics._call_matching import MatchedCall, match_calls
from tunegate.harness.metrics._embedded_calls import FORMS, FoundCalls, read_calls
from tunegate.harness.metrics._expected_calls import (
    ExpectedCall,
    expectation_problems,
    expected_calls,
    offered_tools,
)
from tunegate.harness.metrics._json_parsing import shorten_text
from tunegate.harness.metrics._tool_call import ToolCall, format_value
from tunegate.harness.metrics._tool_call_parsers import Syntax
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

Extract = Literal["strict", "fence", "prose"]
_EXTRACTS: tuple[Extract, ...] = ("strict", "fence", "prose")
"""In the order of `FORMS`: each reads the forms up to its own position."""

_CALL_PARTS = ("required", "optional", "not_hallucinated", "types", "values")
"""Sub-scores that each call of the right name has."""


def _check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
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
    answer_calls = read_calls(completion.text, offered_tools(case), syntax)
    if answer_calls.reading.problem is not None:
        problem = f"cannot be read as {answer_calls.reading.syntax}: {answer_calls.reading.problem}"
        return Score.of(0.0, shorten_text(problem, 400), parts={"syntax": 0.0})
    form = _form_fault(answer_calls, extract)
    calls = answer_calls.reading.calls
    if not wanted or not calls:
        return _score_without_calls(wanted, answer_calls, form)
    pairs = match_calls(wanted, calls, ordered=ordered, exact=strings == "exact")
    parts = _parts(pairs, calls) | {"form": float(form is None)}
    faults = [mismatch.text for pair in pairs for mismatch in pair.mismatches]
    if len(calls) != len(wanted):
        faults.insert(0, f"{len(calls)} calls instead of {len(wanted)}")
    if form is not None:
        faults.insert(0, form)
    return Score.of(float(not faults), _format_faults(answer_calls, faults), parts=parts)


def _form_fault(answer_calls: FoundCalls, extract: Extract) -> str | None:
    """Return why the form of the calls is wrong, or None."""
    if not answer_calls.reading.calls or FORMS.index(answer_calls.form) <= _EXTRACTS.index(extract):
        return None
    if answer_calls.form == "other":
        return "wrong form: another syntax than the one named"
    return f'wrong form: read only with extract = "{answer_calls.form}"'


def _score_without_calls(
    wanted: Sequence[ExpectedCall], answer_calls: FoundCalls, form: str | None
) -> Score:
    """Score an answer without calls, or one that should have none."""
    calls = answer_calls.reading.calls
    parts = {"syntax": 1.0, "count": float(len(wanted) == len(calls))}
    if wanted:
        return Score.of(0.0, "no tool is called", parts=parts)
    if not calls:
        return Score.of(1.0, parts=parts)
    names = ", ".join(format_value(call.name, 110) for call in calls[:3])
    faults = [f"calls {names} where no tool may be called"]
    parts["form"] = float(form is None)
    return Score.of(0.0, _format_faults(answer_calls, faults), parts=parts)


def _parts(pairs: Sequence[MatchedCall], calls: Sequence[ToolCall]) -> dict[str, float]:
    named = [pair for pair in pairs if not pair.lacks("names")]
    parts = {
        "syntax": 1.0,
        "count": float(len(pairs) == len(calls)),
        "names": len(named) / len(pairs),
    }
    for part in _CALL_PARTS if named else ():
        parts[part] = sum(not pair.lacks(part) for pair in named) / len(named)
    return parts


def _format_faults(found: FoundCalls, faults: Sequence[str]) -> str:
    more = [f"and {len(faults) - 3} more faults"] if len(faults) > 3 else []
    where = _PLACES.get(found.form, "")
    return "; ".join([f"read as {found.reading.syntax}{where}", *faults[:3], *more])


_PLACES = {"fence": " in a ``` fence", "prose": " within other text"}
