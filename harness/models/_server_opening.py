"""What can be known of a server before a case is spent: its models, its version, what it takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from harness.errors import ModelError
from harness.models._server_place import KEY, Place
from harness.remote.failure import Failure, Later, Refused
from harness.remote.http import Http
from harness.remote.limits import Limits
from harness.remote.pool import ask_all

_OPENING = Limits(concurrency=1, deadline_s=60.0, attempts=3)
"""Patience before the run: a server that loads the model at the first question needs a minute."""
_SAID = ("id", "root", "parent", "owned_by", "max_model_len")
"""Keys of a model's card that say what it is; `created` is the time of the question at vLLM."""


@dataclass(frozen=True, slots=True)
class Card:
    """What a server says of a model."""

    said: Mapping[str, Any]
    """Its card, without times and states."""
    version: str | None
    """Version of the server, where it tells."""
    parent_root: str | None = None
    """Where the weights of the model lie that this one is an adapter of."""

    @property
    def root(self) -> str | None:
        """Where its weights lie, as the server sees it."""
        root = self.said.get("root")
        return root if isinstance(root, str) else None


class NotAllowed(Exception):
    """The server is there and takes a question of this form not."""


def once(ask: Callable[[float], dict[str, Any]], limits: Limits = _OPENING) -> dict[str, Any]:
    """Return the answer to one question that is asked with patience.

    Raises:
        Refused: the server said no.
        Later: it gave no answer, after all attempts.
    """
    refusals: list[Refused] = []

    def noted(question: int, deadline: float) -> dict[str, Any]:
        try:
            return ask(deadline)
        except Refused as refusal:
            refusals.append(Refused(str(refusal), whole=False, status=refusal.status))
            raise refusals[-1] from refusal

    ((_, result),) = ask_all([0], noted, limits)
    if refusals:
        raise refusals[-1]
    if isinstance(result, Failure):
        raise Later(result.message)
    return result


def find(http: Http, where: Place) -> Card:
    """Return the card of the model that a spec names.

    Raises:
        ModelError: the server cannot be reached, is no such server, or has no such model.
    """
    try:
        listed = once(lambda deadline: http.get_json(f"{where.url}/models", deadline=deadline))
    except Refused as refusal:
        raise ModelError(f"{where.spec()}: {_remedy(refusal, where)}") from refusal
    except Later as silence:
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
    return Card(said, _version(http, where), parent if isinstance(parent, str) else None)


def _remedy(refusal: Refused, where: Place) -> str:
    if refusal.status in (401, 403):
        return f"{refusal}; set the key of this server in the environment variable {KEY}"
    if refusal.status in (404, 405):
        return f"{refusal}; is {where.url} the address of the server (it ends in /v1)?"
    return str(refusal)


def _choice(where: Place, names: Mapping[str, Any]) -> str:
    """Return which models there are, or which one was probably meant."""
    few = ", ".join([*names][:10]) + (", …" if len(names) > 10 else "") or "none"
    if not where.model:
        return f"say which model after a #; there are: {few}"
    near = get_close_matches(where.model, names, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {few}"
    return f"the server has no model {where.model!r}; {hint}"


def _version(http: Http, where: Place) -> str | None:
    """Return what vLLM tells at `/version`; other servers have nothing there."""
    try:
        told = http.get_json(f"{where.origin}/version", deadline=time.monotonic() + 10.0)
    except (Refused, Later):
        return None
    version = told.get("version")
    return version if isinstance(version, str) else None


def allowed(http: Http, url: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the reply to a question of some form; None if the server does not take that form.

    Raises:
        ModelError: the server refuses every form, or is gone.
    """
    try:
        return once(lambda deadline: http.post_json(url, body, deadline=deadline))
    except Refused as refusal:
        if refusal.status in (401, 402, 403):
            raise ModelError(f"{url}: {refusal}; check the key in {KEY}") from refusal
        return None
    except Later as silence:
        if "HTTP 500" in str(silence):  # how some servers meet a form they do not know
            return None
        raise ModelError(f"{url}: {silence}; look at the server's log") from silence
