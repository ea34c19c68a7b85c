"""Decoding against plain Transformers: the same tokens, whatever shares the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.tiny_models import ARCHITECTURES, muted
from tunegate.harness.engine.inference import prefix_cache
from tunegate.harness.engine.inference.continuous_batching import decode_sequences
from tunegate.harness.engine.inference.sequence import DecodingSequence, start_sequence
from tunegate.harness.records.cases import Case

LONG = "the capital of France is Paris, the capital of Spain is Madrid, and so on; "
PROMPTS = (
    "a",
    "the parcel",
    "the customer wants a refund for the parcel that never came, and so do I",
    "12",
    "the capital of Spain is",
    "Zz! ",
)
Ask = Callable[..., list[Any]]


def _cases(prompts: tuple[str, ...]) -> list[Case]:
    return [Case(id=f"c{i}", prompt=text) for i, text in enumerate(prompts)]


def _decoded(arm: Any, requests: list[Any]) -> dict[str, DecodingSequence]:
    with arm.active() as model:
        return {
            row.request.key: row
            for row in decode_sequences(arm, model, [start_sequence(r) for r in requests])
        }


def _plain(tiny: Any, architecture: str, arm: str) -> Any:
    """The same model, loaded by Transformers and PEFT alone."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny.base(architecture)).eval()
    if arm == "tuned":
        with muted():
            model = PeftModel.from_pretrained(model, tiny.adapter(architecture)).eval()
    return model


def _generated(model: Any, ids: tuple[int, ...], n: int, **settings: Any) -> list[int]:
    """What `generate` adds to one prompt alone, its end marker taken off."""
    import torch

    whole = model.generate(
        input_ids=torch.tensor([ids]),
        attention_mask=torch.ones((1, len(ids)), dtype=torch.long),
        max_new_tokens=n,
        **{"do_sample": False, **settings},
    )
    new: list[int] = whole[0, len(ids) :].tolist()
    stops = model.generation_config.eos_token_id
    return new[:-1] if new[-1] in stops else new


