"""Server dialect: what one server program shows of itself: tokens, prompts, settings.

Each program is a file of `dialects/` with an `ORDER` and a `DIALECT`; the first that recognises a
server is taken. What a program does not show stays unknown: nothing here guesses.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import quote

from tunegate.harness.contracts import lookup
from tunegate.harness.contracts.model import PoolLimits
from tunegate.harness.models._thinking_switch import server_fields
from tunegate.harness.models.remote.failures import PermanentError, RetryableError
from tunegate.harness.models.remote.http import HttpClient
from tunegate.harness.models.servers.discovery import OPENING, ServerModelCard, ask_with_retries
from tunegate.harness.models.servers.replies import as_object
from tunegate.harness.models.servers.target import ServerTarget
from tunegate.harness.records.answers import reported_amount
from tunegate.harness.records.errors import BackendError
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.hashing import sha256

ROOM = "tunegate.harness.models.servers.dialects"
NOT_SHOWN = (401, 403, 404, 405, 501)
"""Statuses of a page that a server, or a proxy in front of it, does not offer."""
_PEEK_S = 10.0
"""Seconds that a page of a server's own may take."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How a server is set up, as far as it shows it; None and empty are unknown."""

    program: str = ""
    """The server program and its version."""
    quantization: str | None = None
    """Number format of the weights, in the server's words."""
    context: int | None = None
    """Most tokens of a prompt and its answer together."""
    template: str | None = None
    """Its chat template."""
    bos: str | None = None
    """Text of the token at the beginning of a prompt."""
    eos: str | None = None
    """Text of the token that ends an answer."""
    adds_bos: bool | None = None
    """Whether it puts that token in front of a prompt."""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """Settings of sampling that hold where a request names none."""

    def record(self) -> dict[str, Any]:
        """Return what is known, for the record: the template by its hash."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["sampling"] = dict(self.sampling)
        if template := values.pop("template"):
            values["template_sha256"] = sha256(template)
        return {name: value for name, value in values.items() if value not in (None, "", {})}


@dataclass(frozen=True, slots=True)
class ShownPrompt:
    """What a server makes of a conversation."""

    text: str | None = None
    """None if it shows token ids only."""
    token_ids: tuple[int, ...] | None = None
    """None if it shows a text only."""
    refused: str = ""
    """Why it does not take the conversation."""


@dataclass(frozen=True, slots=True)
class DraftCounts:
    """Tokens that speculative decoding proposed for an answer."""

    drafted: int
    accepted: int
    """How many of them the model accepted."""

    @classmethod
    def of(cls, drafted: Any, accepted: Any, *, otherwise: str) -> DraftCounts:
        """Return the counts of a reply.

        Raises:
            PermanentError: They are no counts; `otherwise` is the message.
        """
        counts = reported_amount(drafted), reported_amount(accepted)
        if not all(isinstance(count, int) for count in counts) or drafted < accepted:
            raise PermanentError(otherwise, whole=False)
        return cls(drafted, accepted)


@dataclass(frozen=True, slots=True)
class ServerConnection:
    """A server that is asked about itself."""

    http: HttpClient
    where: ServerTarget
    limits: PoolLimits = OPENING

    @property
    def root(self) -> str:
        """The address without `/v1`, under which servers have pages of their own."""
        return self.where.url.removesuffix("/v1")

    def get(self, path: str) -> dict[str, Any]:
        """Return a page as JSON, or an empty object if the server has no such page."""
        model = quote(self.where.model, safe="")
        query = f"?model={model}" if self.where.model else ""
        try:
            return self.http.get_json(
                f"{self.root}{path}{query}", deadline=time.monotonic() + _PEEK_S
            )
        except (PermanentError, RetryableError):
            return {}

    def get_text(self, path: str) -> str:
        """Return a page as text; empty if the server has no such page."""
        try:
            return self.http.get_text(f"{self.root}{path}", deadline=time.monotonic() + _PEEK_S)
        except (PermanentError, RetryableError):
            return ""

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the reply to a question.

        A path such as `/tokenize` is a page of the server's own; one without a slash in front, such
        as `chat/completions`, is OpenAI's, under the address that the spec names.
        """
        question = {"model": self.where.model, **body}
        url = f"{self.root}{path}" if path.startswith("/") else f"{self.where.url}/{path}"
        try:
            return ask_with_retries(
                lambda deadline: self.http.post_json(url, question, deadline=deadline), self.limits
            )
        except RetryableError as silence:
            if "HTTP 500" in str(silence):  # what llama.cpp answers where a template refuses
                raise PermanentError(str(silence), whole=False, status=500) from silence
            if "HTTP 501" in str(silence) or "the reply is" in str(silence):  # HTML, or a list
                raise PermanentError(str(silence), whole=False, status=501) from silence
            raise BackendError(f"{url}: {silence}; look at the server's log") from silence


