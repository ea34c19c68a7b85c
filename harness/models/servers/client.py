"""Server client: asks one model of an OpenAI-compatible server a question."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunegate.harness.contracts.decoding import special_texts, thinking_tokens
from tunegate.harness.contracts.model import Request
from tunegate.harness.contracts.reasoning import separate_thoughts
from tunegate.harness.models._chat_template import chat_variables
from tunegate.harness.models._continuations import continuation_ids
from tunegate.harness.models.remote.chat_settings import (
    STOPS,
    UNOFFERED_CALL,
    bounds_of,
    cut_at_stops,
    offers_tools,
    wire_messages,
)
from tunegate.harness.models.remote.failures import PermanentError, RetryableError
from tunegate.harness.models.remote.http import HttpClient
from tunegate.harness.models.servers.dialect import UNKNOWN, ServerConnection, ServerDialect
from tunegate.harness.models.servers.protocol import ServerProtocol, one_token, wire_prompt
from tunegate.harness.models.servers.replies import (
    ServerCompletion,
    is_foreign,
    ordered_choices,
    parse_completion,
    prompt_logprobs,
)
from tunegate.harness.models.servers.target import ServerTarget
from tunegate.harness.records.answers import CellKind, Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.generation import GenerationSettings


@dataclass(frozen=True)
class ServerClient:
    """Asks one model of a server."""

    where: ServerTarget
    form: ServerProtocol
    tokenizer: Any
    dialect: ServerDialect = UNKNOWN
    any_model: bool = False
    """Whether a reply counts though a model of another name wrote it."""

    def ask(self, http: HttpClient, request: Request, deadline: float) -> Completion:
        """Return the completion of a request."""
        try:
            if request.kind in (CellKind.CHOICES, CellKind.ANSWER):
                return self._scored(http, request, deadline)
            path, body = self._body(request)
        except ValueError as error:
            raise PermanentError(str(error), whole=False) from error
        clock = time.perf_counter()

        def ask(**fields: Any) -> dict[str, Any]:
            url = f"{self.where.url}/{path}"
            return http.post_json(url, {**body, **fields}, deadline=deadline)

        drafts = None
        if request.kind is CellKind.DRAFTS:
            answered, drafts = self.dialect.ask_counted(ServerConnection(http, self.where), ask)
        else:
            answered = ask()
        reply = parse_completion(answered)
        other = reply.model is not None and is_foreign(self.where.model, reply.model)
        if other and not self.any_model:
            raise PermanentError(
                f"{reply.model!r} answered instead of {self.where.model!r}, by the server's "
                "own report: is it a proxy with a fallback?",
                whole=False,
            )
        if reply.calls_tools and not offers_tools(request.case):
            raise PermanentError(UNOFFERED_CALL, whole=False)
        done = self._completion(request, reply, time.perf_counter() - clock)
        if drafts is None:
            return done
        counts = {"drafted_tokens": drafts.drafted, "accepted_tokens": drafts.accepted}
        return done.model_copy(update=counts)

    def _body(self, request: Request) -> tuple[str, dict[str, Any]]:
        body = {"model": self.where.model, **_decoding_settings(request.generation, request.seed)}
        body |= self.form.plain
        if not self.sends_messages(request.case):
            if thinking_tokens(self.tokenizer):
                body["skip_special_tokens"] = False  # or the tags of the thoughts are dropped
            return "completions", {
                **body,
                "prompt": wire_prompt(self.form, self.tokenizer, request.prompt),
            }
        if request.generation.template == "none":
            return "completions", {**body, "prompt": request.prompt.text}
        body["messages"] = wire_messages(request.case, request.generation.system)
        body |= self.chat_fields(request.generation)
        return "chat/completions", body | bounds_of(request.case)

    def sends_messages(self, case: Case) -> bool:
        """Return whether the server renders a case: it does where there are images."""
        return self.form.prompts == "messages" or bool(case.images)

    def chat_fields(self, generation: GenerationSettings) -> dict[str, Any]:
        """Return the fields of a chat request by which the server renders as the suite wants."""
        tokenizer = self.tokenizer
        variables = None
        if tokenizer is not None and (generation.chat_template or tokenizer.chat_template):
            variables = chat_variables(tokenizer, generation, spec=self.where.spec())
        return self.dialect.chat_fields(generation, variables)

    def _completion(self, request: Request, reply: ServerCompletion, seconds: float) -> Completion:
        generation = request.generation
        split = self._split(request, reply)
        written = split.text or ""
        text = cut_at_stops(written, generation.stop)
        answer = split.model_copy(
            update={
                "text": text,
                "finish_reason": reply.finish_reason if text == written else "stop",
                "input_tokens": reply.input_tokens,
                "output_tokens": self._length(reply),
                "latency_s": round(seconds, 6),
                "batch_size": 1 if request.kind is CellKind.LATENCY else None,
            }
        )
        return keep_limits(answer, generation, self.tokenizer)

    def _split(self, request: Request, reply: ServerCompletion) -> Completion:
        """Return the reply's text with its thoughts apart, by the server or by their tags."""
        if reply.reasoning is not None:
            closed = bool(reply.text.strip()) or reply.finish_reason != "length"
            fields: dict[str, Any] = {"reasoning": reply.reasoning, "reasoning_closed": closed}
            split = Completion(text=reply.text, **fields)
        else:
            plain = request.generation.template == "none"
            here = plain or not self.sends_messages(request.case)
            split = separate_thoughts(
                Completion(text=reply.text),
                request.generation,
                prompt=request.prompt.text if here else None,
            )
            special = () if self.tokenizer is None else special_texts(self.tokenizer)
            if thinking_tokens(self.tokenizer):
                split = split.model_copy(update={"text": _without(split.text or "", special)})
        count = reply.reasoning_tokens
        if count is None and split.reasoning is not None and self.tokenizer is not None:
            before, after = split.reasoning_tags or ("", "")
            thoughts = f"{before}{split.reasoning}{after.rstrip()}"
            count = len(self.tokenizer(thoughts, add_special_tokens=False)["input_ids"])
        return split.model_copy(update={"reasoning_tokens": count})

    def _length(self, reply: ServerCompletion) -> int | None:
        """Return the answer's tokens without the end marker, which some servers count.

        A truncated answer has no end marker; without a tokenizer the server's count is used.
        """
        if reply.output_tokens is None or self.tokenizer is None or reply.finish_reason != "stop":
            return reply.output_tokens
        ours = len(self.tokenizer(reply.text, add_special_tokens=False)["input_ids"])
        return ours if ours == reply.output_tokens - 1 else reply.output_tokens

    def _scored(self, http: HttpClient, request: Request, deadline: float) -> Completion:
        """Return the likelihood of the given texts, all asked in one question."""
        context = request.prompt.token_ids or ()
        texts = continuation_ids(self.tokenizer, request)
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
        self, http: HttpClient, prompts: list[list[int]], lengths: Sequence[int], deadline: float
    ) -> list[float]:
        body = one_token(self.where, prompt=prompts, **(self.form.logprobs or {}))
        reply = http.post_json(f"{self.where.url}/completions", body, deadline=deadline)
        sums = []
        for choice, ids, n in zip(
            ordered_choices(reply, len(prompts)), prompts, lengths, strict=True
        ):
            values = prompt_logprobs(choice, ids)
            if values is None:
                raise RetryableError("the reply lacks log-probabilities of the prompt")
            sums.append(sum(values[-n:]))
        return sums


