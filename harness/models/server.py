"""`server:http://host:port/v1#MODEL`: a model behind an OpenAI-compatible server.

Base and its LoRA adapters may be two names of one server. Prompts are rendered here if the
tokenizer is: the server reports a folder of this machine as the model's root, or the spec names
one (`…/v1?tokenizer=FOLDER#MODEL`). Otherwise the server renders messages, and nothing proves that
both arms get the same prompt. The key comes from TUNEGATE_SERVER_KEY or OPENAI_API_KEY.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from tunegate.harness.contracts.model import PoolLimits, Prompt, Request
from tunegate.harness.models._chat_template import (
    PROBES,
    fingerprint_of,
    plain_prompt,
    render_prompt,
)
from tunegate.harness.models._model_folder import is_adapter, require_modules
from tunegate.harness.models.adapters.weight_files import weights_fingerprint
from tunegate.harness.models.remote.answer_requests import answer_requests
from tunegate.harness.models.remote.chat_settings import bounds_of, wire_messages
from tunegate.harness.models.remote.failures import PermanentError
from tunegate.harness.models.remote.http import HttpClient
from tunegate.harness.models.servers.client import ServerClient
from tunegate.harness.models.servers.dialect import (
    UNKNOWN,
    ServerConnection,
    ServerDialect,
    ServerSettings,
    ShownPrompt,
    find_dialect,
)
from tunegate.harness.models.servers.discovery import OPENING, ServerModelCard, find_model_card
from tunegate.harness.models.servers.protocol import (
    discover_likelihoods,
    discover_protocol,
    next_token_logprobs,
)
from tunegate.harness.models.servers.replies import token_usage
from tunegate.harness.models.servers.stop_token import stops_at
from tunegate.harness.models.servers.target import (
    NO_WEIGHTS,
    ServerTarget,
    key_for,
    parse_target,
    weights_spec,
)
from tunegate.harness.records.answers import ALONE, GENERATED, Cell, CellKind, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import BackendError, ModelError
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.hashing import canonical_json, sha256
from tunegate.harness.records.images import hashed_messages

SPEC = "server:http://host:port/v1[?tokenizer=FOLDER&weights=FOLDER]#MODEL"
_PROBES = PROBES[:6]
_PROBE_TOKENS = 12
_PREFIXES = 16
"""Prefixes that one question holds."""
_SCORED = frozenset({CellKind.CHOICES, CellKind.ANSWER})


@dataclass(eq=False)
class ServerArm:
    """One model of a server; what asks the server raises BackendError if it does not answer."""

    where: ServerTarget
    card: ServerModelCard
    client: ServerClient
    limits: PoolLimits
    key: str | None = field(default=None, repr=False)
    dialect: ServerDialect = field(default=UNKNOWN, repr=False)
    settings: ServerSettings = field(default_factory=ServerSettings, repr=False)
    """How the server is set up, as far as it shows it."""
    probed: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Greedy answers to each probe text, asked twice."""
    scoring_client: ServerClient | None = field(default=None, repr=False)
    """The client that knows how likelihoods are asked for, once that was found out."""
    remote: Literal[True] = True

    @property
    def spec(self) -> str:
        """The spec it was opened by."""
        return self.where.spec()

    @property
    def tokenizer(self) -> Any:
        """The tokenizer; None where only the server has it."""
        return self.client.tokenizer

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """The server's description of the model, settings of requests, answers to probe texts.

        The hash of the answers is left out where the model does not answer the same twice.
        """
        tokenizer = self.tokenizer
        steady = all(first == second for first, second in self.probed)
        return {
            "spec": self.spec,
            "backend": "server",
            "card": dict(self.card.fields),
            "parent_root": self.card.parent_root,
            "version": self.card.version,
            **self._content,
            "prompts": self.client.form.prompts,
            "tokenizer_checked": self.client.form.checked,
            "tokenizer_sha256": None if tokenizer is None else fingerprint_of(tokenizer),
            "template_sha256": None if tokenizer is None else sha256(tokenizer.chat_template or ""),
            "decoding": dict(self.client.form.plain),
            **({"settings": shown} if (shown := self.settings.record()) else {}),
            "steady": steady,
            "answers_sha256": sha256([first for first, _ in self.probed]) if steady else None,
        }

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the identity; the address counts unless the weights themselves were seen."""
        known = {k: v for k, v in self.identity.items() if k != "spec"}
        return sha256([known, None if self._content else self.where.url])

    @cached_property
    def _content(self) -> Mapping[str, str]:
        """Hashes of the weights, where a server on this machine names their folders."""
        folders = {"weights_sha256": self.card.root, "base_sha256": self.card.parent_root}
        folders_here = {
            name: Path(root) for name, root in folders.items() if root and self.where.here
        }
        hashes = {
            name: weights_fingerprint(path) for name, path in folders_here.items() if path.is_dir()
        }
        whole = "weights_sha256" in hashes and (
            "base_sha256" in hashes or not is_adapter(folders_here["weights_sha256"])
        )
        return hashes if whole else {}

    @property
    def kinds(self) -> frozenset[CellKind]:
        """Generation; and likelihoods of given texts, once the server was found to report them."""
        client = self.scoring_client
        scored = client is not None and client.form.logprobs is not None
        return GENERATED | _SCORED if scored else GENERATED

    def discover_kinds(self, wanted: Set[CellKind]) -> None:
        """Ask the server whether it reports likelihoods, if they are wanted."""
        if wanted & _SCORED and self.scoring_client is None:
            self.scoring_client = self._discover_scoring_client()

    @property
    def image_kinds(self) -> frozenset[CellKind]:
        """What it writes; a model that sees no images is the server's to refuse."""
        return GENERATED

    def _discover_scoring_client(self) -> ServerClient:
        with HttpClient(self.key) as http:
            form = discover_likelihoods(http, self.where, self.client.form, self.tokenizer)
        return replace(self.client, form=form)

    def show_prompt(self, case: Case, generation: GenerationSettings) -> ShownPrompt | None:
        """Return what the server makes of a case's conversation; None if it does not show it."""
        with self._connection() as server:
            return self.dialect.show_prompt(server, self._chat_fields(case, generation))

    def count_prompt(self, case: Case, generation: GenerationSettings) -> int | None:
        """Return how many tokens of prompt the server computes for a conversation, if it says so.

        It writes one token of an answer for that.
        """
        with self._connection() as server:
            try:
                fields = self._chat_fields(case, generation)
                body = {**fields, "max_tokens": 1, "temperature": 0.0}
                reply = server.post("chat/completions", body)
            except PermanentError:
                return None
        return token_usage(reply, "prompt_tokens")

    def stops_at(self, token: int, tokenizer: Any) -> bool | None:
        """Return whether the server ends an answer with a token; None if that cannot be seen."""
        with self._connection() as server:
            return stops_at(server, tokenizer, token)

    @contextmanager
    def _connection(self) -> Iterator[ServerConnection]:
        """Yield the server, which has as long for an answer as in the run, or to load the model."""
        patience = max(OPENING.deadline_s, self.limits.deadline_s)
        with HttpClient(self.key) as http:
            yield ServerConnection(http, self.where, replace(OPENING, deadline_s=patience))

    def _chat_fields(self, case: Case, generation: GenerationSettings) -> dict[str, Any]:
        messages = wire_messages(case, generation.system)
        return {"messages": messages, **bounds_of(case), **self.client.chat_fields(generation)}

    @property
    def address(self) -> str:
        """The server's address."""
        return self.where.url

    @property
    def rounds(self) -> bool:
        """Whether its program computes in less than float32, however the weights are stored."""
        return self.dialect.rounds

    @property
    def weights_spec(self) -> str | None:
        """The weights that the spec names, or the root that a server on this machine names."""
        if self.where.weights is not None:
            return None if self.where.weights == NO_WEIGHTS else weights_spec(self.where.weights)
        root = self.card.root if self.where.here else None
        return root if root is not None and Path(root).is_dir() else None

    def next_logprobs(
        self, prefixes: Sequence[Sequence[int]]
    ) -> tuple[Mapping[int, float], ...] | None:
        """Return the likeliest next tokens after each prefix; None if they have no ids."""
        form = self.client.form
        if form.prompts != "token ids":
            return None
        logprobs_read: list[Mapping[int, float]] = []
        with self._connection() as server:
            for first in range(0, len(prefixes), _PREFIXES):
                part = [list(ids) for ids in prefixes[first : first + _PREFIXES]]
                logprobs = self.dialect.next_logprobs(server, part, form.plain)
                if logprobs is None:
                    logprobs = next_token_logprobs(server.http, self.where, form, part)
                if logprobs is None:
                    return None
                logprobs_read += logprobs
        return tuple(logprobs_read)

    def shared_limit(self, generation: GenerationSettings) -> str | None:
        """Return that thoughts and answer cannot be separated by tokens; None if they can."""
        if generation.budget is None or self.tokenizer is not None:
            return None
        return (
            f"{self.spec} has one limit for thoughts and answer ({generation.most_tokens} tokens): "
            "without its tokenizer answers are not cut at max_new_tokens, and thoughts at the "
            "budget only if it reports their tokens; name the tokenizer: ?tokenizer=FOLDER"
        )

    def cannot(self, kind: CellKind) -> str:
        """Return what the server does not offer."""
        if kind is CellKind.TEXT:
            return f"{self.spec}: a whole text's likelihood is read by local models only"
        why = self.scoring_client.form.why if self.scoring_client else "was not asked for it"
        return f"{self.spec}: the server {why}"

    def prompt(self, case: Case, generation: GenerationSettings) -> Prompt:
        """Render a case here, or write down what the server is given to render."""
        if not self.client.sends_messages(case):
            return render_prompt(self.tokenizer, case, generation, spec=self.spec)
        if generation.template == "none":
            return Prompt(plain_prompt(case, generation))
        if generation.chat_template is not None and case.images:
            raise ModelError(
                f"{self.spec}: images are sent in messages, which the server renders by its own "
                "chat template; remove chat_template under [generation]"
            )
        if generation.chat_template is not None:
            raise ModelError(
                f"{self.spec}: the server applies its own chat template; for another one, start it "
                "with that template, or name the tokenizer here with ?tokenizer=FOLDER"
            )
        messages = hashed_messages(case.input_messages(generation.system))
        fields = {**bounds_of(case), **self.client.chat_fields(generation)}
        return Prompt(canonical_json({"messages": messages, **fields}))

    def complete(self, requests: Sequence[Request]) -> Iterator[StoredAnswer]:
        """Yield the answers as they come, several questions being in progress at the same time."""
        return self.complete_joined(requests, None)

    def complete_joined(
        self, requests: Sequence[Request], more: Callable[[], Sequence[Request]] | None
    ) -> Iterator[StoredAnswer]:
        """Yield the answers as they come, those to what `more` returns meanwhile included."""
        alone = any(request.kind in ALONE for request in requests)
        scored = any(request.kind in _SCORED for request in requests)
        if scored:
            self.discover_kinds(_SCORED)
        client = (self.scoring_client if scored else None) or self.client
        limits = replace(self.limits, concurrency=1) if alone else self.limits
        with HttpClient(self.key) as http:
            yield from answer_requests(
                requests, more, partial(client.ask, http), limits, backend=self.spec
            )

    def ask_probes(self) -> None:
        """Ask each probe text twice, unless that was done, and keep the greedy answers."""
        if not self.probed:
            texts = self.greedy_answers(_PROBES * 2, _PROBE_TOKENS)
            first, second = texts[: len(_PROBES)], texts[len(_PROBES) :]
            self.probed = tuple(zip(first, second, strict=True))

    def greedy_answers(self, prompts: Sequence[str], max_new_tokens: int) -> list[str]:
        """Return the greedy answers to texts that are no cases.

        Raises:
            BackendError: one of them has none.
        """
        template = "none" if self.client.form.prompts != "messages" else "chat"
        generation = GenerationSettings(template=template, max_new_tokens=max_new_tokens)
        requests = [
            _request(str(n), Case(id=f"probe {n}", prompt=text), self, generation)
            for n, text in enumerate(prompts)
        ]
        texts = {}
        for answer in self.complete(requests):
            if answer.completion is None:
                raise BackendError(f"{self.spec}: a probe text has no answer: {answer.error}")
            texts[answer.key] = answer.completion.text or ""
        return [texts[request.key] for request in requests]


