"""Optimizations: each can be switched off, and nothing but the time changes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from tunegate.harness.engine.inference import local_engine
from tunegate.harness.engine.inference.speculative import DraftAcceptance, KnownAnswer
from tunegate.harness.engine.optimizations import Optimizations
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import UsageError

LONG = "the capital of France is Paris, the capital of Spain is Madrid, and so on; "
Ask = Callable[..., list[Any]]
SUBSETS = [Optimizations(*switches) for switches in itertools.product((True, False), repeat=3)]


def _answers(
    arm: Any, ask: Ask, kind: str, optimizations: Optimizations, known: Any = None
) -> dict[str, Any]:
    cases = [
        Case(id=str(i), prompt=LONG + text, choices=("late", "a refund", "B"), expected="Madrid")
        for i, text in enumerate(("a", "the parcel", "12", "the customer wants", "Zz!", "of"))
    ]
    settings = {"max_new_tokens": 12} if kind == "generate" else {}
    answers = local_engine.complete_requests(
        arm, ask(arm, cases, kind, **settings), known or {}, optimizations
    )
    return {answer.key: answer.completion for answer in answers}


@pytest.mark.parametrize("optimizations", SUBSETS, ids=str)
def test_no_optimization_changes_an_answer(
    tiny: Any, ask: Ask, optimizations: Optimizations
) -> None:
    """Answers are the same tokens and likelihoods the same within 1e-4, whatever is on."""
    pair = tiny.pair("llama")
    acceptance = DraftAcceptance()
    base = _answers(pair["base"], ask, "generate", Optimizations())
    known = {key: KnownAnswer(completion, acceptance) for key, completion in base.items()}
    plain = Optimizations.parse("none")

    written = _answers(
        pair["tuned"], ask, "generate", optimizations, known if optimizations.drafts else None
    )
    expected = _answers(pair["tuned"], ask, "generate", plain)
    assert {k: c.text for k, c in written.items()} == {k: c.text for k, c in expected.items()}
    scored = _answers(pair["tuned"], ask, "choices", optimizations)
    for key, completion in _answers(pair["tuned"], ask, "choices", plain).items():
        assert scored[key].choice_logprobs == pytest.approx(completion.choice_logprobs, abs=1e-4)


def test_names() -> None:
    """`all`, `none` and any list of names."""
    assert Optimizations.parse("all") == Optimizations(True, True, True)
    assert Optimizations.parse("none") == Optimizations(False, False, False)
    assert Optimizations.parse("slots, prefixes") == Optimizations(False, True, True)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown optimization 'draft'; did you mean 'drafts'"):
        Optimizations.parse("draft")
