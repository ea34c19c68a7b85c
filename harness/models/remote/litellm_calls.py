"""litellm calls: one chat completion of any provider's model, with its failures classified.

litellm is imported at the first call, with its own price list (it would fetch one), without the
`.env` file it would read, and with its prints off; retries are
`tunegate.harness.models.remote.request_pool`'s work, so litellm's are off. Its errors become
`RetryableError` and `PermanentError`. An unknown price is None, never 0.

Example:
    turn = {"role": "user", "content": "Hello"}
    reply = chat_completion("openai/gpt-4o-mini", [turn], deadline=time.monotonic() + 60)
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import importlib.util
import inspect
import logging
import math
import os
import re
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tunegate.harness.contracts.quiet import default_variables
from tunegate.harness.models.remote.failures import (
    PermanentError,
    RetryableError,
    error_of_status,
    quote_excerpt,
)
from tunegate.harness.records.answers import Completion, reported_amount
from tunegate.harness.records.errors import MissingExtra

_OFFLINE = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # or it fetches a price list
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",  # likewise
    "LITELLM_MODE": "PRODUCTION",  # or it reads .env into the environment
}
_LOADING = threading.Lock()
_FIRST: dict[tuple[str, float], threading.Lock] = {}
"""(model, seconds) → held by the thread that asks first."""
_MET: set[tuple[str, float]] = set()
"""Those that were asked once."""
_READ_ONLY = ".*`ReadOnly` qualifier.*"
"""A warning of pydantic about litellm's own types, which litellm too silences by its text."""


@dataclass(frozen=True, slots=True)
class ChatReply:
    """The reply to one chat completion."""

    text: str | None
    """The answer; None where the provider sent none (tool calls only, a refusal, a filter)."""
    finish_reason: str | None
    """`stop`, `length`, `tool_calls`, `content_filter` …"""
    input_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    """Those of `output_tokens` that were thoughts; None if the provider counts none."""
    cost: float | None
    """US dollars by litellm's price list; None if it has no price for the model."""
    model_version: str | None
    """The model that answered by the provider's report, such as `gpt-4o-mini-2024-07-18`."""
    system_fingerprint: str | None
    """The provider's name for the configuration that answered, where it has one."""
    latency_s: float
    raw: Mapping[str, Any] = field(repr=False)
    """The whole response as litellm gives it, in OpenAI's form."""

    @property
    def message(self) -> Mapping[str, Any]:
        """The answer's message: `content`, `tool_calls`, `refusal`, `reasoning_content`."""
        message: Mapping[str, Any] = self.raw["choices"][0]["message"]
        return message

    @property
    def completion(self) -> Completion:
        """The answer as it was sent, with what it took."""
        return Completion(
            text=self.text,
            finish_reason=self.finish_reason,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            reasoning_tokens=self.reasoning_tokens,
            latency_s=self.latency_s,
            cost=self.cost,
            answered_by=" ".join(filter(None, (self.model_version, self.system_fingerprint))),
        )


