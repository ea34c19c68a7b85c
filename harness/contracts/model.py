"""The model contract: an arm answers requests, and has an exact identity.

A backend is a factory `<x>(spec, options) -> Arm` in `harness/models/<x>.py`. Further abilities are
optional:

- `LocalArm`: the engine decodes with the model in this process, and compares its logits.
- `ConfiguredArm`: the configuration of its model can be compared.
- `SeeingArm`: it sees the images of cases.
- `RecordedArm`: the answers are on the disk already, perhaps with the requests.
- `RemoteArm`: the answers come over a network, many at a time.
- `ClassifierArm`: it answers with a label of a fixed set, or with a number, and writes nothing.
- `RankingArm`: it ranks a query's candidates by scores, and writes nothing.
- `CuttingArm`: it may cut texts that are too long.
- `ServedArm`: a server's log-probabilities can be compared with those of weights on the disk.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from tunegate.harness.records.answers import Cell, CellKind, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.defaults import CONCURRENCY, DEADLINE_S
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.recorded_answer import RecordedRequest

if TYPE_CHECKING:
    from tunegate.harness.contracts.episode_environment import EpisodePlan


@dataclass(frozen=True, slots=True)
class Prompt:
    """A case as the model sees it."""

    text: str
    """The prompt after the chat template, or as the case gives it."""
    token_ids: tuple[int, ...] | None = None
    """Its token ids; None if a server or a file tokenizes."""
    answering: Prompt | None = None
    """The prompt with open thoughts closed, for the likelihood of given answers; None if the chat
    template opens none."""
    images: tuple[str, ...] = ()
    """Hashes of its images: of what a local model sees, or else the files'; the plan sets those."""

    @property
    def sha256(self) -> str:
        """Hash of the token ids, or else of the text, with those of the images."""
        seen = list(self.token_ids) if self.token_ids is not None else self.text
        return sha256([seen, self.images] if self.images else seen)

    @property
    def length(self) -> float:
        """Its tokens, at four characters each if a server or a file tokenizes."""
        return len(self.text) / 4 if self.token_ids is None else len(self.token_ids)

    def equals(self, other: Prompt) -> bool:
        """Return whether the token ids are equal, or else the texts, and the images."""
        if self.images != other.images:
            return False
        if self.token_ids is None or other.token_ids is None:
            return self.text == other.text
        return self.token_ids == other.token_ids

    def difference(self, other: Prompt, names: tuple[str, str]) -> str:
        """Return where two prompts differ first; `names` are their arms."""
        if self.text != other.text:
            at = first_difference(self.text, other.text)
            mine, theirs = excerpt(self.text, at), excerpt(other.text, at)
            return f"{names[0]} has {mine} where {names[1]} has {theirs}"
        first, second = self.token_ids or (), other.token_ids or ()
        at = first_difference(first, second)
        ours, others = (list(ids[max(0, at - 2) : at + 4]) for ids in (first, second))
        return f"from token {at} on {names[0]} has the ids {ours} where {names[1]} has {others}"


