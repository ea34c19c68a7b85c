"""Server discovery: address and model of a `server:` spec, and what the server supports."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tunegate.harness.contracts.model import PoolLimits
from tunegate.harness.models.remote.http import (
    LOOPBACK,
    HttpClient,
    PermanentError,
    RequestFailure,
    RetryableError,
)
from tunegate.harness.models.remote.request_pool import ask_all
from tunegate.harness.records.errors import BackendError, ModelError, unknown_name_message

_OPENING = PoolLimits(concurrency=1, deadline_s=60.0, attempts=3)
"""Patience before the run: a server that loads the model at the first question needs a minute."""
_SAID = ("id", "root", "parent", "owned_by", "max_model_len")
"""Keys of a model's card that identify it; `created` is the time of the question at vLLM."""


@dataclass(frozen=True, slots=True)
class ServerModelCard:
    """A server's description of a model."""

    said: Mapping[str, Any]
    """Its card, without times and states."""
    version: str | None
    """Version of the server, if it reports it."""
    parent_root: str | None = None
    """Folder of the weights of the model that this one is an adapter of."""

    @property
    def root(self) -> str | None:
        """Where its weights are, as the server sees it."""
        root = self.said.get("root")
        return root if isinstance(root, str) else None


def ask_with_retries(
    ask: Callable[[float], dict[str, Any]], limits: PoolLimits = _OPENING
) -> dict[str, Any]:
    """Return the answer to one question that is asked with patience.

    Raises:
        PermanentError: the server refused.
        RetryableError: it gave no answer, after all attempts.
    """
    refusals: list[PermanentError] = []

    def noted(question: int, deadline: float) -> dict[str, Any]:
        try:
            return ask(deadline)
        except PermanentError as refusal:
            refusals.append(PermanentError(str(refusal), whole=False, status=refusal.status))
            raise refusals[-1] from refusal

    ((_, result),) = ask_all([0], noted, limits)
    if refusals:
        raise refusals[-1]
    if isinstance(result, RequestFailure):
        raise RetryableError(result.message)
    return result


def find_model_card(http: HttpClient, where: ServerTarget) -> ServerModelCard:
    """Return the card of the model that a spec names.

    Raises:
        ModelError: the server cannot be reached, is no such server, or has no such model.
    """
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
    said = {name: card[name] for name in _SAID if card.get(name) is not None}
    return ServerModelCard(said, _version(http, where), parent if isinstance(parent, str) else None)


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
        told = http.get_json(f"{where.origin}/version", deadline=time.monotonic() + 10.0)
    except (PermanentError, RetryableError):
        return None
    version = told.get("version")
    return version if isinstance(version, str) else None


def try_request(http: HttpClient, url: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the reply to a question of some form; None if the server does not take that form.

    Raises:
        ModelError: the server refuses every form, or gives no reply.
        BackendError: the server ended over this question.
    """
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
    """Refuse a server that answered before and does not answer at all after a question.

    Args:
        http: The client.
        url: Where the question was sent; the server lists its models next to it.
        body: What was asked.

    Raises:
        BackendError: the server ended, and over which question.
    """
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


_FORM = "server:http://host:port/v1#MODEL"
_OPTIONS = ("tokenizer", "weights")
NO_WEIGHTS = "none"
KEY = "TUNEGATE_SERVER_KEY"
"""Environment variable of the key."""
_ELSE = "OPENAI_API_KEY"


def is_this_machine(url: str) -> bool:
    """Return whether an address is one of this machine."""
    return urlsplit(url).hostname in LOOPBACK


@dataclass(frozen=True, slots=True)
class ServerTarget:
    """A model behind a server."""

    url: str
    """Address up to `/v1`, without a slash at its end."""
    model: str
    """The model's name there; empty if the spec names none."""
    tokenizer: str | None = None
    """Folder or hub id of its tokenizer and chat template, as the spec gives it."""
    weights: str | None = None
    """Folder of its weights on this machine, as the spec names it; `none` trusts the server."""

    @property
    def origin(self) -> str:
        """The address without its path."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def here(self) -> bool:
        """Whether it is this machine."""
        return is_this_machine(self.url)

    def spec(self, model: str | None = None) -> str:
        """Return the spec, of another model of the server if one is given."""
        named = {"tokenizer": self.tokenizer, "weights": self.weights}
        query = "&".join(f"{name}={value}" for name, value in named.items() if value)
        query = f"?{query}" if query else ""
        return f"server:{self.url}{query}#{model or self.model}"


def parse_target(target: str) -> ServerTarget:
    """Read what follows `server:`.

    Raises:
        ModelError: it is no address, holds a secret, or has an option that does not exist.
    """
    address, _, model = target.partition("#")
    try:
        parts = urlsplit(address)
        well_formed = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port  # read, it raises if it is no number
    except ValueError:
        well_formed = False
    if not well_formed:
        raise ModelError(f"server:{target}: no address of a server; write it as {_FORM}")
    if parts.username or parts.password:
        # The spec goes into records and logs, so it is not repeated here either.
        raise ModelError(f"server: an address must hold no password; put the key into {KEY}")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options:
        if name not in _OPTIONS:
            raise ModelError(
                f"server:{target}: {unknown_name_message(name, _OPTIONS, what='option')}"
            )
    _refuse_no_folder(target, options)
    url = f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")
    return ServerTarget(url, model, options.get("tokenizer"), options.get("weights"))


def _refuse_no_folder(target: str, options: Mapping[str, str]) -> None:
    for name in _OPTIONS:
        if options.get(name) == "":
            raise ModelError(f"server:{target}: {name}= names no folder")
    weights = options.get("weights", NO_WEIGHTS)
    if weights != NO_WEIGHTS and not Path(weights).is_dir():
        raise ModelError(
            f"server:{target}: weights={weights} is not a folder; name that of the model or "
            f"adapter, or {NO_WEIGHTS} to take them on trust"
        )


def key_for(where: ServerTarget, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the key to be sent: OpenAI's own goes over no line that others can read.

    Raises:
        ModelError: it cannot be in a header.
    """
    name = KEY
    if not environment.get(KEY) and (where.here or where.url.startswith("https:")):
        name = _ELSE
    key = environment.get(name, "").strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ModelError(f"{name} holds characters that no key has; set it again")
    return key or None
