"""Slots: rows enter, grow and leave in one buffer, and the model sees each as if it were alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tunegate.harness.engine.inference import continuous_batching as decoding
from tunegate.harness.engine.inference import decoding_slots, forward_cost, prefix_cache
from tunegate.harness.engine.inference.continuous_batching import decode_sequences
from tunegate.harness.engine.inference.sequence import start_sequence
from tunegate.harness.engine.inference.speculative import RUN, AnswerDraft, DraftAcceptance
from tunegate.harness.records.cases import Case

Ask = Callable[..., list[Any]]
PROMPTS = tuple(f"the parcel {'late ' * (i % 7)}{i}" for i in range(24))


def _requests(arm: Any, ask: Ask, n: int = 20) -> list[Any]:
    cases = [Case(id=f"c{i}", prompt=text) for i, text in enumerate(PROMPTS)]
    return [ask(arm, [case], max_new_tokens=n - i % 5)[0] for i, case in enumerate(cases)]


def _decoded(arm: Any, rows: list[Any]) -> dict[str, list[int]]:
    with arm.active() as model:
        return {row.request.key: row.token_ids for row in decode_sequences(arm, model, rows)}


def _alone(arm: Any, requests: list[Any]) -> dict[str, list[int]]:
    return {r.key: _decoded(arm, [start_sequence(r)])[r.key] for r in requests}


@pytest.mark.parametrize("width", [1, 2, 5, 24])
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "mistral"])
def test_waiting_rows_enter_as_others_leave(
    tiny: Any, ask: Ask, monkeypatch: pytest.MonkeyPatch, architecture: str, width: int
) -> None:
    arm = tiny.pair(architecture)["tuned"]
    requests = _requests(arm, ask)
    expected = _alone(arm, requests)
    monkeypatch.setattr(decoding, "MAX_ROWS", width)

    assert _decoded(arm, [start_sequence(r) for r in requests]) == expected


def test_prompts_of_one_length_are_read_together(
    tiny: Any, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompts of 2 to 50 words in any order: each is read once, in no forward with more padding
    than a forward costs, in all with a third of it; prompts of one length are one forward.
    """
    arm = tiny.pair("llama")["base"]
    words = [2 + (29 * i) % 49 for i in range(40)]
    cases = [Case(id=str(i), prompt=f"{i} parcel{' late' * n}") for i, n in enumerate(words)]
    requests = [ask(arm, [case], max_new_tokens=2)[0] for case in cases]
    read: list[list[int]] = []
    prefill = prefix_cache.prefill_prompts

    def noted(arm: Any, model: Any, prompts: Any, **given: Any) -> Any:
        read.append([len(ids) for ids in prompts])
        return prefill(arm, model, prompts, **given)

    monkeypatch.setattr(prefix_cache, "prefill_prompts", noted)
    _decoded(arm, [start_sequence(request) for request in requests])

    lengths = sorted(len(request.prompt.token_ids) for request in requests)
    assert sorted(length for one in read for length in one) == lengths
    padding = [len(one) * max(one) - sum(one) for one in read]
    assert max(padding) <= forward_cost.TOKENS["cpu"]
    assert sum(padding) < (len(lengths) * lengths[-1] - sum(lengths)) / 3
    assert 3 <= len(read) <= 25

    read.clear()
    same = [
        ask(arm, [Case(id=str(i), prompt=f"{i} parcel")], max_new_tokens=2)[0] for i in range(9)
    ]
    _decoded(arm, [start_sequence(request) for request in same])
    assert len(read) == 1


@pytest.mark.parametrize("width", [3, 24])
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "mistral", "gemma3"])
def test_rows_that_come_while_others_are_written(
    tiny: Any, ask: Ask, monkeypatch: pytest.MonkeyPatch, architecture: str, width: int
) -> None:
    arm = tiny.pair(architecture)["tuned"]
    requests = _requests(arm, ask)
    cases = [Case(id=f"l{i}", prompt=f"{'a refund for ' * 6}{i}") for i in range(8)]
    later = [ask(arm, [case], max_new_tokens=25)[0] for case in cases]
    expected = _alone(arm, [*requests, *later])
    monkeypatch.setattr(decoding, "MAX_ROWS", width)
    coming = [start_sequence(request) for request in (*requests[6:], *later)]

    with arm.active() as model:
        rows = [start_sequence(request) for request in requests[:6]]
        steps: list[int] = []

        def more() -> list[Any]:
            steps.append(len(coming))
            return [coming.pop(0)] if coming and len(steps) % 2 else []

        found = {
            row.request.key: row.token_ids for row in decode_sequences(arm, model, rows, more=more)
        }

    assert found == expected


