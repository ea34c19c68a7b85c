"""The engine against plain Transformers: what `generate` writes, what whole forwards predict."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from tests.whole_forwards import logprob
from tunegate.harness.engine.inference import local_engine
from tunegate.harness.engine.inference.speculative import DraftAcceptance, KnownAnswer
from tunegate.harness.engine.optimizations import Optimizations
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case

SHARED = "the capital of France is Paris, the capital of Spain is Madrid, and so on; "
"""What prompts begin with, longer than the windows and chunks of the families."""
PROMPTS = (
    "a", "the parcel", "a refund for the parcel that never came", "12", "customer wants",
    "Spain is Madrid and the customer",
)  # fmt: skip
CHOICES = ("B", "late and", "refund")
OPTIMIZATIONS = ("all", "none", "slots", "prefixes", "drafts,slots")
NEW_TOKENS = 20
Ask = Callable[..., list[Any]]


def generate(model: Any, ids: Sequence[int], stops: Collection[int], n: int) -> list[int]:
    """What `model.generate` writes after one prompt alone, greedily, without the stop token."""
    import torch

    prompt = torch.tensor([list(ids)])
    with torch.inference_mode():
        whole = model.generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=n,
            pad_token_id=0,
        )
    written = whole[0, len(ids) :].tolist()
    end = next((i for i, token in enumerate(written) if token in stops), len(written))
    return list(written[:end])


def differences(
    arm: Any,
    model: Any,
    ask: Ask,
    *,
    prefix: str = "",
    optimizations: Collection[str] = OPTIMIZATIONS,
) -> Iterator[str]:
    """Name everything in which the engine is not plain Transformers.

    Args:
        arm: An opened arm.
        model: The same weights, loaded by Transformers (and PEFT) alone.
        ask: The fixture that makes requests.
        prefix: What every prompt begins with.
        optimizations: Names of optimizations, `all` and `none` included.
    """
    prompts = [prefix + text for text in PROMPTS]
    ids = [list(arm.tokenizer(text)["input_ids"]) for text in prompts]
    written = [generate(model, one, arm.stop_ids, NEW_TOKENS) for one in ids]
    texts = [arm.tokenizer.decode(one, skip_special_tokens=True) for one in written]
    for name in optimizations:
        switches = Optimizations.parse(name)
        for kind, known in _drafts(texts, drafted=switches.drafts):
            found = _texts(arm, ask, prompts, known, switches)
            different = [i for i, text in enumerate(texts) if found[i] != text]
            if different:
                yield f"{name}, {kind}: {len(different)} of {len(texts)} answers differ"
    for name in ("all", "none"):
        worst = _worst_likelihood(arm, model, ask, prompts, Optimizations.parse(name))
        if worst > 1e-4:
            yield f"{name}: a likelihood is off by {worst:.2g}"


def _drafts(texts: Sequence[str], *, drafted: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield kinds of drafts: none, right ones, and ones that leave the answer and come back."""
    yield "no drafts", {}
    if not drafted:
        return
    for kind, guesses in (
        ("right drafts", texts),
        ("wrong drafts", [f"{texts[i - 1][:9]}{text[4:]}" for i, text in enumerate(texts)]),
    ):
        watch = DraftAcceptance()
        yield (
            kind,
            {
                str(i): KnownAnswer(Completion(text=guess, finish_reason="stop"), watch)
                for i, guess in enumerate(guesses)
            },
        )


def _completions(
    arm: Any, requests: Sequence[Any], known: dict[str, Any], switches: Optimizations
) -> list[Completion]:
    found = {
        answer.key: answer
        for answer in local_engine.complete_requests(arm, requests, known, switches)
    }
    answers = [found[request.key] for request in requests]
    assert [answer.error for answer in answers] == [None] * len(answers)
    return [answer.completion for answer in answers]


def _texts(
    arm: Any, ask: Ask, prompts: Sequence[str], known: dict[str, Any], switches: Optimizations
) -> list[str | None]:
    cases = [Case(id=str(i), prompt=text) for i, text in enumerate(prompts)]
    requests = ask(arm, cases, max_new_tokens=NEW_TOKENS)
    return [one.text for one in _completions(arm, requests, known, switches)]


def _worst_likelihood(
    arm: Any, model: Any, ask: Ask, prompts: Sequence[str], switches: Optimizations
) -> float:
    """The largest difference of a choice's log-likelihood, or of a text's bits a byte."""
    cases = [Case(id=str(i), prompt=text, choices=CHOICES) for i, text in enumerate(prompts)]
    worst = 0.0
    for text, found in zip(
        prompts, _completions(arm, ask(arm, cases, "choices"), {}, switches), strict=True
    ):
        before = arm.tokenizer(text)["input_ids"]
        for choice, value in zip(CHOICES, found.choice_logprobs or (), strict=True):
            rest = arm.tokenizer(f"{text} {choice}")["input_ids"][len(before) :]
            worst = max(worst, abs(value - logprob(model, before, rest)))
    for text, found in zip(
        prompts, _completions(arm, ask(arm, cases, "text"), {}, switches), strict=True
    ):
        ids = arm.tokenizer(text)["input_ids"]
        bits = -logprob(model, [1], ids) / math.log(2) / len(text.encode())
        worst = max(worst, abs((found.bits_per_byte or 0.0) - bits))
    return worst
