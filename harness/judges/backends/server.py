"""`server:URL#MODEL`: a model behind any OpenAI-compatible server as judge, at temperature 0.

The key, if the server needs one, is in the environment variable TUNEGATE_JUDGE_KEY. The reply's
JSON schema is sent unless the server refuses it.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tunegate.harness.contracts.judge import JudgeAnswer, JudgeQuestion
from tunegate.harness.contracts.model import PoolLimits, Prompt, Request
from tunegate.harness.judges.backends._chat import (
    MOST_TOKENS,
    ask_questions,
    question_messages,
    schema_of,
)
from tunegate.harness.judges.backends._limits import USUAL, split_limits
from tunegate.harness.models.remote.failures import PermanentError
from tunegate.harness.models.remote.http import HttpClient
from tunegate.harness.models.servers.client import ServerClient
from tunegate.harness.models.servers.protocol import ServerProtocol
from tunegate.harness.models.servers.target import ServerTarget, parse_target, read_key
from tunegate.harness.records.answers import Cell, CellKind, Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import ModelError
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.hashing import sha256

SPEC = "server:URL#MODEL"
KEY = "TUNEGATE_JUDGE_KEY"
_SETTINGS = {"temperature": 0.0, "max_tokens": MOST_TOKENS, "seed": 0}
_PROTOCOL = ServerProtocol("messages", plain=_SETTINGS, checked="")
_GENERATION = GenerationSettings(thinking_tags=())
"""A reply is read as a whole: what stands before the JSON is not taken for thoughts."""
_NO_SCHEMA = (400, 422)
"""Statuses of servers that do not support schemas."""


@dataclass
class ServerJudge:
    """A judge model behind an OpenAI-compatible server."""

    where: ServerTarget
    key: str | None = field(default=None, repr=False)
    limits: PoolLimits = USUAL
    schemas: bool = True
    """Whether the server supports schemas; the first question finds out."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """The spec and the parameters of each call."""
        return {
            "spec": self.where.spec(),
            "backend": "server",
            "settings": _SETTINGS,
            "fingerprint": self.fingerprint,
        }

    @property
    def fingerprint(self) -> str:
        """Hash of address, model and parameters."""
        return sha256(["server", self.where.url, self.where.model, _SETTINGS])

    def ask(self, questions: Mapping[str, JudgeQuestion]) -> Generator[JudgeAnswer, None, None]:
        """Yield an answer for each question, as many at once as the limits allow."""
        with HttpClient(self.key) as http:
            yield from ask_questions(
                questions.items(),
                partial(self._ask, http),
                self.limits,
                backend=self.where.spec(),
            )

    def _ask(self, http: HttpClient, question: JudgeQuestion, deadline: float) -> Completion:
        client = ServerClient(self.where, _PROTOCOL, tokenizer=None, any_model=True)
        plain = _request(question)
        if not self.schemas:
            return client.ask(http, plain, deadline)
        try:
            return client.ask(http, _request(question, schema_of(question)), deadline)
        except PermanentError as refusal:
            if refusal.status not in _NO_SCHEMA:
                raise
        completion = client.ask(http, plain, deadline)
        self.schemas = False
        return completion.model_copy(update={"attempts": 2})


def _request(question: JudgeQuestion, schema: dict[str, Any] | None = None) -> Request:
    """Return a question as a request of an arm."""
    messages = tuple(question_messages(question))
    case = Case(id="question", messages=messages, response_format=schema)
    cell = Cell(suite="judge", case=case.id, arm="judge", kind=CellKind.GENERATE, key=question.hash)
    return Request(cell, case, Prompt(question.text), _GENERATION, 0)


def server(target: str) -> ServerJudge:
    """Open a model behind a server as judge.

    Raises:
        ModelError: the address or the model's name is missing, the address holds a password, or
            the key is malformed.
    """
    if "@" in target.partition("#")[0]:  # before any message that repeats the address
        raise ModelError(f"judge server: an address must hold no password; put the key into {KEY}")
    place = split_limits("server", target)
    if place.batch:
        raise ModelError(
            f"judge server:{target}: batches are for litellm:PROVIDER/MODEL?batch=true"
        )
    try:
        where = parse_target(place.target)
    except ModelError as error:
        raise ModelError(f"judge {error}") from error
    if not where.model:
        raise ModelError(
            f"judge server:{target}: no model; write server:URL#MODEL, such as "
            "server:http://localhost:8000/v1#qwen3-8b"
        )
    return ServerJudge(where, read_key(KEY), place.limits)
