"""An arm whose answers were recorded elsewhere, whoever recorded them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from tunegate.harness.contracts.model import Prompt, Request
from tunegate.harness.contracts.reasoning import separate_thoughts
from tunegate.harness.contracts.result_set import ResultSet
from tunegate.harness.records.answers import CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.recorded_answer import RecordedRequest

KEYS = {
    CellKind.GENERATE: "completion",
    CellKind.CHOICES: "choice_logprobs",
    CellKind.ANSWER: "answer_logprob",
    CellKind.TEXT: "bits_per_byte",
    CellKind.LATENCY: "latency_s",
    CellKind.DRAFTS: "drafted_tokens",
    CellKind.RECORDED: "scores",
}
"""Kind of question → the key of a line that answers it."""
FIELDS = {**KEYS, CellKind.GENERATE: "text"}
"""Kind of question → the field of a completion that answers it."""


@dataclass(frozen=True)
class FileArm:
    """An arm that answers from files."""

    spec: str
    facts: Mapping[str, Any]
    """What describes it besides the spec."""
    fingerprint: str
    answers: Mapping[tuple[str, str, int], Completion] = field(repr=False)
    """(suite, case, sample) → answer; the suite is empty where the answers serve any suite."""
    failures: Mapping[tuple[str, str, int], str] = field(repr=False)
    """(suite, case, sample) → why the answer does not count."""
    request: Callable[[str, str], RecordedRequest | None] = field(repr=False)
    """Returns what is known of the request for a case of a suite."""
    results: ResultSet | None = field(default=None, repr=False)
    """The results of another tool that the answers are from."""
    has_examples: bool = False
    """Whether `tunegate init` wrote some of the answers."""
    recorded: Literal[True] = True

    @property
    def identity(self) -> Mapping[str, Any]:
        """The spec, and the facts that are known."""
        return {"spec": self.spec, **self.facts}

    @cached_property
    def kinds(self) -> frozenset[CellKind]:
        """The kinds that some answer has the field for."""
        lacking = dict(FIELDS)
        for answer in self.answers.values():
            lacking = {k: name for k, name in lacking.items() if getattr(answer, name) is None}
            if not lacking:
                break
        return frozenset(FIELDS.keys() - lacking.keys())

    def cannot(self, kind: CellKind) -> str:
        """Return which key the answers lack for questions of `kind`."""
        remedy = "record it, or leave out the metric"
        if self.results is not None:
            remedy = 'use metrics with use = "recorded"'
        return f"{self.spec}: no answer has {KEYS[kind]!r}; {remedy}"

    def prompt(self, case: Case, generation: GenerationSettings) -> Prompt:
        """Return the conversation as text; what was really sent is not known here."""
        turns = case.input_messages(generation.system)
        return Prompt("\n".join(f"{t['role']}: {t.get('content', '')}" for t in turns))

    def recorded_request(self, suite: str, case: str) -> RecordedRequest | None:
        """Return what is known of the request for a case; None without an answer."""
        return self.request(suite, case)

    def complete(self, requests: Sequence[Request]) -> Iterator[StoredAnswer]:
        """Yield the recorded answers; a case without one is an error, not an empty answer."""
        for request in requests:
            key = (request.suite, request.case.id, request.sample)
            completion = self.answers.get(key)
            if completion is None:
                key = ("", *key[1:])
                completion = self.answers.get(key)
            error = self.failures.get(key)
            if error is None and getattr(completion, FIELDS[request.kind], None) is None:
                error = f"{self.spec} has no answer to {request.case.id!r}"
            if completion is None or error is not None:
                yield StoredAnswer.of(request.cell, None, error, 0.0)
            else:
                completion = separate_thoughts(completion, request.generation)
                yield StoredAnswer.of(request.cell, completion, None, 0.0)