def test_rows_come_where_there_were_none(tiny: Any, ask: Ask) -> None:
    arm = tiny.pair("llama")["base"]
    requests = _requests(arm, ask)[:3]
    coming = [[start_sequence(request)] for request in requests]
    with arm.active() as model:
        rows = decode_sequences(arm, model, [], more=lambda: coming.pop() if coming else [])
        found = {row.request.key: row.token_ids for row in rows}

    assert found == _alone(arm, requests)


def test_the_buffer_grows(tiny: Any, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for two tokens at a time the rows are laid out again and again, unchanged."""
    arm = tiny.pair("qwen2")["base"]
    requests = _requests(arm, ask)
    expected = _alone(arm, requests)
    monkeypatch.setattr(decoding_slots, "ROOM", 2)
    monkeypatch.setattr(decoding, "MAX_ROWS", 4)

    assert _decoded(arm, [start_sequence(r) for r in requests]) == expected


@pytest.mark.parametrize("width", [2, 5, 24])
def test_nothing_of_the_memory_before_is_read(
    tiny: Any, ask: Ask, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    import torch

    arm = tiny.pair("mistral")["tuned"]
    requests = _requests(arm, ask)
    expected = _alone(arm, requests)
    monkeypatch.setattr(decoding_slots, "ROOM", 2)
    monkeypatch.setattr(decoding, "MAX_ROWS", width)
    left = []

    def used_memory(like: Any, size: Any) -> Any:
        left.append(size)
        return like.new_full(size, float("nan"))

    monkeypatch.setattr(torch.Tensor, "new_empty", used_memory)

    assert _decoded(arm, [start_sequence(r) for r in requests]) == expected
    assert len(left) > 4


def test_long_rows_share_the_memory(tiny: Any, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache's memory bounds how many rows are written at a time; one always is."""
    arm = tiny.pair("llama")["base"]
    requests = _requests(arm, ask)
    widths: list[int] = []
    forward = decoding.DecodingSlots.forward

    def watched(self: Any, model: Any, tokens: Any) -> Any:
        widths.append(len(self.rows))
        return forward(self, model, tokens)

    monkeypatch.setattr(decoding.DecodingSlots, "forward", watched)
    config = arm.loaded.torch_model.config
    heads = getattr(config, "num_key_value_heads", config.num_attention_heads)
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    token = 2 * config.num_hidden_layers * heads * head * 4  # keys and values in float32
    longest = max(len(r.prompt.token_ids) for r in requests) + 20
    for memory, width in ((1, 1), (3 * token * longest, 3)):
        monkeypatch.setattr(decoding, "CACHE_BYTES", memory)
        widths.clear()
        _decoded(arm, [start_sequence(r) for r in requests])
        assert max(widths) == width
    # Memory of six short rows holds two long ones, which come while the short ones are written.
    monkeypatch.setattr(decoding, "CACHE_BYTES", 6 * token * longest)
    cases = [Case(id=f"l{i}", prompt=f"{i}{'a refund ' * longest}") for i in range(9)]
    long = [ask(arm, [case], max_new_tokens=40)[0] for case in cases]
    coming = [[start_sequence(request) for request in long]]
    widths.clear()
    with arm.active() as model:
        rows = [start_sequence(request) for request in requests]
        found = {
            row.request.key: len(widths)
            for row in decode_sequences(
                arm, model, rows, more=lambda: coming.pop() if coming and len(widths) > 3 else []
            )
        }
    last_short = max(found[request.key] for request in requests)
    assert max(widths) == 6
    assert len(found) == len(requests) + len(long)
    assert max(widths[last_short:]) <= 3


@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
def test_an_answer_that_comes_back_to_its_draft(
    tiny: Any, ask: Ask, monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    """A draft with a wrong or a missing part is left and found again; the answer is the same."""
    monkeypatch.setattr(forward_cost, "TOKENS", {"cpu": 10_000.0})  # guessing always pays
    arm = tiny.pair(architecture)["tuned"]
    requests = _requests(arm, ask, 40)
    expected = _alone(arm, requests)
    for spoil in (lambda ids: (*ids[:3], 7, *ids[4:]), lambda ids: (*ids[:4], *ids[6:])):
        acceptance = DraftAcceptance()
        drafts = {key: AnswerDraft(spoil(tuple(ids)), acceptance) for key, ids in expected.items()}
        assert _decoded(arm, [start_sequence(r, drafts[r.key]) for r in requests]) == expected


def test_coming_back_saves_forwards(tiny: Any, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_cost, "TOKENS", {"cpu": 10_000.0})
    arm = tiny.pair("llama")["base"]
    request = max(_requests(arm, ask, 60), key=lambda r: len(_alone(arm, [r])[r.key]))
    (ids,) = _alone(arm, [request]).values()
    steps: list[int] = []
    forward = decoding.DecodingSlots.forward

    def counted(self: Any, model: Any, tokens: Any) -> Any:
        steps.append(max(map(len, tokens)))
        return forward(self, model, tokens)

    monkeypatch.setattr(decoding.DecodingSlots, "forward", counted)
    wrong = AnswerDraft((*ids[:2], ids[2] + 1, *ids[3:]), DraftAcceptance())

    assert _decoded(arm, [start_sequence(request, wrong)])[request.key] == ids
    assert max(steps) > RUN
    assert len(steps) < len(ids) - 2


def test_sampled_rows_beside_guesses(tiny: Any, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_cost, "TOKENS", {"cpu": 10_000.0})
    arm = tiny.pair("llama")["base"]
    greedy = _requests(arm, ask, 40)[::2]
    ids = _alone(arm, greedy)
    cases = [Case(id=f"s{i}", prompt=text) for i, text in enumerate(PROMPTS[::3])]
    sampled = ask(arm, cases, max_new_tokens=30, temperature=1.3)
    expected = ids | _alone(arm, sampled)
    acceptance = DraftAcceptance()
    spoilt = [AnswerDraft((*ids[r.key][:2], 7, *ids[r.key][3:]), acceptance) for r in greedy]
    rows = [start_sequence(r, draft) for r, draft in zip(greedy, spoilt, strict=True)]

    assert _decoded(arm, [*rows, *map(start_sequence, sampled)]) == expected


def test_a_draft_is_followed_left_and_found_again() -> None:
    draft = AnswerDraft((1, 2, 3, 4, 5, 6, 7, 8, 9), DraftAcceptance())
    written: list[int] = []
    places = []
    for token in (1, 2, 50, 4, 5, 6, 7, 8):
        written.append(token)
        draft.follow(written)
        places.append(draft.position)

    # 50 leaves it; 4 5 6 are too few; 4 5 6 7 end at the seventh token, and 8 follows.
    assert places == [1, 2, None, None, None, None, 7, 8]
    assert draft.ahead(5) == (9,)


def test_slots_leave_no_memory_behind(tiny: Any, ask: Ask) -> None:
    import gc
    import weakref

    arm = tiny.pair("llama")["base"]
    seen: list[Any] = []
    made = decoding.DecodingSlots.__init__

    def noted(self: Any, *args: Any) -> None:
        made(self, *args)
        seen.append(weakref.ref(self))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(decoding.DecodingSlots, "__init__", noted)
        gc.disable()
        try:
            _decoded(arm, [start_sequence(r) for r in _requests(arm, ask)])
            assert [ref() for ref in seen] == [None]
        finally:
            gc.enable()


@pytest.mark.parametrize(
    ("ends", "blocks"),
    [
        ([(0, 9), (1, 9), (2, 9)], [[0, 1, 2]]),
        ([(0, 9), (2, 9), (3, 9)], [[0], [2, 3]]),  # row 1 ended with its first token
        ([(0, 9), (1, 7), (2, 7), (3, 9)], [[0], [1, 2], [3]]),  # guesses of other lengths
        ([], []),
    ],
)
def test_neighbours_that_end_in_one_column_are_copied_at_once(
    ends: list[tuple[int, int]], blocks: list[list[int]]
) -> None:
    rows: list[Any] = [
        decoding_slots.EnteringRow(None, i, slice(2, end), end - 2)  # type: ignore[arg-type]
        for i, end in ends
    ]

    found = decoding_slots._blocks(rows)

    assert [[one.index for one in block] for block in found] == blocks