class ServerDialect:
    """A server program that is known only by OpenAI's API."""

    name = ""
    owner = ""
    """`owned_by` of the models that it lists."""
    takes_raw_prompts = True
    """Whether `/completions` takes a text as it is, without a chat template."""
    rounds = False
    """Whether it computes in less than float32, however the weights are stored."""
    neutral: Mapping[str, Any] = {}
    """Fields of a request that switch off sampling settings of its own, beside OpenAI's."""

    longer_context = "start it with a context of at least {tokens} tokens"
    """What a user does about a context that is too short."""
    shares_cache = True
    """Whether models of one address may be in one process."""
    without_prefix_cache = "switch its prefix cache off, or serve each arm by a server of its own"
    """What a user does about a cache that adapters share."""

    def recognises(self, server: ServerConnection, card: ServerModelCard) -> bool:
        """Return whether a server is this program."""
        return bool(self.owner) and card.fields.get("owned_by") == self.owner

    def tokenize(
        self, server: ServerConnection, text: str, *, special: bool
    ) -> tuple[int, ...] | None:
        """Return a text's token ids; None if the server does not show them.

        Args:
            server: The server.
            text: The text.
            special: Whether the tokens that it puts around every text are added.
        """
        return _tokens(server, {"prompt": text, "add_special_tokens": special})

    def chat_fields(
        self, generation: GenerationSettings, variables: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the fields of a chat request by which it renders messages as the suite wants.

        `variables` are those of its chat template; None if the template is not known.
        """
        return server_fields(generation, variables)

    def show_prompt(self, server: ServerConnection, chat: Mapping[str, Any]) -> ShownPrompt | None:
        """Return what the server makes of a conversation; None if it does not show it.

        `chat` holds the fields of a chat request: `messages`, `tools`, and what the chat template
        is given.
        """
        return None

    def next_logprobs(
        self, server: ServerConnection, prefixes: list[list[int]], fields: Mapping[str, Any]
    ) -> list[dict[int, float]] | None:
        """Return token id → log-probability of the likeliest tokens after each prefix.

        None where the program has no way of its own; OpenAI's is then tried.
        """
        return None

    def ask_counted(
        self, server: ServerConnection, ask: Callable[..., dict[str, Any]]
    ) -> tuple[dict[str, Any], DraftCounts]:
        """Ask a question alone; return the reply, and what was drafted for it.

        Here the reply must have OpenAI's counts of predicted tokens.

        Args:
            server: The server.
            ask: Sends the question, with further fields as keywords, and returns the reply.

        Raises:
            PermanentError: The server does not tell.
        """
        reply = ask()
        details = as_object(as_object(reply.get("usage")).get("completion_tokens_details"))
        accepted = details.get("accepted_prediction_tokens")
        rejected = details.get("rejected_prediction_tokens")
        drafted = None
        if isinstance(accepted, int) and isinstance(rejected, int):
            drafted = accepted + rejected
        why = (
            "no accepted_prediction_tokens in the reply's usage: it does not tell what was drafted"
        )
        return reply, DraftCounts.of(drafted, accepted, otherwise=why)

    def settings(self, server: ServerConnection, card: ServerModelCard) -> ServerSettings:
        """Return how the server is set up, as far as it shows it."""
        length = card.fields.get("max_model_len")
        return ServerSettings(
            program=" ".join(filter(None, (self.name, card.version))),
            context=length if isinstance(length, int) else None,
        )


class TokenizingDialect(ServerDialect):
    """A program whose `/tokenize` takes messages, too, and renders them as a chat request's."""

    def show_prompt(self, server: ServerConnection, chat: Mapping[str, Any]) -> ShownPrompt | None:
        """Return the token ids of a conversation; None if `/tokenize` takes texts only."""
        fields = ("messages", "tools", "chat_template_kwargs", "reasoning_effort")
        body = {name: chat[name] for name in fields if name in chat}
        try:
            ids = _tokens(server, body, refusable=True)
        except PermanentError as refusal:
            if refusal.status in (*NOT_SHOWN, 422):  # the page, or its `messages`, is unknown
                return None
            return ShownPrompt(refused=str(refusal))
        return None if ids is None else ShownPrompt(token_ids=ids)


def _tokens(
    server: ServerConnection, body: Mapping[str, Any], *, refusable: bool = False
) -> tuple[int, ...] | None:
    try:
        ids = server.post("/tokenize", body).get("tokens")
    except PermanentError:
        if refusable:
            raise
        return None
    if not isinstance(ids, list) or not ids or not all(isinstance(i, int) for i in ids):
        return None
    return tuple(ids)


UNKNOWN = ServerDialect()


def find_dialect(server: ServerConnection, card: ServerModelCard) -> ServerDialect:
    """Return the dialect of a server; `UNKNOWN` where no program is recognised."""
    found = (module.DIALECT for module in lookup.ordered_modules(ROOM).values())
    return next((dialect for dialect in found if dialect.recognises(server, card)), UNKNOWN)
