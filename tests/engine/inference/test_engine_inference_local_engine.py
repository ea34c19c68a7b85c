"""Answers of a local arm: what cannot be asked is an error of its case, never a cut."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.tiny_models import CONTEXT
from tunegate.harness.contracts.reasoning import written_text
from tunegate.harness.engine.inference import local_engine, sequence
from tunegate.harness.engine.inference.speculative import DraftAcceptance, KnownAnswer, draft_ids
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case

Ask = Callable[..., list[Any]]


class Failing:
    """An arm whose model raises."""

    def __init__(self, arm: Any, error: Exception) -> None:
        """Keep the arm that renders, and the error."""
        self.arm, self.error = arm, error

    def __getattr__(self, name: str) -> Any:
        """Be the arm in everything else."""
        return getattr(self.arm, name)

    @contextmanager
    def active(self) -> Any:
        """Raise where the model would be used."""
        raise self.error
        yield


def test_completions(tiny: Any, ask: Ask) -> None:
    """Text, counts, reason and time of a completion are the tokenizer's and the clock's."""
    arm = tiny.pair("llama")["base"]
    case = Case(id="c", prompt="the parcel")
    (answer,) = local_engine.complete_requests(arm, ask(arm, [case], max_new_tokens=6))
    done = answer.completion
    assert answer.error is None
    assert done.input_tokens == len(arm.tokenizer("the parcel")["input_ids"])
    assert done.output_tokens <= 6
    assert done.finish_reason in ("length", "stop")
    assert 0 < done.latency_s < 60
    assert abs(answer.started_s - 1.7e9) < 1e9


def test_a_stop_text_is_cut_off(tiny: Any, ask: Ask) -> None:
    arm = tiny.pair("llama")["base"]
    case = Case(id="c", prompt="the customer wants a refund for the parcel")
    (free,) = local_engine.complete_requests(arm, ask(arm, [case], max_new_tokens=10))
    text = free.completion.text
    stop = text[3:5]
    (cut,) = local_engine.complete_requests(arm, ask(arm, [case], max_new_tokens=10, stop=(stop,)))
    assert cut.completion.text == text[: text.index(stop)]
    assert cut.completion.finish_reason == "stop"


def test_what_cannot_be_asked_is_an_error_of_its_case(tiny: Any, ask: Ask) -> None:
    """Too long and empty prompts get errors that say why; their neighbours get answers."""
    arm = tiny.pair("llama")["base"]
    cases = [
        Case(id="long", prompt="1" * (CONTEXT - 5)),
        Case(id="good", prompt="the parcel"),
        Case(id="empty", messages=({"role": "user", "content": ""},)),
        Case(id="fits", prompt="1" * (CONTEXT - 10)),
    ]
    answers = {
        a.key: a for a in local_engine.complete_requests(arm, ask(arm, cases, max_new_tokens=10))
    }
    assert answers["good"].completion is not None
    assert answers["fits"].completion is not None
    assert answers["empty"].error == "the prompt is empty after tokenising"
    needed = CONTEXT - 5 + 10
    assert answers["long"].error == (
        f"{needed} tokens do not fit the model's context of {CONTEXT}; shorten the prompt"
    )


def test_texts_that_cannot_be_scored(tiny: Any, ask: Ask) -> None:
    arm = tiny.pair("llama")["base"]
    cases = [
        Case(id="empty", prompt="Q:\n", choices=("yes", ""), answer=0),
        Case(id="long", prompt="Q", choices=("1" * CONTEXT, "no"), answer=0),
        Case(id="good", prompt="Q", choices=("yes", "no"), answer=0),
    ]
    answers = {a.key: a for a in local_engine.complete_requests(arm, ask(arm, cases, "choices"))}
    assert answers["good"].error is None
    assert answers["empty"].error == "'' has no tokens to score"
    assert "do not fit the model's context" in answers["long"].error


def test_nothing_but_errors(tiny: Any, ask: Ask) -> None:
    """Where no request can be asked the model is not used at all."""
    arm = Failing(tiny.pair("llama")["base"], AssertionError("used"))
    requests = ask(arm, [Case(id="long", prompt="1" * CONTEXT)])
    (answer,) = local_engine.complete_requests(arm, requests)
    assert answer.completion is None


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_memory_errors_have_a_name(tiny: Any, ask: Ask, error: Exception) -> None:
    arm = Failing(tiny.pair("llama")["base"], error)
    with pytest.raises(local_engine.OutOfMemory):
        list(
            local_engine.complete_requests(
                arm, ask(arm, [Case(id="c", prompt="a")], max_new_tokens=4)
            )
        )


def test_other_errors_keep_theirs(tiny: Any, ask: Ask) -> None:
    arm = Failing(tiny.pair("llama")["base"], RuntimeError("shape mismatch"))
    with pytest.raises(RuntimeError, match="shape mismatch"):
        list(
            local_engine.complete_requests(
                arm, ask(arm, [Case(id="c", prompt="a")], max_new_tokens=4)
            )
        )


def test_drafts_give_the_same_completions(tiny: Any, ask: Ask) -> None:
    arms = tiny.pair("qwen2")
    cases = [Case(id=f"c{i}", prompt=p) for i, p in enumerate(("a", "the parcel", "12"))]
    requests = ask(arms["tuned"], cases, max_new_tokens=12)
    base = {a.key: a.completion for a in local_engine.complete_requests(arms["base"], requests)}
    acceptance = DraftAcceptance()
    guesses = {**base, "c0": Completion(text="the parcel")}
    drafts = {key: KnownAnswer(completion, acceptance) for key, completion in guesses.items()}
    plain = {a.key: a.completion for a in local_engine.complete_requests(arms["tuned"], requests)}
    drafted = {
        a.key: a.completion for a in local_engine.complete_requests(arms["tuned"], requests, drafts)
    }
    same = {key: done.model_copy(update={"latency_s": 0.0}) for key, done in plain.items()}
    assert same == {k: d.model_copy(update={"latency_s": 0.0}) for k, d in drafted.items()}


def test_an_abandoned_answer_switches_the_model_back(tiny: Any, ask: Ask) -> None:
    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer

    arm = tiny.pair("llama")["base"]
    cases = [Case(id=f"c{i}", prompt="a" * i) for i in range(1, 9)]
    answers = local_engine.complete_requests(arm, ask(arm, cases, max_new_tokens=20))
    layers = [m for m in arm.loaded.torch_model.modules() if isinstance(m, BaseTunerLayer)]
    next(answers)
    assert all(layer.disable_adapters for layer in layers)
    answers.close()
    assert not torch.is_inference_mode_enabled()
    assert not any(layer.disable_adapters for layer in layers)


def test_a_completion_knows_how_many_were_written_with_it(tiny: Any, ask: Ask) -> None:
    arm = tiny.pair("llama")["base"]
    cases = [Case(id=name, prompt="the parcel") for name in "abc"]
    together = local_engine.complete_requests(arm, ask(arm, cases, max_new_tokens=3))
    alone = local_engine.complete_requests(arm, ask(arm, cases[:1], "latency", max_new_tokens=3))
    assert [answer.completion.batch_size for answer in together] == [3, 3, 3]
    assert [answer.completion.batch_size for answer in alone] == [1]


def test_latency_is_asked_like_a_completion(tiny: Any, ask: Ask) -> None:
    arm = tiny.pair("llama")["base"]
    (request,) = ask(arm, [Case(id="c", prompt="the parcel")], max_new_tokens=6)
    (untimed,) = local_engine.complete_requests(arm, [request])
    (timed,) = local_engine.complete_requests(
        arm, ask(arm, [request.case], "latency", max_new_tokens=6)
    )
    assert timed.completion.text == untimed.completion.text
    assert timed.completion.latency_s > 0


def test_keys_come_back(tiny: Any, ask: Ask) -> None:
    """Every request is answered exactly once, under its own key."""
    arm = tiny.pair("llama")["base"]
    (request,) = ask(arm, [Case(id="c", prompt="the parcel")], max_new_tokens=3)
    requests = [replace(request, cell=replace(request.cell, key=str(i))) for i in range(5)]
    assert sorted(a.key for a in local_engine.complete_requests(arm, requests)) == list("01234")


def _tagged(arm: Any, ask: Ask, case: Case) -> tuple[str, str, str, str]:
    """Return a greedy answer in four parts: opening tag, thoughts, closing tag, and the rest.

    What the model writes with random weights is taken for tags, so that thoughts are decoded by
    the engine itself.
    """
    (free,) = local_engine.complete_requests(arm, ask(arm, [case], max_new_tokens=40))
    text = free.completion.text
    starts = (i for i in range(10, len(text) - 8) if text[i : i + 4].isalpha())
    at = next(i for i in starts if text.index(text[i : i + 4]) == i)
    return text[:1], text[1:at], text[at : at + 4], text[at + 4 :]


def test_thoughts_and_answer_have_limits_of_their_own(tiny: Any, ask: Ask) -> None:
    """The answer has its five tokens whatever the thoughts took; a small budget leaves none."""
    arm = tiny.pair("qwen2")["base"]
    case = Case(id="c", prompt="the customer wants a refund for the parcel")
    opening, thoughts, closing, rest = _tagged(arm, ask, case)
    own = {"thinking_tags": (opening, closing), "max_new_tokens": 5}

    (done,) = local_engine.complete_requests(arm, ask(arm, [case], thinking_budget=60, **own))
    (cut,) = local_engine.complete_requests(arm, ask(arm, [case], thinking_budget=3, **own))

    whole = done.completion
    assert whole.reasoning == thoughts
    assert rest.lstrip().startswith(whole.text.rstrip("\ufffd"))
    assert whole.reasoning_closed is True
    if whole.finish_reason == "length":
        assert whole.output_tokens == whole.reasoning_tokens + 5
    assert cut.completion.text == ""
    assert cut.completion.reasoning_closed is False
    assert cut.completion.output_tokens == cut.completion.reasoning_tokens == 3
    assert cut.completion.finish_reason == "length"


def test_thoughts_have_a_time_of_their_own(
    tiny: Any, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second passes with each token: thoughts of n tokens end n seconds after the request; an
    answer without thoughts has no such time.
    """
    now = [0.0]

    def next_token() -> float:
        now[0] += 1
        return now[0]

    waits = SimpleNamespace(perf_counter=lambda: now[0], time=time.time)
    monkeypatch.setattr(sequence, "time", SimpleNamespace(perf_counter=next_token))
    monkeypatch.setattr(local_engine, "time", waits)
    arm = tiny.pair("qwen2")["base"]
    case = Case(id="c", prompt="the customer wants a refund for the parcel")
    opening, _, closing, _ = _tagged(arm, ask, case)
    own = {"thinking_tags": (opening, closing), "max_new_tokens": 5}

    (done,) = local_engine.complete_requests(arm, ask(arm, [case], thinking_budget=60, **own))
    (cut,) = local_engine.complete_requests(arm, ask(arm, [case], thinking_budget=3, **own))
    (plain,) = local_engine.complete_requests(
        arm, ask(arm, [case], max_new_tokens=5, thinking_tags=())
    )

    assert done.completion.reasoning_s == done.completion.reasoning_tokens
    assert done.completion.latency_s == done.completion.output_tokens
    assert (cut.completion.reasoning_s, cut.completion.latency_s) == (3.0, 3.0)
    assert plain.completion.reasoning_s is None


