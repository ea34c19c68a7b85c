"""Whether the answer matches a regular expression.

Matching runs in a child process, which imports this module: Python's `re` cannot be interrupted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tunegate.harness.contracts import child_process
from tunegate.harness.contracts.metric import metric
from tunegate.harness.metrics._json_parsing import shorten_text
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

LIMIT_S = 1.0
"""Seconds that compiling a pattern, or matching one completion, may take."""


def pattern_problem(pattern: str) -> str | None:
    """Return why a pattern does not compile, or None."""
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return str(error) or type(error).__name__
    return None


def any_match(patterns: list[str], text: str, mode: str) -> bool:
    """Return whether one of the patterns matches: somewhere (`search`) or the whole text."""
    return any(getattr(re, mode)(pattern, text) is not None for pattern in patterns)


def _check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    pattern = options.get("pattern")
    if pattern is not None:
        return _problems("pattern", pattern)
    lacking = [
        f"metric 'regex' has no pattern for case {case.id!r}; give the metric the option "
        'pattern = "…", or the case an "expected"'
        for case in cases
        if not case.expected_texts()
    ]
    places = {text: case.id for case in reversed(cases) for text in case.expected_texts()}
    broken = [_problems(f"case {name!r}: expected", text) for text, name in places.items()]
    return lacking + [problem for problems in broken for problem in problems]


def _problems(where: str, pattern: str) -> list[str]:
    try:
        problem = child_process.run_with_timeout(
            __name__, "pattern_problem", pattern, limit_s=LIMIT_S
        )
    except (child_process.CallTimeout, child_process.CallFailed) as error:
        problem = f"cannot be compiled: {error}"
    quoted = shorten_text(repr(pattern), 120)
    return [f"metric 'regex': {where}={quoted}: {problem}; fix the pattern"] if problem else []


@metric(label="answers that match the pattern", binary=True, check=_check)
def regex(
    case: Case,
    completion: Completion,
    *,
    pattern: str | None = None,
    mode: Literal["search", "fullmatch"] = "search",
) -> Score:
    r"""Score 1 if the answer matches the pattern, else 0.

    Python's `re`. Without `pattern` each case's expected text is its pattern. Flags are in the
    pattern: `(?i)` ignores case, `(?s)` lets `.` match line breaks, `(?m)` matches at every line.

    Known problems:
        `\d*` matches the empty text, so it finds a match everywhere. A match that takes longer than
        a second leaves the case unscored.

    Example:
        ```toml
        [[metrics]]
        use = "regex"
        pattern = '\bKT-\d{4}\b'
        ```

    Options:
        pattern: The regular expression of every case.
        mode: `search` finds a match anywhere, `fullmatch` needs the whole answer.
    """
    if completion.text is None:
        return Score.unscored("the completion has no text")
    patterns = case.expected_texts() if pattern is None else (pattern,)
    if not patterns:
        return Score.unscored("no pattern: give the metric the option 'pattern'")
    try:
        matches = child_process.run_with_timeout(
            __name__, "any_match", patterns, completion.text, mode, limit_s=LIMIT_S
        )
    except (child_process.CallTimeout, child_process.CallFailed) as error:
        return Score.unscored(f"check_error: matching failed: {error}")
    return Score.of(float(matches))
