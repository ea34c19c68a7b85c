"""Server discovery: the models of a server, and what it accepts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from tunegate.harness.contracts.model import PoolLimits
from tunegate.harness.models.remote.failures import PermanentError, RequestFailure, RetryableError
from tunegate.harness.models.remote.http import HttpClient
from tunegate.harness.models.remote.request_pool import ask_all
from tunegate.harness.models.servers.target import KEY, ServerTarget
from tunegate.harness.records.errors import BackendError, ModelError

OPENING = PoolLimits(concurrency=1, deadline_s=60.0, attempts=3)
"""Patience before the run: a server that loads the model at the first question needs a minute."""
_FIELDS = ("id", "root", "parent", "owned_by", "max_model_len")
"""Keys of a model's card that identify it; `created` is the time of the question at vLLM."""


@dataclass(frozen=True, slots=True)
class ServerModelCard:
    """A server's description of a model."""

    fields: Mapping[str, Any]
    """Its card, without times and states."""
    version: str | None
    """Version of the server, if it reports it."""
    parent_root: str | None = None
    """Folder of the weights of the model that this one is an adapter of."""

    @property
    def root(self) -> str | None:
        """Where its weights are, as the server sees it."""
        root = self.fields.get("root")
        return root if isinstance(root, str) else None


def ask_with_retries(
    ask: Callable[[float], dict[str, Any]], limits: PoolLimits = OPENING
) -> dict[str, Any]:
    """Return the answer to one question that is asked with patience."""
    refusals: list[PermanentError] = []

    def ask_once(question: int, deadline: float) -> dict[str, Any]:
        try:
            return ask(deadline)
        except PermanentError as refusal:
            refusals.append(PermanentError(str(refusal), whole=False, status=refusal.status))
            raise refusals[-1] from refusal

    ((_, result),) = ask_all([0], ask_once, limits)
    if refusals:
        raise refusals[-1]
    if isinstance(result, RequestFailure):
        raise RetryableError(result.message)
    return result


def find_model_card(http: HttpClient, where: ServerTarget) -> ServerModelCard:
    """Return the card of the model that a spec names."""
    try:
        listed = ask_with_retries(
            lambda deadline: http.get_json(f"{where.url}/models", deadline=deadline)
        )
    except PermanentError as refusal:
        raise ModelError(f"{where.spec()}: {_remedy(refusal, where)}") from refusal
    except RetryableError as silence:
        raise ModelError(
            f"{where.spec()}: {where.url}/models gives no list of models: {silence}; "
            "is the server up, and is this its address (it ends in /v1)?"
        ) from silence
    cards = listed.get("data")
    if not isinstance(cards, list) or not all(isinstance(card, dict) for card in cards):
        raise ModelError(
            f"{where.spec()}: {where.url}/models gives no list of models; is this the address of "
            "an OpenAI-compatible server (it ends in /v1)?"
        )
    by_name = {str(card.get("id")): card for card in cards}
    card = by_name.get(where.model)
    if card is None:
        raise ModelError(f"{where.spec() if where.model else where.url}: {_choice(where, by_name)}")
    parent = by_name.get(str(card.get("parent")), {}).get("root")
    fields = {name: card[name] for name in _FIELDS if card.get(name) is not None}
    return ServerModelCard(
        fields, _version(http, where), parent if isinstance(parent, str) else None
    )


def _remedy(refusal: PermanentError, where: ServerTarget) -> str:
    if refusal.status in (401, 403):
        return f"{refusal}; set the key of this server in the environment variable {KEY}"
    if refusal.status in (404, 405):
        return f"{refusal}; is {where.url} the address of the server (it ends in /v1)?"
    return str(refusal)


def _choice(where: ServerTarget, names: Mapping[str, Any]) -> str:
    """Return which models there are, or which one was probably meant."""
    few = ", ".join([*names][:10]) + (", …" if len(names) > 10 else "") or "none"
    if not where.model:
        return f"name the model after a #; there are: {few}"
    near = get_close_matches(where.model, names, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {few}"
    return f"the server has no model {where.model!r}; {hint}"


def _version(http: HttpClient, where: ServerTarget) -> str | None:
    """Return what vLLM reports at `/version`; other servers have nothing there."""
    try:
        reply = http.get_json(f"{where.origin}/version", deadline=time.monotonic() + 10.0)
    except (PermanentError, RetryableError):
        return None
    version = reply.get("version")
    return version if isinstance(version, str) else None


def try_request(http: HttpClient, url: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the reply to a question of some form; None if the server does not take that form."""
    try:
        return ask_with_retries(lambda deadline: http.post_json(url, body, deadline=deadline))
    except PermanentError as refusal:
        if refusal.status in (401, 402, 403):
            raise ModelError(f"{url}: {refusal}; check the key in {KEY}") from refusal
        return None
    except RetryableError as silence:
        refuse_ended(http, url, body)
        if "HTTP 500" in str(silence):  # how some servers meet a form they do not know
            return None
        raise ModelError(f"{url}: {silence}; look at the server's log") from silence


_ENDING_S = 10.0
"""Seconds in which a server whose engine ended goes away or reports it."""


def refuse_ended(http: HttpClient, url: str, body: Mapping[str, Any]) -> None:
    """Refuse a server that answered before and does not answer at all after a question."""
    root = url[: url.index("/v1") + 3] if "/v1" in url else url.rpartition("/")[0]
    end = time.monotonic() + _ENDING_S
    try:
        http.get_json(f"{root}/models", deadline=end)
        time.sleep(0.2)
        http.get_json(f"{root.removesuffix('/v1')}/health", deadline=end)
    except RetryableError as gone:
        # vLLM's /health answers 200 without a text; a server that is slow is still there.
        if "the reply is" in str(gone) or "no reply in time" in str(gone):
            return
        raise BackendError(
            f"{root}: the server ended over a question: {_question(body)}; look at its log, start "
            f"it again{_gentler(body)}"
        ) from gone
    except PermanentError:
        return


def _question(body: Mapping[str, Any]) -> str:
    if "prompt_logprobs" in body or body.get("echo"):
        form = "prompt_logprobs" if "prompt_logprobs" in body else "echo with logprobs"
        return f"the log-probabilities of a given text ({form})"
    if "logprobs" in body:
        return f"one token with the {body['logprobs']} likeliest (logprobs)"
    what = "messages" if "messages" in body else "prompt"
    return f"{body.get('max_tokens', 1)} tokens after a {what}"


def _gentler(body: Mapping[str, Any]) -> str:
    """Return what keeps vLLM's CPU build alive that ends over such a question with LoRA."""
    if "prompt_logprobs" not in body:
        return ""
    return (
        ", or leave out the metrics that need likelihoods (vLLM on a CPU with --enable-lora: name "
        "the adapter's modules with --lora-target-modules)"
    )
