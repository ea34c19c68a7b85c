"""regex: the user's pattern, refused when broken and stopped when it runs away."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunegate.harness.contracts import child_process
from tunegate.harness.metrics import regex as module
from tunegate.harness.metrics.regex import regex
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

ANY_TEXT = st.text(st.characters(exclude_categories=()))


def score(text: str | None, expected: Any = None, **options: Any) -> Score:
    """Score `text` without the safety net of Metric.__call__, so that an exception shows."""
    case = Case(id="c", prompt="p", expected=expected)
    return regex.score(case, Completion(text=text), **options)


def problems(options: dict[str, Any], *expected: Any) -> list[str]:
    """Return what the metric refuses when a suite is loaded."""
    cases = [Case(id=f"c{n}", prompt="p", expected=text) for n, text in enumerate(expected)]
    assert regex.check is not None
    return list(regex.check(options, cases))


@pytest.mark.parametrize(
    ("pattern", "text", "mode", "value"),
    [
        (r"\bKT-\d{4}\b", "Order KT-4821 is on its way.", "search", 1.0),
        (r"\bKT-\d{4}\b", "Order KT-48211 is on its way.", "search", 0.0),
        (r"KT-\d{4}", "Order KT-4821", "fullmatch", 0.0),
        (r"KT-\d{4}", "KT-4821", "fullmatch", 1.0),
        (r"KT-\d{4}", "KT-4821\n", "fullmatch", 0.0),  # white space is content
        (r"order", "ORDER", "search", 0.0),
        (r"(?i)order", "ORDER", "search", 1.0),
        (r"a.b", "a\nb", "search", 0.0),
        (r"(?s)a.b", "a\nb", "search", 1.0),
        (r"^b$", "a\nb", "search", 0.0),
        (r"(?m)^b$", "a\nb", "search", 1.0),
        (r"(?s)\A(?!.*as an AI)", "Sure.\nBut as an AI I cannot.", "search", 0.0),
        (r"(?s)\A(?!.*as an AI)", "Sure.", "search", 1.0),
        (r"\d*", "none", "search", 1.0),  # the documented limit: it matches the empty text
        ("é", "e\u0301", "search", 0.0),  # no Unicode normalisation
        ("\0", "a\0b", "search", 1.0),
        ("שלום", "שלום עולם", "search", 1.0),
    ],
)
def test_matches(pattern: str, text: str, mode: str, value: float) -> None:
    """Python's `re`, anywhere in the answer or over all of it."""
    assert score(text, pattern=pattern, mode=mode).value == value


def test_a_case_can_have_its_own_patterns() -> None:
    """Without the option the expected text is the pattern; of several one is enough."""
    assert score("b2", r"a\d").value == 0.0
    assert score("b2", (r"a\d", r"b\d")).value == 1.0
    assert score("b2", r"a\d", pattern="b").value == 1.0  # the option stands for every case


def test_a_runaway_pattern_is_stopped_and_unscored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT_S", 0.3)
    score("warm", pattern="w")
    start = time.monotonic()
    result = score("a" * 60 + "!", pattern=r"(a+)+$")

    assert result.value is None
    assert result.reason == "check_error: matching failed: not done after 0.3 s"
    assert time.monotonic() - start < 30
    assert score("aaa", pattern=r"(a+)+$").value == 1.0


@pytest.mark.parametrize(
    ("options", "expected", "start"),
    [
        ({"pattern": "(a"}, ("x",), "pattern='(a': missing ), unterminated subpattern"),
        ({"pattern": "*"}, ("x",), "pattern='*': nothing to repeat"),
        ({"pattern": "a{99999999999}"}, ("x",), "pattern='a{99999999999}': "),
        ({}, ("a", ("b", "[")), "case 'c1': expected='[': unterminated character set"),
    ],
)
def test_a_broken_pattern_is_refused(
    options: dict[str, Any], expected: tuple[Any, ...], start: str
) -> None:
    (problem,) = problems(options, *expected)

    assert problem.startswith(f"metric 'regex': {start}")
    assert problem.endswith("; fix the pattern")


def test_a_pattern_that_compiles_too_slowly_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object, **__: object) -> None:
        raise child_process.CallTimeout("not done after 1 s")

    monkeypatch.setattr(child_process, "run_with_timeout", run)

    assert problems({"pattern": "x"}, None) == [
        "metric 'regex': pattern='x': cannot be compiled: not done after 1 s; fix the pattern"
    ]


def test_a_pattern_that_is_shared_is_refused_once() -> None:
    (problem,) = problems({}, "ok", "(", "(")

    assert "case 'c1'" in problem


def test_a_case_without_a_pattern_is_refused() -> None:
    assert problems({"pattern": "x"}, None) == []
    assert problems({}, "x", None) == [
        "metric 'regex' has no pattern for case 'c1'; give the metric the option pattern = \"…\", "
        'or the case an "expected"'
    ]


@given(ANY_TEXT, ANY_TEXT)
def test_any_text_scores_zero_or_one(pattern: str, text: str) -> None:
    """Neither text nor pattern raises; unscored is what the check refuses."""
    value = score(text, pattern=pattern).value

    assert value in (0.0, 1.0, None)
    assert (value is None) == bool(problems({"pattern": pattern}))
