"""lexical_support: words looked up, nothing understood, and gates that only inform."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tunegate.harness import suite
from tunegate.harness.metrics.lexical_support import lexical_support
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case

CONTEXT = "The parcel left Hamburg on 3 May. Bob owes Alice 1,200 euros (ref. A-17)."
CASE = Case(id="c", prompt="q", context=CONTEXT)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (CONTEXT, 1.0),  # a verbatim copy is supported in full
        ("It left Bremen on 3 May.", 2 / 3),  # left, 3 | bremen
        ("LEFT HAMBURG", 1.0),
        ("Alice owes Bob 1,200 euros", 1.0),  # it does not read: owes, alice, 1,200, euros
        ("Alice owes 1,300 euros", 3 / 4),
        ("Reference A-17", 1 / 2),
        ("Reference A-18", 0.0),
    ],
)
def test_share_of_content_words(text: str, value: float) -> None:
    assert lexical_support(CASE, Completion(text=text)).value == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "I do so.", None])
def test_nothing_to_look_up_is_unscored(text: str | None) -> None:
    assert lexical_support(CASE, Completion(text=text)).value is None


def test_the_reason_names_what_is_missing() -> None:
    score = lexical_support(CASE, Completion(text="It left Bremen, yes, Bremen, by zeppelin."))

    assert score.reason == "not in the context: bremen, zeppelin"


def test_its_gates_only_inform(suite_folder: Callable[..., Path]) -> None:
    toml = 'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "lexical_support"\n'
    folder = suite_folder(toml, [{"id": "a", "prompt": "q", "context": "c"}])

    (record,) = suite.load_suite(folder).record().metrics

    assert record.advisory
    assert record.judge is None
