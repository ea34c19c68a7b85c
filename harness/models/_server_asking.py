"""One question to a server: its body, and the completion that comes back."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.generation import Generation
from harness.model import Request
from harness.models._chat import bounds_of
from harness.models._server_form import Form, wire
from harness.models._server_place import Place
from harness.models._server_reply import Written, choices, prompt_logprobs, written
from harness.models.continuation import continuations
from harness.records import CellKind, Completion
from harness.remote.failure import Later, Refused
from harness.remote.http import Http

_STOPS = 4
"""Texts that end a completion which OpenAI's servers take; further ones are cut off here."""


@dataclass(frozen=True)
class Asker:
    """Asks one model of a server."""

    where: Place
    form: Form
    tokenizer: Any

    def ask(self, http: Http, request: Request, deadline: float) -> Completion:
        """Return the completion of a request.

        Raises:
            Later: there is none yet.
            Refused: there will be none.
        """
        try:
            if request.kind in (CellKind.CHOICES, CellKind.ANSWER):
                return self._scored(http, request, deadline)
            path, body = self._body(request)
        except ValueError as error:
            raise Refused(str(error), whole=False) from error
        clock = time.perf_counter()
        told = written(http.post_json(f"{self.where.url}/{path}", body, deadline=deadline))
        return self._completion(request, told, time.perf_counter() - clock)

    def _body(self, request: Request) -> tuple[str, dict[str, Any]]:
        body = {"model": self.where.model, **_decoding(request.generation, request.seed)}
        body |= self.form.plain
        if self.form.prompts != "messages":
            return "completions", {
                **body,
                "prompt": wire(self.form, self.tokenizer, request.prompt),
            }
        if request.generation.template == "none":
            return "completions", {**body, "prompt": request.prompt.text}
        body["messages"] = list(request.case.input_messages(request.generation.system))
        return "chat/completions", body | bounds_of(request.case)

    def _completion(self, request: Request, told: Written, seconds: float) -> Completion:
        text, reason = told.text, told.finish_reason
        for stop in request.generation.stop:
            text, found, _ = text.partition(stop)
            reason = "stop" if found else reason
        return Completion(
            text=text,
            finish_reason=reason,
            input_tokens=told.input_tokens,
            output_tokens=self._length(told),
            latency_s=round(seconds, 6),
            batch_size=1 if request.kind is CellKind.LATENCY else None,
        )

    def _length(self, told: Written) -> int | None:
        """Return the answer's tokens without the end marker, which some servers count.

        An answer that was cut has none; without a tokenizer the server's count is all there is.
        """
        if told.output_tokens is None or self.tokenizer is None or told.finish_reason != "stop":
            return told.output_tokens
        ours = len(self.tokenizer(told.text, add_special_tokens=False)["input_ids"])
        return ours if ours == told.output_tokens - 1 else told.output_tokens

    def _scored(self, http: Http, request: Request, deadline: float) -> Completion:
        """Return the likelihood of the given texts, all asked in one question."""
        context = request.prompt.token_ids or ()
        texts = continuations(self.tokenizer, request)
        if not context or not texts:
            raise ValueError("the prompt is empty after tokenising")
        prompts = [[*context, *ids] for ids in texts]
        clock = time.perf_counter()
        sums = self._sums(http, prompts, [len(ids) for ids in texts], deadline)
        fields: dict[str, Any]
        if request.kind is CellKind.CHOICES:
            fields = {"choice_logprobs": tuple(sums)}
        else:
            # Several right answers: the likeliest one counts.
            pairs = zip(sums, texts, strict=True)
            fields = {"answer_logprob": max(total / len(ids) for total, ids in pairs)}
        seconds = round(time.perf_counter() - clock, 6)
        return Completion(input_tokens=len(context), latency_s=seconds, **fields)

    def _sums(
        self, http: Http, prompts: list[list[int]], lengths: Sequence[int], deadline: float
    ) -> list[float]:
        body = {"model": self.where.model, "prompt": prompts, "max_tokens": 1, "temperature": 0.0}
        body |= self.form.logprobs or {}
        reply = http.post_json(f"{self.where.url}/completions", body, deadline=deadline)
        sums = []
        for choice, ids, n in zip(choices(reply, len(prompts)), prompts, lengths, strict=True):
            values = prompt_logprobs(choice, ids)
            if values is None:
                raise Later("the reply lacks log-probabilities of the prompt")
            sums.append(sum(values[-n:]))
        return sums


def _decoding(generation: Generation, seed: int) -> Mapping[str, Any]:
    """Return the settings of decoding; a greedy answer needs neither seed nor top_p."""
    body: dict[str, Any] = {
        "max_tokens": generation.max_new_tokens,
        "temperature": generation.temperature,
    }
    if generation.temperature:
        body |= {"top_p": generation.top_p, "seed": seed}
    if generation.stop:
        body["stop"] = list(generation.stop[:_STOPS])
    return body