def first_difference(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Return the index of the first item, or character, in which two sequences differ."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def excerpt(text: str, at: int) -> str:
    """Return a text around an index, quoted."""
    return repr(text[max(0, at - 20) : at + 40])


@dataclass(frozen=True, slots=True)
class Request:
    """One cell's question to an arm."""

    cell: Cell
    case: Case
    prompt: Prompt
    generation: GenerationSettings
    seed: int
    """Seed of this cell's sampling; unused by greedy decoding."""
    episode: EpisodePlan | None = None
    """How the completion is played in turns, if it is an episode."""
    turn: int | None = None
    """Index of the turn of an episode, from 0; None for other requests."""

    @property
    def key(self) -> str:
        """The cell's key."""
        return self.cell.key

    @property
    def suite(self) -> str:
        """Name of the suite."""
        return self.cell.suite

    @property
    def kind(self) -> CellKind:
        """The request."""
        return self.cell.kind

    @property
    def sample(self) -> int:
        """Index of the repetition, from 0."""
        return self.cell.sample


@runtime_checkable
class Arm(Protocol):
    """One side of the comparison."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Description of the arm for people: spec, hashes, number format, engine."""

    @property
    def fingerprint(self) -> str:
        """Hash of everything in the arm that can change an answer, wherever it is stored."""

    @property
    def kinds(self) -> Set[CellKind]:
        """The kinds of request this arm can answer."""

    def cannot(self, kind: CellKind) -> str:
        """Return why it cannot answer requests of `kind`, and what would help."""

    def prompt(self, case: Case, generation: GenerationSettings) -> Prompt:
        """Render a case; raises ValueError if the case cannot be rendered."""

    def complete(self, requests: Sequence[Request]) -> Iterator[StoredAnswer]:
        """Yield one answer for each request, in any order, each as soon as it is known.

        Raises:
            BackendError: the backend as a whole is gone; answers yielded so far count.
        """


@runtime_checkable
class DiscoveredArm(Protocol):
    """An arm of a server that says only when it is asked what it can answer."""

    def discover_kinds(self, wanted: Set[CellKind]) -> None:
        """Find out which of the wanted kinds it answers; `kinds` then tells.

        Raises:
            BackendError: the server ended over it.
        """


@runtime_checkable
class LocalArm(Protocol):
    """An arm whose model runs in this process: the engine decodes with it."""

    @property
    def tokenizer(self) -> Any:
        """The Transformers tokenizer."""

    @property
    def stop_ids(self) -> frozenset[int]:
        """Token ids that end a completion."""

    @property
    def context_length(self) -> int | None:
        """Largest number of tokens the model can attend to; None if unlimited."""

    def active(self) -> AbstractContextManager[Any]:
        """Return a context in which the yielded torch model computes this arm."""

    def probe(self, prompts: Sequence[Sequence[int]]) -> Any:
        """Return each prompt's last logits, computed alone, as float32 [prompts, vocabulary]."""


@runtime_checkable
class ConfiguredArm(Protocol):
    """An arm whose model has a configuration of Transformers."""

    @property
    def configuration(self) -> Any:
        """The configuration, with the defaults of its class; None if it is not known."""


@runtime_checkable
class SeeingArm(Protocol):
    """An arm that sees the images of cases (`Case.images`)."""

    @property
    def image_kinds(self) -> Set[CellKind]:
        """The kinds of request that it answers about cases with images."""


@runtime_checkable
class RecordedArm(Protocol):
    """An arm that only reads answers, and may know what was asked for them."""

    @property
    def recorded(self) -> Literal[True]:
        """Marks such an arm."""

    def recorded_request(self, suite: str, case: str) -> RecordedRequest | None:
        """Return what is known of the request for a case; None if it has no answer."""


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Limits of a backend that asks over a network."""

    concurrency: int = CONCURRENCY
    """Requests in progress at the same time."""
    deadline_s: float = DEADLINE_S
    """Seconds a request may take, with all attempts and the pauses between them."""
    attempts: int = 5
    """Most attempts for one request."""
    requests_per_minute: float | None = None
    """Attempts per minute of all workers together; None is unlimited."""
    tokens_per_minute: float | None = None
    """Tokens per minute, as the caller estimates them for each request; None is unlimited."""

    def __post_init__(self) -> None:
        """Raise UsageError if a limit is out of range."""
        for name in ("concurrency", "attempts"):
            value = getattr(self, name)
            if value < 1:
                raise UsageError(f"{name}={value!r} must be a whole number of at least 1")
        for name in ("deadline_s", "requests_per_minute", "tokens_per_minute"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"{name}={value!r} must be a finite number above 0")


@runtime_checkable
class RemoteArm(Protocol):
    """An arm behind a network: it gets all requests at once, and asks in its own order.

    Its identity says under `prompts` what it sends: `token ids` or `text`, rendered here, or
    `messages`, which the other side renders.
    """

    @property
    def remote(self) -> Literal[True]:
        """Marks such an arm."""


@runtime_checkable
class JoinableArm(Protocol):
    """An arm that accepts requests while it answers others, for the turns of episodes."""

    def complete_joined(
        self, requests: Sequence[Request], more: Callable[[], Sequence[Request]]
    ) -> Iterator[StoredAnswer]:
        """Yield one answer for each request, including those that `more` returns meanwhile.

        Args:
            requests: The first requests.
            more: Called between answers, until it returns none; returns requests that got ready.

        Raises:
            BackendError: the backend as a whole is gone; answers yielded so far count.
        """


@runtime_checkable
class ProbedArm(Protocol):
    """An arm without a weight hash: only its answers tell it from another."""

    @property
    def probed(self) -> tuple[tuple[str, str], ...]:
        """Answers to each of some fixed texts, asked twice; empty before `ask_probes`."""

    def ask_probes(self) -> None:
        """Ask the texts and keep the answers, unless that was done.

        Raises:
            BackendError: one of them has no answer.
        """


@runtime_checkable
class ClassifierArm(Protocol):
    """An arm that answers with a label of a fixed set, or with a number."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels; empty if it answers with a number."""

    @property
    def head_outputs(self) -> tuple[tuple[float, ...], ...]:
        """The outputs of its head on some fixed texts."""


@runtime_checkable
class RankingArm(Protocol):
    """An arm that ranks a query's candidates: a reranker or an embedder."""

    @property
    def probe_scores(self) -> tuple[tuple[float, ...], ...]:
        """Its scores of some fixed texts as candidates for each of them."""


@runtime_checkable
class CuttingArm(Protocol):
    """An arm that cuts texts beyond a number of tokens."""

    @property
    def max_length(self) -> int | None:
        """Tokens that it reads of a text; None if it cuts nothing."""

    def count_tokens(self, case: Case) -> int:
        """Return the tokens of a case's longest text, uncut."""


@runtime_checkable
class ServedArm(Protocol):
    """An arm behind a server whose weights may also be on this machine."""

    @property
    def address(self) -> str:
        """Address of the server, which computes all its arms in the same number format."""

    @property
    def tokenizer(self) -> Any:
        """The Transformers tokenizer; None if only the server has it."""

    @property
    def rounds(self) -> bool:
        """Whether the server computes in less than float32, however the weights are stored."""

    @property
    def weights_spec(self) -> str | None:
        """The model spec of its weights on this machine: a folder or GGUF file; None if unknown."""

    def next_logprobs(
        self, prefixes: Sequence[Sequence[int]]
    ) -> tuple[Mapping[int, float], ...] | None:
        """Return, for each prefix, token id → natural-log probability of the likeliest next tokens.

        None if the server does not report them by token id.

        Raises:
            BackendError: it does not answer.
        """


@dataclass(frozen=True, slots=True)
class ServerHosting:
    """Where servers write their logs and report their progress."""

    log: Path | None = None
    """Folder of the logs; None is a new temporary folder."""
    report: Callable[[str], None] = lambda line: None

    def folder(self) -> Path:
        """Return the folder of the logs."""
        return self.log or Path(tempfile.mkdtemp(prefix="tunegate-server-"))


NOWHERE = ServerHosting()
"""Logs in a temporary folder, and progress is not reported."""