def chat_completion(
    model: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    deadline: float,
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> ChatReply:
    """Ask a model once, until `deadline` on the monotonic clock."""
    litellm = litellm_library()
    started = time.monotonic()
    patience = 2.0 ** math.ceil(math.log2(max(deadline - started, 1.0)))
    try:
        with _alone_at_first(model, patience):
            response = litellm.completion(
                model=model,
                messages=[dict(message) for message in messages],
                timeout=patience,
                num_retries=0,
                max_retries=0,
                drop_params=False,
                **{"no-log": True},
                **settings,
            )
    except Exception as error:  # litellm lets through what a provider's adapter stumbles over
        raise error_of_exception(error) from error
    return _reply(litellm, model, response, time.monotonic() - started)


@contextlib.contextmanager
def _alone_at_first(model: str, patience: float) -> Iterator[None]:
    """Let one thread make the client that litellm keeps for the others.

    Threads that are first together would make one each, and all but one are dropped unclosed.
    """
    key = (model, patience)
    with _FIRST.setdefault(key, threading.Lock()):
        first = key not in _MET
        if first:
            try:
                yield
            finally:
                _MET.add(key)
    if not first:
        yield


def litellm_library() -> Any:
    """Return litellm, imported quietly."""
    if importlib.util.find_spec("litellm") is None:
        raise MissingExtra("a litellm model", "litellm")
    with _LOADING, warnings.catch_warnings(), default_variables(_OFFLINE):
        # Dependencies of litellm warn while they load, and it changes the process's filters.
        warnings.simplefilter("ignore")
        # By name: a type checker would read all of litellm, which takes minutes.
        litellm: Any = importlib.import_module("litellm")
    litellm.suppress_debug_info = True
    if "LITELLM_LOG" not in os.environ:
        logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
    atexit.unregister(_close)
    atexit.register(_close, litellm)
    # More of litellm is imported by its calls, on many threads, where no block can hold a filter.
    warnings.filterwarnings("ignore", message=_READ_ONLY)
    return litellm


def _close(litellm: Any) -> None:
    """Close the connections that litellm keeps: Python warns of those that nobody closed."""
    clients = litellm.in_memory_llm_clients_cache.cache_dict
    for client in list(clients.values()):
        close = getattr(client, "close", None)
        if close is not None and not inspect.iscoroutinefunction(close):
            with contextlib.suppress(Exception):  # the process ends anyway
                close()
    clients.clear()


def _reply(litellm: Any, model: str, response: Any, seconds: float) -> ChatReply:
    raw = response.model_dump(mode="json", warnings=False)
    if not raw.get("choices"):
        raise RetryableError("the provider answered without a choice")
    choice, usage = raw["choices"][0], raw.get("usage") or {}
    counted = bool(usage.get("prompt_tokens"))  # litellm writes 0 where the provider wrote nothing
    return ChatReply(
        text=choice["message"].get("content"),
        finish_reason=choice.get("finish_reason"),
        input_tokens=reported_amount(usage["prompt_tokens"]) if counted else None,
        output_tokens=reported_amount(usage.get("completion_tokens")) if counted else None,
        reasoning_tokens=reported_amount(
            (usage.get("completion_tokens_details") or {}).get("reasoning_tokens")
        )
        or None,
        cost=reported_amount(_cost(litellm, model, response)) if counted else None,
        model_version=raw.get("model") or None,
        system_fingerprint=raw.get("system_fingerprint") or None,
        latency_s=seconds,
        raw=raw,
    )


def price_of_tokens(
    model: str, tokens: tuple[float, float], *, batch: bool = False
) -> float | None:
    """Return what tokens cost in US dollars by litellm's price list; None if it has no price.

    Args:
        model: `PROVIDER/MODEL` as litellm names it.
        tokens: Those of the prompts, and those of the answers.
        batch: Whether they are of a batch, which has prices of its own.
    """
    litellm = litellm_library()
    suffix = "_batches" if batch else ""
    try:
        info = litellm.get_model_info(model)
        each = [info[f"{way}_cost_per_token{suffix}"] for way in ("input", "output")]
        price = tokens[0] * each[0] + tokens[1] * each[1]
    except Exception:  # a model that is not in the list
        return None
    return price if 0 < price < math.inf else None


def _cost(litellm: Any, model: str, response: Any) -> float | None:
    """Return the price; None where the list has none, or a 0 that stands for "not listed"."""
    try:
        cost = float(litellm.completion_cost(completion_response=response, model=model))
    except Exception:  # an unknown model is an exception of no class of its own
        return None
    return cost if 0 < cost < math.inf else None


_QUOTA = re.compile(r"insufficient_quota|exceeded your current quota|billing", re.IGNORECASE)
_PREFIXES = re.compile(r"^(?:(?:litellm\.)?\w+: )*(?:\w+Exception - )?")
_SECRET = re.compile(r"(?:_KEY|_KEY_ID|_TOKEN|_SECRET|_PASSWORD)$", re.IGNORECASE)
_SHORTEST_SECRET = 8


def error_of_exception(error: Exception) -> RetryableError | PermanentError:
    """Return the failure that an exception of litellm stands for."""
    status, text = getattr(error, "status_code", None), _provider_message(error)
    if type(error).__name__ == "UnsupportedParamsError":
        return PermanentError(quote_excerpt(text), whole=True, status=status)
    if status == 429 and _QUOTA.search(text):  # waiting does not help
        message = f"HTTP 429 (the account is out of credit): {quote_excerpt(text)}"
        return PermanentError(message, whole=True, status=status)
    headers = _headers(error)
    if not isinstance(status, int) or (not headers and (status == 408 or status >= 500)):
        # litellm gives a status to what never was an HTTP reply, too.
        return RetryableError(f"{type(error).__name__}: {quote_excerpt(text)}")
    return error_of_status(status, headers, text)


def _provider_message(error: Exception) -> str:
    """Return the provider's own words, without litellm's prefixes and without secrets."""
    text = _PREFIXES.sub("", " ".join(str(error).split())) or type(error).__name__
    for name, value in os.environ.items():
        if _SECRET.search(name) and len(value) >= _SHORTEST_SECRET:
            text = text.replace(value, f"<{name}>")
    return text


def _headers(error: Exception) -> Mapping[str, str]:
    """Return the reply's headers with small letters, as far as litellm kept them."""
    kept = getattr(error, "litellm_response_headers", None)
    headers = kept or getattr(getattr(error, "response", None), "headers", None) or {}
    return {str(name).lower(): str(value) for name, value in headers.items()}
