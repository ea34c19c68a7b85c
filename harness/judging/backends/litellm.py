"""`litellm:PROVIDER/MODEL`: any model that litellm knows as judge, at temperature 0.

The reply's JSON schema is sent along where the provider takes one; the key is where litellm looks
for it, in the environment. The model's version that the provider reports is part of the record.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tunegate.harness.judge import JudgeAnswer, JudgeQuestion
from tunegate.harness.judging.backends._chat import (
    MOST_TOKENS,
    USUAL,
    ask_questions,
    estimate_tokens,
    question_messages,
    schema_of,
    split_limits,
)
from tunegate.harness.records.cases import Completion, sha256
from tunegate.harness.remote.worker_pool import PoolLimits

SPEC = "litellm:PROVIDER/MODEL"


@dataclass(frozen=True)
class LitellmJudge:
    """A judge model behind litellm."""

    model: str
    limits: PoolLimits = USUAL
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of each call; by default temperature 0 and a limit on the reply."""

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
        """Yield an answer for each question, as many at once as the limits say."""
        yield from ask_questions(
            questions,
            self._ask,
            self.limits,
            cost_of=estimate_tokens,
            backend=f"litellm:{self.model}",
        )

    def _ask(self, question: JudgeQuestion, deadline: float) -> Completion:
        import time

        from tunegate.harness.remote import litellm

        reply = litellm.chat_completion(
            self.model,
            question_messages(question),
            timeout_s=max(0.1, deadline - time.monotonic()),
            settings={**self.settings, **self._form(question)},
        )
        return Completion(
            text=reply.text,
            finish_reason=reply.finish_reason,
            input_tokens=reply.input_tokens,
            output_tokens=reply.output_tokens,
            cost=reply.cost,
        )

    def _form(self, question: JudgeQuestion) -> dict[str, Any]:
        """Return the schema as this model takes it; nothing where it takes none."""
        from tunegate.harness.remote.litellm import litellm_library

        if litellm_library().supports_response_schema(model=self.model):
            return {"response_format": schema_of(question)}
        return {}


def litellm(target: str) -> LitellmJudge:
    """Open a model of litellm's as judge.

    Raises:
        MissingExtra: litellm is not installed.
        ModelError: the provider is unknown, or has no key in the environment.
    """
    from tunegate.harness.remote.litellm import litellm_library, provider_of

    place = split_limits("litellm", target)
    model = place.target
    provider_of(f"judge litellm:{model}", model)
    known = litellm_library().get_supported_openai_params(model=model) or [
        "temperature",
        "max_tokens",
    ]
    wanted = {"temperature": 0.0, "max_tokens": MOST_TOKENS, "seed": 0}
    return LitellmJudge(
        model, place.limits, settings={n: v for n, v in wanted.items() if n in known}
    )


def price(target: str, tokens: tuple[float, float]) -> float | None:
    """Return what tokens of prompts and of replies cost in US dollars; None if unknown.

    Raises:
        MissingExtra: litellm is not installed.
    """
    from tunegate.harness.remote.litellm import price_of_tokens

    return price_of_tokens(split_limits("litellm", target).target, tokens)
