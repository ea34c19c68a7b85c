"""A scripted server with a prefix cache, which keeps its arms apart or mixes them up.

An answer is a mixture of what the arm says and what the arm says that computed the cached part of
the prompt, by the shares of the prompt. Without an adapter in the key of its cache, that may be
another arm. Another first word moves an answer a little.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.fake_server import completion
from tunegate.harness.records.hashing import sha256

_BLOCK = 16


@dataclass
class CachingServer:
    """The reply function of a fake server, as vLLM or llama.cpp answers."""

    tokenizer: Any
    keyed: bool = True
    """Whether the cache knows which arm computed a part."""
    reports: bool = True
    """Whether it reports log-probabilities."""
    noise: float = 0.05
    """How far another first word, or a repetition with `steady` unset, moves a logit."""
    steady: bool = True
    apart: float = 2.0
    """How far the arms' logits are apart."""
    takes_ids: bool = True
    fails: Callable[[str], bool] = lambda path: False
    cache: dict[Any, str] = field(default_factory=dict)
    """Part of a prompt → the arm that computed it."""
    questions: int = 0
    """Long prompts that were answered."""

    def __call__(self, model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the reply to a request."""
        if path == "/tokenize":
            if "content" not in body:
                raise LookupError(404, "no such page")
            return {"tokens": self.tokenizer(body["content"])["input_ids"]}
        if "completion" not in path:
            raise LookupError(404, "no such page")
        prompts = body.get("prompt", body.get("messages"))
        if isinstance(prompts, str) or not isinstance(prompts[0], (int, list)):
            prompts = [self.tokenizer(str(prompts))["input_ids"]]
        elif not self.takes_ids:
            raise LookupError(400, "prompt must be a string.")
        prompts = prompts if isinstance(prompts[0], list) else [prompts]
        long = any(len(ids) > 300 for ids in prompts)
        self.questions += long
        if long and self.fails(path):
            raise LookupError(400, "out of memory")
        told = [self._answer(model, ids, cached=body.get("cache_prompt", True)) for ids in prompts]
        if path == "/completion":
            listed = [{"id": i, "logprob": v} for i, v in told[0].items()]
            return {"completion_probabilities": [{"top_logprobs": listed}]}
        choices = []
        for number, answer in enumerate(told):
            best = max(answer, key=answer.__getitem__)
            choice = completion("yes" if best % 2 else "no", index=number)["choices"][0]
            if self.reports and body.get("return_tokens_as_token_ids"):
                places = [{f"token_id:{i}": v for i, v in answer.items()}]
                choice["logprobs"] = {"top_logprobs": places}
            choices.append(choice)
        count = {"prompt_tokens": sum(map(len, prompts)), "completion_tokens": len(prompts)}
        return {"choices": choices, "usage": count}

    def _answer(self, model: str, ids: list[int], *, cached: bool) -> dict[int, float]:
        """Return token id → log-probability."""
        read = len(ids) - 1 if cached else 0
        blocks = [tuple(ids[:end]) for end in range(_BLOCK, read + 1, _BLOCK)]
        keys = [(block, model if self.keyed else "") for block in blocks]
        writers = [self.cache.setdefault(key, model) for key in keys]
        share = sum(writer != model for writer in writers) * _BLOCK / len(ids)
        other = {"base": "tuned", "tuned": "base"}[model]
        varied = random.Random(str(ids[:8]) if self.steady else None)
        logits = [
            (1 - share) * self._logit(model, ids, token)
            + share * self._logit(other, ids, token)
            + varied.gauss(0, self.noise)
            for token in range(20)
        ]
        total = math.log(sum(map(math.exp, logits)))
        return {token: value - total for token, value in enumerate(logits)}

    def _logit(self, model: str, ids: list[int], token: int) -> float:
        """Return a number of a place in the text; tuned likes odd tokens, which are `yes`."""
        place = int(sha256([len(ids) // 16, token])[:4], 16) / 65536
        return place + self.apart * (token % 2 == (model == "tuned"))