def _request(key: str, case: Case, arm: ServerArm, generation: GenerationSettings) -> Request:
    prompt = arm.prompt(case, generation)
    cell = Cell(suite="probes", case=case.id, arm="", kind=CellKind.GENERATE, key=key)
    return Request(cell, case, prompt, generation, 0)


def model_file(target: str) -> Path | None:
    """Return the folder or GGUF file that a target names as its weights."""
    named = parse_target(target).weights
    return None if named in (None, NO_WEIGHTS) else Path(str(named).partition(",")[0])


def server(target: str, limits: PoolLimits | None = None) -> ServerArm:
    """Open a model of a server, and find out how it can be asked."""
    where = parse_target(target)
    return open_server(where, key_for(where), limits or PoolLimits())


def open_server(
    where: ServerTarget,
    key: str | None,
    limits: PoolLimits,
    *,
    tokenizer: Any = None,
    fields: Mapping[str, Any] = MappingProxyType({}),
) -> ServerArm:
    """Open a model of a server whose address and key are known.

    Args:
        where: The server and the model.
        key: The key that is sent.
        limits: How hard it may be asked.
        tokenizer: The tokenizer; None is the one that the address or the server names.
        fields: Fields of every request.
    """
    require_modules("httpx", what="a model behind a server", extra="server")
    try:
        with HttpClient(key) as http:
            card = find_model_card(http, where)
            server = ServerConnection(http, where)
            dialect = find_dialect(server, card)
            tokenizer = tokenizer or _tokenizer(where, card)
            form = discover_protocol(server, tokenizer, dialect)
            form = replace(form, plain={**form.plain, **fields})
            client = ServerClient(where, form, tokenizer, dialect)
            # A question was answered: a model that is loaded on demand shows its settings now.
            settings = dialect.settings(server, card)
        arm = ServerArm(where, card, client, limits, key, dialect, settings)
        arm.ask_probes()
    except BackendError as error:
        raise ModelError(str(error)) from error
    return arm


def _tokenizer(where: ServerTarget, card: ServerModelCard) -> Any:
    """Return the tokenizer: the spec's, or that of a folder here which the server names."""
    folders = [Path(root) for root in (card.root, card.parent_root) if root and where.here]
    with_tokenizer = [str(f) for f in folders if (f / "tokenizer_config.json").is_file()]
    named = where.tokenizer or next(iter(with_tokenizer), None)
    if named is None:
        return None
    require_modules("transformers", what="a tokenizer")
    from tunegate.harness.models._load_model import load_tokenizer, silence_libraries

    silence_libraries()
    return load_tokenizer(Path(named))
