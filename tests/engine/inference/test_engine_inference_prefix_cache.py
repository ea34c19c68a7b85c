"""Prefix cache: a shared prefix is computed once, and each row sees it as if it were its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.engine.inference import continuous_batching, prefix_cache
from tunegate.harness.engine.inference.continuous_batching import decode_sequences
from tunegate.harness.engine.inference.prefix_cache import (
    SharedPrefix,
    compute_shared_prefix,
    prefill_prompts,
)
from tunegate.harness.engine.inference.sequence import start_sequence
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.cases import Case

Ask = Callable[..., list[Any]]
ENDS = ("a", "the parcel", "12", "the customer wants", "Zz!", "of")


def _prompts(arm: Any, words: int) -> list[list[int]]:
    shared = "the parcel is late " * words
    return [list(arm.tokenizer(f"{shared}{end}")["input_ids"]) for end in ENDS]


@pytest.mark.parametrize("arm", ["base", "tuned"])
@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gpt2", "phi3", "gemma2"])
def test_logits_behind_a_prefix_are_those_of_whole_prompts(
    tiny: Any, architecture: str, arm: str
) -> None:
    """Prompts of other lengths, and the prefix can be used again."""
    import torch

    opened = tiny.pair(architecture)[arm]
    prompts = _prompts(opened, 1 if architecture == "gemma2" else 6)
    with opened.active() as model, torch.inference_mode():
        prefix = compute_shared_prefix(model, prompts, room=0)
        found = [
            prefill_prompts(opened, model, prompts[start:], prefix=prefix).logits
            for start in (0, 2)
        ]
        expected = prefill_prompts(opened, model, prompts).logits
    assert bool(prefix.length) == (architecture != "gemma2")  # its window is 12 tokens
    torch.testing.assert_close(found[0], expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(found[1], expected[2:], atol=1e-4, rtol=0)


def test_rows_of_several_prefixes(tiny: Any, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(continuous_batching, "HOLD_STEPS", 0)
    arm = tiny.pair("llama")["tuned"]
    starts = ("the parcel is late " * 5, "a refund for the customer " * 5, "")
    cases = [Case(id=f"{i}{end}", prompt=s + end) for i, s in enumerate(starts) for end in ENDS]
    requests = [ask(arm, [case], max_new_tokens=24)[0] for case in cases]
    coming = [requests[6:12], requests[12:]]
    alone = {}
    entered: list[list[int]] = []
    forward = continuous_batching.DecodingSlots.forward

    def noted(self: Any, *args: Any) -> Any:
        entered.append([requests.index(row.request) // 6 for row in self.rows])
        return forward(self, *args)

    with arm.active() as model:
        for request in requests:
            (row,) = decode_sequences(arm, model, [start_sequence(request)])
            alone[request.key] = row.token_ids
        monkeypatch.setattr(continuous_batching.DecodingSlots, "forward", noted)
        found = decode_sequences(
            arm,
            model,
            [start_sequence(request) for request in requests[:6]],
            more=lambda: [start_sequence(r) for r in coming.pop(0)] if coming else [],
        )
        together = {row.request.key: row.token_ids for row in found}

    assert together == alone
    assert max(len(set(starts)) for starts in entered) > 1


def test_each_suite_of_a_batch_shares_its_own_beginning(
    tiny: Any, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of two instructions and of none, in any order, in one batch: each instruction is read
    once, and every row is written as if alone.
    """
    arm = tiny.pair("llama")["tuned"]
    starts = ("the parcel is late " * 20, "a refund for the customer " * 20, "")
    cases = [Case(id=f"{i}{end}", prompt=s + end) for end in ENDS for i, s in enumerate(starts)]
    requests = ask(arm, cases, max_new_tokens=12)
    ids = {tuple(request.prompt.token_ids): request.case.id for request in requests}
    used: dict[str, SharedPrefix] = {}
    prefill = prefix_cache.prefill_prompts

    def noted(arm: Any, model: Any, prompts: Any, *, prefix: SharedPrefix, keep: int) -> Any:
        used.update({ids[tuple(prompt)]: prefix for prompt in prompts})
        return prefill(arm, model, prompts, prefix=prefix, keep=keep)

    with arm.active() as model:
        alone = {
            one.request.key: one.token_ids
            for request in requests
            for one in decode_sequences(arm, model, [start_sequence(request)])
        }
        monkeypatch.setattr(prefix_cache, "prefill_prompts", noted)
        found = decode_sequences(arm, model, [start_sequence(request) for request in requests])
        together = {row.request.key: row.token_ids for row in found}

    assert together == alone
    of_start = [[p for case, p in used.items() if case[0] == str(i)] for i in range(3)]
    assert list(map(len, of_start)) == [6, 6, 6]
    assert [len(set(map(id, prefixes))) for prefixes in of_start] == [1, 1, 1]
    assert [prefixes[0].length >= 60 for prefixes in of_start] == [True, True, False]
    assert of_start[0][0].token_ids != of_start[1][0].token_ids
    assert of_start[2][0].length == 0


