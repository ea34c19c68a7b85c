"""`litellm:PROVIDER/MODEL`: a hosted model, asked through litellm; base against a fine-tune of it.

The provider's key and address come from its own environment variables (`OPENAI_API_KEY`,
`HOSTED_VLLM_API_BASE` …). Opening an arm asks one question: it finds a wrong key or name before any
case is spent, and the version of the model that answers, which is part of the arm's fingerprint. An
answer of another version ends the run, for answers of two models cannot be mixed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from itertools import product
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from tunegate.harness.contracts.model import PoolLimits, Prompt, Request
from tunegate.harness.contracts.reasoning import message_thoughts, separate_thoughts
from tunegate.harness.models._chat_template import PROBES
from tunegate.harness.models.remote.answer_requests import answer_requests
from tunegate.harness.models.remote.chat_message import UnansweredMessage, answer_of
from tunegate.harness.models.remote.chat_settings import (
    UNOFFERED_CALL,
    bounds_of,
    cut_at_stops,
    offers_tools,
    sampling_parameters,
    settings_of,
    thinking_parameters,
    wire_messages,
)
from tunegate.harness.models.remote.failures import PermanentError, RequestFailure
from tunegate.harness.models.remote.litellm_calls import ChatReply, chat_completion
from tunegate.harness.models.remote.litellm_provider import (
    accepted_parameters,
    provider_of,
    settings_problem,
)
from tunegate.harness.models.remote.request_pool import ask_all
from tunegate.harness.records.answers import GENERATED, CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import BackendError, ModelError
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.hashing import canonical_json, sha256
from tunegate.harness.records.images import hashed_messages

SPEC = "litellm:PROVIDER/MODEL"
_HELLO = "Say hello."
_GREETING = 512
"""Tokens of the first answer at most: a model that reasons must get to its end."""
_PROBE = 24
"""Tokens of a probe's answer at most."""