@pytest.mark.parametrize("shared", ["", LONG], ids=["no prefix", "shared prefix"])
@pytest.mark.parametrize("arm", ["base", "tuned"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_greedy_equals_generate(
    tiny: Any, ask: Ask, architecture: str, arm: str, shared: str
) -> None:
    """A batch of unequal prompts gives every row the tokens it gets alone in `generate`."""
    opened = tiny.pair(architecture)[arm]
    requests = ask(opened, _cases(tuple(shared + p for p in PROMPTS)), max_new_tokens=20)
    length = prefix_cache.shared_length([r.prompt.token_ids for r in requests])
    assert (length > 0) == bool(shared)
    rows = _decoded(opened, requests)
    model = _plain(tiny, architecture, arm)  # sliding windows here are of 12 tokens
    for request in requests:
        expected = _generated(model, request.prompt.token_ids, 20)
        row = rows[request.key]
        assert row.token_ids == expected
        assert row.finish_reason == ("length" if len(expected) == 20 else "stop")


def test_rows_leave_at_different_times(tiny: Any, ask: Ask) -> None:
    arm = tiny.pair("llama")["base"]
    lengths = {
        len(r.token_ids)
        for r in _decoded(arm, ask(arm, _cases(PROMPTS), max_new_tokens=20)).values()
    }
    assert len(lengths) > 2
    assert max(lengths) == 20


def test_rows_are_yielded_as_they_finish(tiny: Any, ask: Ask) -> None:
    arm = tiny.pair("llama")["base"]
    with arm.active() as model:
        rows = list(
            decode_sequences(
                arm,
                model,
                [start_sequence(r) for r in ask(arm, _cases(PROMPTS), max_new_tokens=20)],
            )
        )
    lengths = [len(row.token_ids) for row in rows]
    assert lengths == sorted(lengths)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_max_new_tokens(tiny: Any, ask: Ask, n: int) -> None:
    """No answer is longer than max_new_tokens, and one that was cut says so."""
    arm = tiny.pair("llama")["base"]
    rows = _decoded(arm, ask(arm, _cases(PROMPTS), max_new_tokens=n)).values()
    assert max(len(row.token_ids) for row in rows) == n
    assert {row.finish_reason for row in rows if len(row.token_ids) == n} == {"length"}


def test_rows_may_have_settings_of_their_own(tiny: Any, ask: Ask) -> None:
    arm = tiny.pair("llama")["base"]
    requests = [ask(arm, [case], max_new_tokens=3 + i)[0] for i, case in enumerate(_cases(PROMPTS))]
    alone = {r.key: _decoded(arm, [r])[r.key].token_ids for r in requests}
    assert {k: row.token_ids for k, row in _decoded(arm, requests).items()} == alone


def test_stop_texts(tiny: Any, ask: Ask) -> None:
    """A stop text ends the row at the token that completes it, also across two tokens."""
    arm = tiny.pair("llama")["base"]
    case = _cases(PROMPTS)[2:3]
    free = next(iter(_decoded(arm, ask(arm, case, max_new_tokens=12)).values()))
    decoded = [arm.tokenizer.decode(free.token_ids[:i]) for i in range(len(free.token_ids) + 1)]
    stop = decoded[4][-2:]
    expected = next(i for i, text in enumerate(decoded) if stop in text)
    row = next(iter(_decoded(arm, ask(arm, case, max_new_tokens=12, stop=(stop,))).values()))
    assert row.token_ids == free.token_ids[:expected]
    assert row.finish_reason == "stop"


def test_going_on_from_tokens(tiny: Any, ask: Ask) -> None:
    arm = tiny.pair("gpt2")["base"]
    requests = ask(arm, _cases(PROMPTS), max_new_tokens=20)
    whole = _decoded(arm, requests)
    begun = [DecodingSequence(r, token_ids=whole[r.key].token_ids[:3]) for r in requests]
    open_rows = [row for row in begun if len(whole[row.request.key].token_ids) > 3]
    assert open_rows
    with arm.active() as model:
        for row in decode_sequences(arm, model, open_rows):
            assert row.token_ids == whole[row.request.key].token_ids


def test_nothing_to_decode(tiny: Any) -> None:
    """No rows give no answers."""
    arm = tiny.pair("llama")["base"]
    assert list(decode_sequences(arm, None, [])) == []


def test_sampling_is_seeded(tiny: Any, ask: Ask) -> None:
    """The same seed gives the same answer, another seed another."""
    arm = tiny.pair("llama")["base"]
    ask_with = {"max_new_tokens": 12, "temperature": 1.5}
    first = _decoded(arm, ask(arm, _cases(PROMPTS), **ask_with, seed=1))
    again = _decoded(arm, ask(arm, _cases(PROMPTS), **ask_with, seed=1))
    other = _decoded(arm, ask(arm, _cases(PROMPTS), **ask_with, seed=100))
    tokens = [[row.token_ids for _, row in sorted(run.items())] for run in (first, again, other)]
    assert tokens[0] == tokens[1]
    assert tokens[0] != tokens[2]


def test_sampling_does_not_depend_on_neighbours(tiny: Any, ask: Ask) -> None:
    arm = tiny.pair("llama")["base"]
    requests = ask(arm, _cases(PROMPTS), max_new_tokens=12, temperature=1.2, top_p=0.9)
    together = {k: row.token_ids for k, row in _decoded(arm, requests).items()}
    turned = {k: row.token_ids for k, row in _decoded(arm, requests[::-1]).items()}
    alone = {r.key: _decoded(arm, [r])[r.key].token_ids for r in requests}
    assert together == turned == alone


def test_a_low_temperature_is_greedy(tiny: Any, ask: Ask) -> None:
    """At temperature 0.001 sampling chooses what greedy decoding chooses."""
    arm = tiny.pair("llama")["base"]
    cases = _cases(PROMPTS)
    greedy = _decoded(arm, ask(arm, cases, max_new_tokens=12))
    cold = _decoded(arm, ask(arm, cases, max_new_tokens=12, temperature=0.001))
    assert {k: r.token_ids for k, r in cold.items()} == {k: r.token_ids for k, r in greedy.items()}


def test_top_p_keeps_the_nucleus(tiny: Any, ask: Ask) -> None:
    import torch
    from transformers import TopPLogitsWarper

    arm = tiny.pair("llama")["base"]
    case = _cases(PROMPTS[1:2])[0]
    requests = [
        r
        for seed in range(400)
        for r in ask(arm, [case], max_new_tokens=1, temperature=2.0, top_p=0.5, seed=seed)
    ]
    requests = [replace_key(r, str(i)) for i, r in enumerate(requests)]
    drawn = [row.token_ids[0] if row.token_ids else -1 for row in _decoded(arm, requests).values()]
    with arm.active() as model, torch.inference_mode():
        logits = model(input_ids=torch.tensor([requests[0].prompt.token_ids])).logits[:, -1]
    kept = torch.softmax(TopPLogitsWarper(0.5)(None, logits / 2.0), dim=-1)[0]
    nucleus = {int(i) for i in kept.nonzero()}
    named = {i if i not in arm.stop_ids else -1 for i in nucleus}
    assert 1 < len(nucleus) < 200
    assert set(drawn) <= named
    top = int(kept.argmax())
    share, chance = drawn.count(top) / 400, float(kept[top])
    assert abs(share - chance) < 4 * (chance * (1 - chance) / 400) ** 0.5


def replace_key(request: Any, key: str) -> Any:
    """The request under another key."""
    from dataclasses import replace

    return replace(request, cell=replace(request.cell, key=key))