def test_beginnings_that_memory_does_not_hold_together_are_read_one_after_the_other(
    tiny: Any, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of three instructions is read once, that of most rows first; answers are as if alone."""
    arm = tiny.pair("llama")["base"]
    starts = ("the parcel is late " * 20, "a refund for the customer " * 20, "of 12 parcels " * 20)
    counts = (6, 4, 5)
    cases = [
        Case(id=f"{i}{end}", prompt=start + end)
        for i, (start, count) in enumerate(zip(starts, counts, strict=True))
        for end in ENDS[:count]
    ]
    requests = ask(arm, cases, max_new_tokens=8)
    computed: list[SharedPrefix] = []
    compute = prefix_cache.compute_shared_prefix

    def noted(*args: Any, **given: Any) -> SharedPrefix:
        computed.append(compute(*args, **given))
        return computed[-1]

    with arm.active() as model:
        alone = {
            one.request.key: one.token_ids
            for request in requests
            for one in decode_sequences(arm, model, [start_sequence(request)])
        }
        monkeypatch.setattr(prefix_cache, "compute_shared_prefix", noted)
        for columns in (150, 1_000):
            memory = columns * prefix_cache.column_bytes(model)
            monkeypatch.setattr(continuous_batching, "PREFIX_BYTES", memory)
            computed.clear()
            found = decode_sequences(arm, model, [start_sequence(one) for one in requests])
            assert {row.request.key: row.token_ids for row in found} == alone
            assert len([one for one in computed if one.length]) == 3
            assert computed[0].token_ids == requests[0].prompt.token_ids[: computed[0].length]
            assert all(one.length <= columns for one in computed)


def test_padding_behind_a_prefix_pushes_nothing_out_of_a_sliding_window(
    tiny: Any, ask: Ask, copied: Callable[..., Path]
) -> None:
    """A long prompt with a short answer comes with a short prompt whose answer fills the window."""
    folder = copied(tiny.base("mistral"), sliding_window=80)
    arm: Any = open_arms({"base": str(folder), "tuned": str(tiny.base("mistral", seed=1))})["base"]
    start = "the parcel is late " * 8
    cases = [Case(id=end, prompt=start + end) for end in ENDS[:5]]
    first = ask(arm, cases, max_new_tokens=20)  # enough rows for a shared prefix
    room = 80 - len(first[0].prompt.token_ids) - 4
    long = ask(arm, [Case(id="long", prompt=start + "a refund " * 12)], max_new_tokens=2)
    short = ask(
        arm, [Case(id=f"{i}", prompt=f"{start}{i}") for i in range(40)], max_new_tokens=room
    )
    with arm.active() as model:
        alone = {
            one.request.key: one.token_ids
            for request in (*long, *short)
            for one in decode_sequences(arm, model, [start_sequence(request)])
        }
        later = [*long, *(one for one in short if len(alone[one.key]) == room)]
        assert len(later) > 1
        coming = [later, *[[]] * 8]  # the long prompt is prefilled first of the later rows
        found = decode_sequences(
            arm,
            model,
            [start_sequence(request) for request in first],
            more=lambda: [start_sequence(one) for one in coming.pop()] if coming else [],
        )
        together = {row.request.key: row.token_ids for row in found}

    assert {one.key: together[one.key] for one in later} == {
        one.key: alone[one.key] for one in later
    }