def _without(text: str, parts: Sequence[str]) -> str:
    for part in parts:
        text = text.replace(part, "")
    return text


def _decoding_settings(generation: GenerationSettings, seed: int) -> Mapping[str, Any]:
    """Return the settings of decoding; a greedy answer needs neither seed nor top_p."""
    body: dict[str, Any] = {
        "max_tokens": generation.most_tokens,
        "temperature": generation.temperature,
    }
    if generation.temperature:
        body |= {"top_p": generation.top_p, "seed": seed}
    if generation.stop and generation.thinking != "on":  # a stop must not end the thoughts
        body["stop"] = list(generation.stop[:STOPS])
    return body


def keep_limits(
    completion: Completion, generation: GenerationSettings, tokenizer: Any
) -> Completion:
    """Cut a server's answer to the suite's limits: servers have one for thoughts and answer.

    Thoughts that took more than their budget are cut there, and no answer follows them; an answer
    is cut at `max_new_tokens`. Without a tokenizer thoughts are cut by the number of their tokens
    that the server reports, with their text whole, and answers are not cut.
    """
    budget = generation.budget
    if budget is None:
        return completion
    (before, after), reasoning = completion.reasoning_tags or ("", ""), completion.reasoning or ""
    if completion.thinks and (completion.reasoning_tokens or 0) > budget:
        if tokenizer is not None:
            written = f"{before}{reasoning}{after}"
            reasoning = _first_tokens(tokenizer, written, budget).removeprefix(before)
        cut: dict[str, Any] = {"text": "", "reasoning": reasoning, "reasoning_closed": False}
        cut |= {"reasoning_tokens": budget, "finish_reason": "length"}
        tags = completion.reasoning_tags and (before, "")
        return completion.model_copy(update={**cut, "reasoning_tags": tags})
    if tokenizer is None:
        return completion
    space = after[len(after.rstrip()) :]  # the engine counts it with the answer
    text = f"{space}{completion.text or ''}"
    kept = _first_tokens(tokenizer, text, generation.max_new_tokens)
    if kept == text:
        return completion
    return completion.model_copy(update={"text": kept[len(space) :], "finish_reason": "length"})


def _first_tokens(tokenizer: Any, text: str, count: int) -> str:
    """Return the text of at most `count` tokens."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return text if len(ids) <= count else str(tokenizer.decode(ids[:count]))