@dataclass
class LitellmArm:
    """A hosted model as it answered when it was opened."""

    spec: str
    model: str
    """`PROVIDER/MODEL` as litellm names it."""
    provider: str
    limits: PoolLimits
    version: str | None = None
    """The model that answers, by the provider's own report."""
    system_fingerprint: str | None = None
    """The provider's name for its configuration, of the first answer."""
    accepted: frozenset[str] = frozenset()
    """OpenAI's names of the parameters that the model takes."""
    remote: Literal[True] = True
    probed: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Answers to each probe text, asked twice."""
    checked: dict[str, str | None] = field(default_factory=dict, repr=False)
    """Settings → why the model does not take them."""

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The provider's description of the model, which is all that is known of it."""
        return {
            "spec": self.spec,
            "backend": "litellm",
            "provider": self.provider,
            "model": self.model,
            "model_version": self.version,
            "system_fingerprint": self.system_fingerprint,
            "place": _address(self.provider),
            "prompts": "messages",
            "engine": f"litellm {metadata.version('litellm')}",
        }

    @cached_property
    def fingerprint(self) -> str:
        """Hash of model, version and address: another version is another arm."""
        known = ("backend", "provider", "model", "model_version", "place")
        return sha256({key: self.identity[key] for key in known})

    @property
    def kinds(self) -> frozenset[CellKind]:
        """Completions, timed or not: a chat API gives no log-likelihoods of given texts."""
        return GENERATED - {CellKind.DRAFTS}

    @property
    def image_kinds(self) -> frozenset[CellKind]:
        """What it writes; a model that sees no images is the provider's to refuse."""
        return GENERATED

    def cannot(self, kind: CellKind) -> str:
        """Return why it answers no questions of `kind`, and who does."""
        what = "counts of drafted tokens" if kind is CellKind.DRAFTS else "log-likelihoods"
        return (
            f"{self.spec}: a hosted chat model gives no {what}, which {kind.value!r} "
            "questions ask for; take a metric of what it writes (exact_match, multiple_choice …), "
            "or a model that computes here or behind server:"
        )

    def prompt(self, case: Case, generation: GenerationSettings) -> Prompt:
        """Return the conversation and the tools as they are sent."""
        if generation.template == "none":
            raise ModelError(
                f'{self.spec}: a chat API cannot be asked with template = "none"; leave it out '
                "under [generation]"
            )
        if generation.chat_template is not None:
            raise ModelError(
                f"{self.spec}: a chat API applies its own chat template; remove chat_template "
                "under [generation]"
            )
        thinking = thinking_parameters(self.spec, generation, self.provider, self.accepted)
        messages = hashed_messages(case.input_messages(generation.system))
        sent = {"messages": messages, **bounds_of(case)}
        parameters = sampling_parameters(generation) | bounds_of(case) | thinking
        self._refuse_settings({k: v for k, v in parameters.items() if k != "extra_body"})
        return Prompt(canonical_json(sent | thinking))

    def shared_limit(self, generation: GenerationSettings) -> str | None:
        """Return that thoughts and answer have one limit, and how the budget is passed on."""
        if generation.budget is None:
            return None
        parameters = thinking_parameters(self.spec, generation, self.provider, self.accepted)
        fields = [
            f"{k}={parameters[k]}" for k in ("thinking", "reasoning_effort") if k in parameters
        ]
        return (
            f"{self.spec} has one limit for thoughts and answer ({generation.most_tokens} tokens): "
            f"the budget is sent as {fields[0] if fields else 'nothing'}, and is not kept here"
        )

    def ask_probes(self) -> None:
        """Ask each probe text twice, unless that was done: greedily, if it can be."""
        if self.probed:
            return
        settings = {"max_tokens": _PROBE, "temperature": 0.0}
        if settings_problem(self.model, settings):
            settings.pop("temperature")
        replies = {}
        for (probe, turn), result in ask_all(
            product(PROBES, (0, 1)),
            lambda probe_turn, deadline: self._reply([_user(probe_turn[0])], settings, deadline),
            self.limits,
            backend=self.spec,
        ):
            if isinstance(result, RequestFailure):
                raise BackendError(f"{self.spec}: {result.message}")
            replies[probe, turn] = result.text or ""
        self.probed = tuple((replies[probe, 0], replies[probe, 1]) for probe in PROBES)

    def complete(self, requests: Sequence[Request]) -> Generator[StoredAnswer, None, None]:
        """Yield one answer a request, each as soon as it is there."""
        return self.complete_joined(requests, None)

    def complete_joined(
        self, requests: Sequence[Request], more: Callable[[], Sequence[Request]] | None
    ) -> Generator[StoredAnswer, None, None]:
        """Yield the answers as they come, those to what `more` returns meanwhile included."""
        return answer_requests(requests, more, self._answer, self.limits, backend=self.spec)

    def _answer(self, request: Request, deadline: float) -> Completion:
        generation = request.generation
        messages = wire_messages(request.case, generation.system)
        settings = settings_of(request, self.accepted)
        settings |= thinking_parameters(self.spec, generation, self.provider, self.accepted)
        reply = self._reply(messages, settings, deadline)
        try:
            thought = _split(reply, generation)
        except UnansweredMessage as error:
            raise PermanentError(str(error), whole=False) from error
        if reply.message.get("tool_calls") and not offers_tools(request.case):
            raise PermanentError(UNOFFERED_CALL, whole=False)
        text = thought.text or ""
        kept = cut_at_stops(text, generation.stop)
        return reply.completion.model_copy(
            update={
                "text": kept,
                "reasoning": thought.reasoning,
                "reasoning_closed": thought.reasoning_closed,
                "reasoning_tags": thought.reasoning_tags,
                "finish_reason": reply.finish_reason if kept == text else "stop",
                "batch_size": 1,
            }
        )

    def _reply(self, messages: Sequence[Any], settings: Any, deadline: float) -> ChatReply:
        """Ask once."""
        reply = chat_completion(self.model, messages, deadline=deadline, settings=settings)
        if self.version is not None and reply.model_version != self.version:
            raise PermanentError(
                f"{reply.model_version} answers now, {self.version} answered before: answers of "
                "two versions cannot be mixed. Run again to ask the new version every case (what "
                "the old one answered stays stored), or name a dated version in the spec",
                whole=True,
            )
        return reply

    def _refuse_settings(self, settings: dict[str, Any]) -> None:
        key = canonical_json(settings)
        if key not in self.checked:
            self.checked[key] = settings_problem(self.model, settings)
        if self.checked[key]:
            raise ModelError(f"{self.spec} does not take the suite's settings: {self.checked[key]}")

    def meet(self) -> None:
        """Ask one question, and note which version of the model answers."""
        ((_, reply),) = ask_all([_HELLO], self._greet, self.limits, backend=self.spec)
        if isinstance(reply, RequestFailure):
            raise BackendError(f"{self.spec}: {reply.message}")
        self.version, self.system_fingerprint = reply.model_version, reply.system_fingerprint

    def _greet(self, text: str, deadline: float) -> ChatReply:
        try:
            return self._reply([_user(text)], {"max_tokens": _GREETING}, deadline)
        except PermanentError as error:
            # Nothing was spent yet: this is a mistake in the spec or the key, not a failed backend.
            raise ModelError(f"{self.spec}: {error}") from error


def litellm(target: str, *, limits: PoolLimits | None = None) -> LitellmArm:
    """Open `PROVIDER/MODEL`."""
    spec = f"litellm:{target}"
    provider = provider_of(spec, target)
    arm = LitellmArm(
        spec, target, provider, limits or PoolLimits(), accepted=accepted_parameters(target)
    )
    arm.meet()
    return arm


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _address(provider: str) -> str | None:
    """Return the address in the provider's own variable, without a user's name; None if unset."""
    names = (f"{provider.upper()}_BASE_URL", f"{provider.upper()}_API_BASE")
    address = next((os.environ[name] for name in names if os.environ.get(name)), None)
    if address is None:
        return None
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _split(reply: ChatReply, generation: GenerationSettings) -> Completion:
    """Return a reply's answer with its thoughts apart, by the provider or by their tags."""
    thoughts = message_thoughts(reply.message)
    try:
        text = answer_of(reply.message, reply.finish_reason)
    except UnansweredMessage:
        thought = thoughts is not None or reply.reasoning_tokens is not None
        if not thought or reply.finish_reason == "content_filter":
            raise
        # The model spent its tokens on thoughts: an answer like any other, not a failed call.
        closed = reply.finish_reason != "length"
        return Completion(text="", reasoning=thoughts, reasoning_closed=closed)
    if thoughts is None:
        return separate_thoughts(Completion(text=text), generation)
    return Completion(text=text, reasoning=thoughts, reasoning_closed=True)
