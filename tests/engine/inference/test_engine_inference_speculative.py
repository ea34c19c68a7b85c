"""Drafts: the answer is the plain one whatever the draft says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.tiny_models import ARCHITECTURES
from tunegate.harness.engine.inference import continuous_batching as module
from tunegate.harness.engine.inference.continuous_batching import decode_sequences
from tunegate.harness.engine.inference.sequence import start_sequence
from tunegate.harness.engine.inference.speculative import AnswerDraft, DraftAcceptance, draft_ids
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case

PROMPTS = ("a", "the parcel", "the customer wants a refund for the parcel", "12", "Zz! ")
LONG = "the capital of France is Paris, the capital of Spain is Madrid, and so on; "
Ask = Callable[..., list[Any]]


def _requests(arm: Any, ask: Ask, shared: str = "", n: int = 16) -> list[Any]:
    cases = [Case(id=f"c{i}", prompt=shared + p) for i, p in enumerate(PROMPTS)]
    return ask(arm, cases, max_new_tokens=n)


def _plain(arm: Any, requests: list[Any]) -> dict[str, tuple[list[int], str | None]]:
    with arm.active() as model:
        rows = list(decode_sequences(arm, model, [start_sequence(r) for r in requests]))
    return {row.request.key: (row.token_ids, row.finish_reason) for row in rows}


def _drafted(
    arm: Any, requests: list[Any], drafts: dict[str, tuple[int, ...]], acceptance: DraftAcceptance
) -> dict[str, tuple[list[int], str | None]]:
    with arm.active() as model:
        guessed = {key: AnswerDraft(ids, acceptance) for key, ids in drafts.items()}
        rows = list(
            decode_sequences(arm, model, [start_sequence(r, guessed.get(r.key)) for r in requests])
        )
    return {row.request.key: (row.token_ids, row.finish_reason) for row in rows}


@pytest.mark.parametrize("shared", ["", LONG], ids=["no prefix", "shared prefix"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_draft_never_changes_an_answer(
    tiny: Any, ask: Ask, architecture: str, shared: str
) -> None:
    arms = tiny.pair(architecture)
    requests = _requests(arms["tuned"], ask, shared)
    expected = _plain(arms["tuned"], requests)
    own = {key: tuple(tokens) for key, (tokens, _) in expected.items()}
    base = {key: tuple(t) for key, (t, _) in _plain(arms["base"], requests).items()}
    stopped = {key: (*tokens, 0) for key, tokens in own.items()}
    half_wrong = {key: (*tokens[:2], 50, 51, 52) for key, tokens in own.items()}
    some = {key: tokens for key, tokens in own.items() if key in ("c1", "c3")}
    for drafts in (base, own, stopped, half_wrong, some, {"c0": (7,) * 100}):
        assert _drafted(arms["tuned"], requests, drafts, DraftAcceptance()) == expected


def test_chunks_do_not_change_an_answer(
    tiny: Any, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm = tiny.pair("llama")["tuned"]
    requests = _requests(arm, ask)
    expected = _plain(arm, requests)
    monkeypatch.setattr(module, "LOGIT_BYTES", 1)
    own = {key: tuple(tokens) for key, (tokens, _) in expected.items()}
    assert _drafted(arm, requests, own, DraftAcceptance()) == expected


def test_a_perfect_draft_is_counted_as_accepted(tiny: Any, ask: Ask) -> None:
    arm = tiny.pair("llama")["base"]
    requests = _requests(arm, ask)
    for key, (tokens, reason) in _plain(arm, requests).items():
        if reason != "stop":
            continue
        acceptance = DraftAcceptance()
        request = [r for r in requests if r.key == key]
        _drafted(arm, request, {key: (*tokens, 0)}, acceptance)
        # Some other id may have ended the answer; then the last guess is the only miss.
        assert acceptance.accepted["suite"] in (len(tokens), len(tokens) + 1)
        assert acceptance.drafted["suite"] == len(tokens) + 1
        return
    pytest.fail("no answer of this model ends by itself")


def test_a_wrong_draft_is_counted_as_rejected(tiny: Any, ask: Ask) -> None:
    arm = tiny.pair("llama")["base"]
    request = _requests(arm, ask)[2:3]
    ((tokens, _),) = _plain(arm, request).values()
    wrong = (tokens[0] + 1,) * 9
    acceptance = DraftAcceptance()
    assert acceptance.pays("suite", rows=1, step=60)
    _drafted(arm, request, {request[0].key: wrong}, acceptance)
    assert (acceptance.drafted, acceptance.accepted) == ({"suite": 9}, {"suite": 0})
    assert not acceptance.pays("suite", rows=1, step=60)
    assert acceptance.pays("another", rows=1, step=60)


def test_a_stored_answer_as_a_draft(tiny: Any) -> None:
    arm = tiny.pair("llama")["base"]
    ids = tuple(arm.tokenizer("the parcel")["input_ids"])
    assert draft_ids(arm, Completion(text="the parcel", finish_reason="length")) == ids
    assert draft_ids(arm, Completion(text="the parcel", finish_reason="stop")) == (*ids, 0)
    assert draft_ids(arm, Completion(text="", finish_reason="length")) == ()