def test_a_stop_waits_for_the_answer(tiny: Any, ask: Ask) -> None:
    """A text that is in the thoughts as well ends only the answer."""
    arm = tiny.pair("qwen2")["base"]
    case = Case(id="c", prompt="the customer wants a refund for the parcel")
    opening, thoughts, closing, _ = _tagged(arm, ask, case)
    stop = thoughts[2:4]

    (done,) = local_engine.complete_requests(
        arm,
        ask(arm, [case], max_new_tokens=40, thinking_tags=(opening, closing), stop=(stop,)),
    )

    assert done.completion.reasoning == thoughts
    assert stop not in done.completion.text


def test_a_draft_with_thoughts_gives_the_same_completion(tiny: Any, ask: Ask) -> None:
    """Verified from base's stored completion, thoughts and tags included, the answer is the same
    and every token of the draft holds.
    """
    arm = tiny.pair("qwen2")["base"]
    case = Case(id="c", prompt="the customer wants a refund for the parcel")
    opening, _, closing, _ = _tagged(arm, ask, case)
    requests = ask(
        arm, [case], max_new_tokens=8, thinking_tags=(opening, closing), thinking_budget=60
    )
    (alone,) = local_engine.complete_requests(arm, requests)
    known = {requests[0].key: KnownAnswer(alone.completion, DraftAcceptance())}

    (drafted,) = local_engine.complete_requests(arm, requests, known)

    kept = ("text", "reasoning", "reasoning_tokens", "reasoning_closed", "output_tokens")
    assert {f: getattr(drafted.completion, f) for f in kept} == {
        f: getattr(alone.completion, f) for f in kept
    }
    written = arm.tokenizer(written_text(alone.completion), add_special_tokens=False)["input_ids"]
    assert draft_ids(arm, alone.completion)[: len(written)] == tuple(written)
    assert written_text(alone.completion).startswith(f"{opening}{alone.completion.reasoning}")
