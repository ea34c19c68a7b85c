"""Prefix cache: a shared prefix is held once, and each row sees it as if it were its own."""

from __future__ import annotations

from collections.abc import Callable
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
from tunegate.harness.engine.scheduling import Optimizations
from tunegate.harness.records.cases import Case

Ask = Callable[..., list[Any]]
ENDS = ("a", "the parcel", "12", "the customer wants", "Zz!", "of")


def _prompts(arm: Any, words: int) -> list[list[int]]:
    shared = "the parcel is late " * words
    return [list(arm.tokenizer(f"{shared}{end}")["input_ids"]) for end in ENDS]


@pytest.mark.parametrize("tokens", [1, 5])
@pytest.mark.parametrize("rows", [None, (0, 2)])
def test_the_parts_are_one_softmax(tokens: int, rows: tuple[int, ...] | None) -> None:
    """PyTorch's attention over prefix and own keys at once gives the same, for rows that have the
    prefix and rows that do not, with grouped heads and a row that begins with padding.
    """
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    torch.manual_seed(0)
    n, heads, shared, own, before, size = 3, 6, 2, 5, 7, 8
    query = torch.randn(n, heads, tokens, size)
    key, value = torch.randn(2, n, shared, own, size)
    prefix = torch.randn(2, 1, shared, before, size)
    allowed = torch.ones(n, 1, tokens, own).tril(own - tokens).bool()
    allowed[0, :, :, :2] = False  # two columns of padding, which in a prefill attend to nothing
    layer = type("Layer", (), {"keys": prefix[0], "values": prefix[1]})
    held = type("Held", (), {"layers": [layer]})
    index = None if rows is None else torch.tensor(rows)
    module = type("Module", (), {"layer_idx": 0})

    with prefix_cache._set(prefix_cache._SPLIT, prefix_cache._SplitForward([(held, index)])):
        found, _ = prefix_cache._attention(module, query, key, value, allowed, scaling=0.3)

    for row in range(n):
        having = rows is None or row in rows
        parts = [prefix[:, 0], torch.stack([key[row], value[row]])][0 if having else 1 :]
        keys, values = torch.cat(parts, dim=2).repeat_interleave(heads // shared, dim=1)
        mask = allowed[row, 0]
        if having:
            mask = torch.cat([torch.ones(tokens, before).bool(), mask], dim=1)
        expected = scaled_dot_product_attention(query[row], keys, values, mask, scale=0.3)
        seen = mask.any(dim=1)
        torch.testing.assert_close(found[row].transpose(0, 1)[:, seen], expected[:, seen])


@pytest.mark.parametrize("arm", ["base", "tuned"])
@pytest.mark.parametrize(
    ("architecture", "in_place"),
    [("llama", True), ("qwen3", True), ("gpt2", True), ("phi3", True), ("gemma2", False)],
)
def test_which_families_read_it_in_place(
    tiny: Any, architecture: str, in_place: bool, arm: str
) -> None:
    """Plain causal softmax does; a softcap does not. The logits are those of whole prompts."""
    import torch

    opened = tiny.pair(architecture)[arm]
    prompts = _prompts(opened, 1 if architecture == "gemma2" else 6)
    with opened.active() as model, torch.inference_mode():
        before = model.config._attn_implementation
        prefix = compute_shared_prefix(model, prompts, room=0)
        found = prefill_prompts(opened, model, prompts, prefix=prefix).logits
        expected = prefill_prompts(opened, model, prompts).logits
        assert model.config._attn_implementation == before
    assert prefix.in_place is (in_place and prefix.length > 0)
    assert prefix.length or not in_place
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_another_attention_than_sdpa_gets_copies(tiny: Any) -> None:
    import torch

    arm = tiny.pair("llama")["base"]
    with arm.active() as model, torch.inference_mode():
        model.config._attn_implementation = "eager"
        try:
            prefix = compute_shared_prefix(model, _prompts(arm, 6), room=0)
        finally:
            model.config._attn_implementation = "sdpa"
    assert prefix.length
    assert not prefix.in_place


@pytest.mark.parametrize("arm", ["base", "tuned"])
def test_the_bytes_held_do_not_grow_with_the_prefix(
    tiny: Any, ask: Ask, monkeypatch: pytest.MonkeyPatch, arm: str
) -> None:
    """Rows behind a prefix of four times the tokens hold as many bytes, and the prefix once; what
    they write is what they write without sharing.
    """
    opened = tiny.pair("llama")[arm]
    held: list[int] = []
    prefixes: list[SharedPrefix] = []
    forward, enter = (
        continuous_batching.DecodingSlots.forward,
        continuous_batching.DecodingSlots.enter,
    )

    def measured(self: Any, *args: Any) -> Any:
        held.append(sum(one.all_keys.nbytes + one.all_values.nbytes for one in self._layers))
        return forward(self, *args)

    def noted(self: Any, *args: Any, prefix: SharedPrefix, **more: Any) -> None:
        prefixes.append(prefix)
        enter(self, *args, prefix=prefix, **more)

    monkeypatch.setattr(continuous_batching.DecodingSlots, "forward", measured)
    monkeypatch.setattr(continuous_batching.DecodingSlots, "enter", noted)
    most = []
    for words in (4, 16):
        cases = [Case(id=end, prompt="the parcel is late " * words + end) for end in ENDS]
        written = []
        for levers in (Optimizations.named("slots"), Optimizations()):
            held.clear()
            prefixes.clear()
            with opened.active() as model:
                rows = [start_sequence(r) for r in ask(opened, cases, max_new_tokens=16)]
                found = decode_sequences(opened, model, rows, levers)
                written.append({row.request.key: row.token_ids for row in found})
        assert written[0] == written[1]
        assert len({id(prefix.cache) for prefix in prefixes}) == 1
        assert all(layer.keys.shape[0] == 1 for layer in prefixes[0].cache.layers)
        assert prefixes[0].length >= 16 * words // 4
        most.append(max(held))
    assert most[0] == most[1]


def test_rows_of_several_prefixes(tiny: Any, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(continuous_batching, "HELD", 0)
    arm = tiny.pair("llama")["tuned"]
    starts = ("the parcel is late " * 5, "a refund for the customer " * 5, "")
    cases = [Case(id=f"{i}{end}", prompt=s + end) for i, s in enumerate(starts) for end in ENDS]
    requests = [ask(arm, [case], max_new_tokens=24)[0] for case in cases]
    coming = [requests[6:12], requests[12:]]
    alone = {}
    mixed = set[int]()
    forward = continuous_batching.DecodingSlots.forward

    def noted(self: Any, *args: Any) -> Any:
        mixed.add(len({id(prefix.read) for prefix in self._prefixes}))
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
    assert max(mixed) > 1


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_each_suite_of_a_batch_shares_its_own_beginning(
    tiny: Any, ask: Ask, monkeypatch: pytest.MonkeyPatch, attention: str
) -> None:
    """Rows of two instructions and of none, in any order, in one batch: each instruction is read
    once, where it stays in place and where it is copied, and every row is written as if alone.
    """
    arm = tiny.pair("llama")["tuned"]
    starts = ("the parcel is late " * 20, "a refund for the customer " * 20, "")
    cases = [Case(id=f"{i}{end}", prompt=s + end) for end in ENDS for i, s in enumerate(starts)]
    requests = ask(arm, cases, max_new_tokens=12)
    entered: dict[str, SharedPrefix] = {}
    enter = continuous_batching.DecodingSlots.enter

    def noted(self: Any, entering: Any, *args: Any, prefix: SharedPrefix) -> None:
        entered.update({one.row.request.case.id: prefix for one in entering})
        enter(self, entering, *args, prefix=prefix)

    with arm.active() as model:
        alone = {
            one.request.key: one.token_ids
            for request in requests
            for one in decode_sequences(arm, model, [start_sequence(request)])
        }
        monkeypatch.setattr(continuous_batching.DecodingSlots, "enter", noted)
        monkeypatch.setattr(model.config, "_attn_implementation", attention)
        found = decode_sequences(arm, model, [start_sequence(request) for request in requests])
        together = {row.request.key: row.token_ids for row in found}

    assert together == alone
    of_start = [[p for case, p in entered.items() if case[0] == str(i)] for i in range(3)]
    assert min(map(len, of_start)) >= 4  # a row that ends with its first token does not enter
    assert [len(set(map(id, prefixes))) for prefixes in of_start] == [1, 1, 1]
    assert [prefixes[0].length >= 60 for prefixes in of_start] == [True, True, False]
    assert of_start[0][0].token_ids != of_start[1][0].token_ids
    assert of_start[2][0].length == 0
    assert of_start[0][0].in_place is (attention == "sdpa")


def test_memory_holds_the_beginnings_that_save_most(
    tiny: Any, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three instructions whose keys and values do not fit, that of most rows is read once, and
    the rows of the others are written with their own, as if alone.
    """
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
        for columns, families in ((150, 1), (1_000, 3)):
            memory = columns * prefix_cache.column_bytes(model)
            monkeypatch.setattr(continuous_batching, "PREFIX_BYTES", memory)
            computed.clear()
            found = decode_sequences(arm, model, [start_sequence(one) for one in requests])
            assert {row.request.key: row.token_ids for row in found} == alone
            assert len([one for one in computed if one.length]) == families
            assert computed[0].token_ids == requests[0].prompt.token_ids[: computed[0].length]
            assert sum(one.length for one in computed) <= columns
