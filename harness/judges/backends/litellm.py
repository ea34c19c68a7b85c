"""`litellm:PROVIDER/MODEL`: any model that litellm knows as judge, at temperature 0.

The reply's JSON schema is sent if the provider supports it; litellm takes the key from the
environment. The model version that the provider reports is recorded.

With `?batch=true` the questions of a round are sent as one batch, at the provider's batch price.
Its id is stored until the replies are there, so a run that was stopped collects them and pays once.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tunegate.harness.contracts.judge import JudgeAnswer, JudgeQuestion
from tunegate.harness.contracts.model import PoolLimits
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.judges.backends._chat import (
    MOST_TOKENS,
    ask_questions,
    question_messages,
    schema_of,
    spread_questions,
)
from tunegate.harness.judges.backends._limits import USUAL, split_limits
from tunegate.harness.models.remote.failures import PermanentError, RetryableError
from tunegate.harness.models.servers.replies import parse_completion
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.errors import ModelError
from tunegate.harness.records.hashing import sha256

if TYPE_CHECKING:
    from tunegate.harness.models.remote.batches import BatchReply

SPEC = "litellm:PROVIDER/MODEL"
LAG = 2
"""Questions, times the concurrency, asked before a second one about the same source."""
_CACHED = {"type": "ephemeral"}
"""Tells Anthropic's models to cache everything up to here."""
_MARKING = ("anthropic", "bedrock", "vertex_ai")
"""Providers of Anthropic's models, which only cache what is marked."""


@dataclass(frozen=True)
class LitellmJudge:
    """A judge model behind litellm."""

    model: str
    limits: PoolLimits = USUAL
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of each call; by default temperature 0 and a limit on the reply."""
    batch: str | None = None
    """The provider, if questions are sent as batches."""
    marked: bool = False
    """Whether repeated text is marked for the provider's cache."""
    store: AnswerCache | None = field(default=None, repr=False)
    """Keeps the id of a batch until its replies are there."""

    def keeping(self, store: AnswerCache | None) -> LitellmJudge:
        """Return the judge with a store for what is in progress."""
        return replace(self, store=store)

    @property
    def identity(self) -> Mapping[str, Any]:
        """The spec and the parameters of each call."""
        return {
            "spec": f"litellm:{self.model}",
            "backend": "litellm",
            "settings": dict(self.settings),
            "fingerprint": self.fingerprint,
        }

    @property
    def fingerprint(self) -> str:
        """Hash of model and parameters."""
        return sha256(["litellm", self.model, dict(self.settings)])

    def ask(self, questions: Mapping[str, JudgeQuestion]) -> Generator[JudgeAnswer, None, None]:
        """Yield an answer for each question, as many at once as the limits allow.

        Raises:
            BackendError: the provider as a whole is gone.
        """
        if self.batch is not None:
            yield from self._ask_in_batch(self.batch, dict(questions.items()))
            return
        begun = Counter(question.beginning for question in questions.values())

        def ask(question: JudgeQuestion, deadline: float) -> Completion:
            return self._ask(question, deadline, repeats=begun[question.beginning] > 1)

        yield from ask_questions(
            spread_questions(questions, lag=LAG * self.limits.concurrency),
            ask,
            self.limits,
            backend=f"litellm:{self.model}",
        )

    def _ask_in_batch(
        self, provider: str, questions: Mapping[str, JudgeQuestion]
    ) -> Generator[JudgeAnswer, None, None]:
        """Yield the replies of a stored or a new batch."""
        from tunegate.harness.models.remote.batches import collect_batch, submit_batch

        name = sha256(
            ["batch", self.fingerprint, sorted((k, q.hash) for k, q in questions.items())]
        )
        stored = {} if self.store is None else self.store.completions([name])
        began = time.time()
        if name in stored:
            batch_id = stored[name].text or ""
        else:
            batch_id = submit_batch(provider, {k: self._body(q) for k, q in questions.items()})
            self._note(name, Completion(text=batch_id))
        for reply in collect_batch(provider, batch_id):
            if reply.key in questions:
                yield self._batch_answer(reply, began)
        self._note(name, None)

    def _note(self, name: str, batch: Completion | None) -> None:
        """Store the id of a batch, or forget it."""
        if self.store is not None:
            error = None if batch is not None else "the batch has ended"
            self.store.put(JudgeAnswer(name, batch, error, time.time()), replace=True)

    def _body(self, question: JudgeQuestion) -> dict[str, Any]:
        from tunegate.harness.models.remote.litellm_calls import litellm_library

        name = litellm_library().get_llm_provider(self.model)[0]
        messages = question_messages(question)
        return {"model": name, "messages": messages, **self.settings, **self._form(question)}

    def _batch_answer(self, reply: BatchReply, began: float) -> JudgeAnswer:
        """Return a reply of a batch with its price."""
        from tunegate.harness.models.remote.litellm_calls import price_of_tokens

        if reply.body is None:
            return JudgeAnswer(reply.key, None, reply.error, began)
        try:
            parsed = parse_completion(reply.body)
        except (PermanentError, RetryableError) as failure:
            return JudgeAnswer(reply.key, None, str(failure), began)
        tokens = parsed.input_tokens or 0, parsed.output_tokens or 0
        completion = Completion(
            text=parsed.text,
            finish_reason=parsed.finish_reason,
            input_tokens=parsed.input_tokens,
            output_tokens=parsed.output_tokens,
            cost=price_of_tokens(self.model, tokens, batch=True),
        )
        return JudgeAnswer(reply.key, completion, None, began)

    def _ask(self, question: JudgeQuestion, deadline: float, *, repeats: bool) -> Completion:
        from tunegate.harness.models.remote import litellm_calls

        messages = question_messages(question)
        if self.marked:
            messages = _marked_messages(question, repeats=repeats)
        settings = {**self.settings, **self._form(question)}
        return litellm_calls.chat_completion(
            self.model, messages, deadline=deadline, settings=settings
        ).completion

    def _form(self, question: JudgeQuestion) -> dict[str, Any]:
        """Return the reply's schema, if the model supports one."""
        from tunegate.harness.models.remote.litellm_calls import litellm_library

        if litellm_library().supports_response_schema(model=self.model):
            return {"response_format": schema_of(question)}
        return {}


