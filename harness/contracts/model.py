"""The model contract: an arm answers requests, and has an exact description.

A backend is a factory `<x>(spec, options) -> Arm` in `harness/models/<x>.py`. Six abilities are
optional: `LocalArm` lets the engine decode with the model in this process (batches, drafts, shared
prefixes), `probe` lets the liveness check compare logits, `RecordedArm` means that the answers are
on the disk already (with `RequestRecord`, what was asked is there too), `ScoredArm` that another
tool has scored them, `RemoteArm` that they come over a network, many at a time, and `ServedArm`
lets the log-probabilities of a server be compared with those of the weights on the disk.
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

if TYPE_CHECKING:
    from tunegate.harness.contracts.episode_environment import EpisodePlan
    from tunegate.harness.contracts.result_set import ResultSet


@dataclass(frozen=True, slots=True)
class Prompt:
    """A case as the model sees it."""

    text: str
    """The rendered prompt: after the chat template, or as the case gives it."""
    token_ids: tuple[int, ...] | None = None
    """Its token ids where the arm tokenises here; None where a server or a file does it."""
    answering: Prompt | None = None
    """The prompt with the thoughts closed that the chat template opens in it: after this one the
    likelihood of a given answer is asked. None where none are open."""

    @property
    def sha256(self) -> str:
        """Hash of the token ids, or of the text where there are none."""
        return sha256(list(self.token_ids) if self.token_ids is not None else self.text)

    def equals(self, other: Prompt) -> bool:
        """Return whether prompts are equal: as token ids where both are known, else as text."""
        if self.token_ids is None or other.token_ids is None:
            return self.text == other.text
        return self.token_ids == other.token_ids

    def difference(self, other: Prompt, names: tuple[str, str]) -> str:
        """Return where two prompts differ first: in the text, or in the token ids of one text.

        Args:
            other: The other prompt.
            names: The arms that get them.
        """
        if self.text != other.text:
            at = first_difference(self.text, other.text)
            mine, theirs = excerpt(self.text, at), excerpt(other.text, at)
            return f"{names[0]} has {mine} where {names[1]} has {theirs}"
        one, two = self.token_ids or (), other.token_ids or ()
        at = first_difference(one, two)
        ours, others = (list(ids[max(0, at - 2) : at + 4]) for ids in (one, two))
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
    """How the completion is played in turns; None of one that is written at once."""
    turn: int | None = None
    """Index of the turn of an episode that this is, from 0; None of other requests."""

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


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """Request of a recorded arm in one case, as far as its record holds it.

    None means unknown. `tunegate.harness.checks.recorded_requests` compares two of them by what
    both know.
    """

    prompt: str | None = None
    """The prompt as the recorder wrote it down: before or after a chat template."""
    rendered: str | None = None
    """The prompt after the chat template, by tunegate's own rendering."""
    token_sha256: str | None = None
    """Hash of the rendered prompt's token ids, as `Prompt.sha256` makes it."""
    messages: tuple[Mapping[str, Any], ...] | None = None
    """The conversation in the chat format, with its system prompt."""
    given_sha256: str | None = None
    """A hash by the recorder's own recipe; it is compared with others of its kind only."""
    settings: Mapping[str, Any] | None = None
    """How the answer was generated: `temperature`, `max_new_tokens`, `tools` … ; keys that are
    absent are unknown."""
    from_case: bool = False
    """Whether tunegate made it from a case of a suite, so that `messages` is the case's own."""