def _marked_messages(question: JudgeQuestion, *, repeats: bool) -> list[dict[str, Any]]:
    """Return the conversation, with cache marks after text that other questions share.

    Writing to the cache costs a quarter more, so text of this question alone is not marked.
    """
    system, user = question.system, question.text
    lead = question.shared_text if repeats else ""
    parts = [{"type": "text", "text": lead, "cache_control": _CACHED}] if lead else []
    parts.append({"type": "text", "text": user.removeprefix(lead)})
    return [
        {
            "role": "system",
            "content": [{"type": "text", "text": system, "cache_control": _CACHED}],
        },
        {"role": "user", "content": parts},
    ]


def litellm(target: str) -> LitellmJudge:
    """Open a model of litellm's as judge.

    Raises:
        MissingExtra: litellm is not installed.
        ModelError: the provider is unknown, or has no key in the environment.
    """
    from tunegate.harness.models.remote.batches import PROVIDERS
    from tunegate.harness.models.remote.litellm_calls import litellm_library
    from tunegate.harness.models.remote.litellm_provider import provider_of

    place = split_limits("litellm", target)
    model = place.target
    provider = provider_of(f"judge litellm:{model}", model)
    if place.batch and provider not in PROVIDERS:
        raise ModelError(
            f"judge litellm:{target}: batches are for {' and '.join(PROVIDERS)}, not {provider}; "
            "leave out batch=true"
        )
    supported = litellm_library().get_supported_openai_params(model=model) or [
        "temperature",
        "max_tokens",
    ]
    wanted = {"temperature": 0.0, "max_tokens": MOST_TOKENS, "seed": 0}
    return LitellmJudge(
        model,
        place.limits,
        settings={n: v for n, v in wanted.items() if n in supported},
        batch=provider if place.batch else None,
        marked=provider in _MARKING and "claude" in model,
    )


def price(target: str, tokens: tuple[float, float]) -> float | None:
    """Return what tokens of prompts and of replies cost in US dollars; None if unknown.

    Raises:
        MissingExtra: litellm is not installed.
    """
    from tunegate.harness.models.remote.litellm_calls import price_of_tokens

    place = split_limits("litellm", target)
    return price_of_tokens(place.target, tokens, batch=place.batch)