@runtime_checkable
class Arm(Protocol):
    """One side of the comparison."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Description of the arm for people: spec, hashes, number format, engine."""

    @property
    def fingerprint(self) -> str:
        """Hash of everything in the arm that can change an answer; its place is no part of it."""

    @property
    def kinds(self) -> Set[CellKind]:
        """The kinds of question this arm can answer."""

    def cannot(self, kind: CellKind) -> str:
        """Return why it cannot answer questions of `kind`, and what would help."""

    def prompt(self, case: Case, generation: GenerationSettings) -> Prompt:
        """Render a case; raises ValueError if the case cannot be rendered."""

    def complete(self, requests: Sequence[Request]) -> Iterator[StoredAnswer]:
        """Yield one answer a request, in any order, each as soon as it is known.

        Raises:
            BackendError: the backend as a whole is gone; what was yielded counts.
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
class RecordedArm(Protocol):
    """An arm that only reads answers: losing some of them costs nothing."""

    @property
    def recorded(self) -> Literal[True]:
        """The mark of such an arm."""


@runtime_checkable
class RequestRecord(Protocol):
    """A recorded arm that may know what it was asked."""

    def recorded_request(self, suite: str, case: str) -> RecordedRequest | None:
        """Return what was asked in a case; None if nothing is known of it."""


@runtime_checkable
class ScoredArm(Protocol):
    """An arm that has the results of another tool: answers with their scores."""

    @property
    def results(self) -> ResultSet:
        """The results."""


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Bounds within which a backend asks over a network; checked when they are made."""

    concurrency: int = CONCURRENCY
    """Questions that are in progress at the same time."""
    deadline_s: float = DEADLINE_S
    """Seconds a question may take, its attempts and the pauses after them together; waiting for its
    turn is not counted."""
    attempts: int = 5
    """Times a question is asked at most."""
    requests_per_minute: float | None = None
    """Attempts a minute of all workers together; None is as fast as answers come."""
    tokens_per_minute: float | None = None
    """Tokens a minute, as the caller estimates them for each question; None is without bound."""

    def __post_init__(self) -> None:
        """Refuse what would ask nothing or never end.

        Raises:
            UsageError: a bound is out of range.
        """
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
    """An arm behind a network: it is given all it has to answer at once, and asks in its own order.

    The identity of such an arm has under `prompts` what it sends: `token ids` or `text` that were
    rendered here, or `messages`, which the other side renders.
    """

    @property
    def remote(self) -> Literal[True]:
        """The mark of such an arm."""


@runtime_checkable
class JoinableArm(Protocol):
    """An arm that takes in requests while it answers others: the turns of episodes."""

    def complete_joined(
        self, requests: Sequence[Request], more: Callable[[], Sequence[Request]]
    ) -> Iterator[StoredAnswer]:
        """Yield one answer a request, those that `more` returns meanwhile included.

        Args:
            requests: The first requests.
            more: Called between answers; returns what got ready since. The last call returned none.

        Raises:
            BackendError: the backend as a whole is gone; what was yielded counts.
        """


@runtime_checkable
class ProbedArm(Protocol):
    """An arm that differs from another only by its answers."""

    @property
    def probed(self) -> tuple[tuple[str, str], ...]:
        """Answers to each of some fixed texts, asked twice before the run."""


@runtime_checkable
class ServedArm(Protocol):
    """An arm behind a server that may compute with weights that are on this machine, too."""

    @property
    def address(self) -> str:
        """Where the server is: arms of one address are computed in the same number format."""

    @property
    def tokenizer(self) -> Any:
        """The Transformers tokenizer; None where only the server has it."""

    @property
    def weights_folder(self) -> Path | None:
        """The folder of its weights on this machine; None if it is not known."""

    def next_logprobs(
        self, prefixes: Sequence[Sequence[int]]
    ) -> tuple[Mapping[int, float], ...] | None:
        """Return, for each prefix, token id → natural-log probability of the likeliest next tokens.

        None where the server does not report them by token id.

        Raises:
            BackendError: it does not answer.
        """


@dataclass(frozen=True, slots=True)
class ServerHosting:
    """Where the logs of servers go, and who hears of their progress."""

    log: Path | None = None
    """Folder of the logs; None is a new one in the folder for temporary files."""
    report: Callable[[str], None] = lambda line: None

    def folder(self) -> Path:
        """Return the folder of the logs."""
        return self.log or Path(tempfile.mkdtemp(prefix="tunegate-server-"))


NOWHERE = ServerHosting()
"""Logs in a passing folder, and nobody hears of the progress."""
