"""`results:PATH`: an arm whose answers another tool has recorded and scored.

The path is what lm-eval, Inspect and others wrote, a file or a folder; readers are in
`harness/results`. `results:PATH#RUN` names one run of several, `results:PATH?format=table&id=key`
the reader and its options. Metrics of the suite are `recorded`; where the answers are in the files,
tunegate's own metrics can score them as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from tunegate.harness.contracts.model import Prompt, RecordedRequest, Request
from tunegate.harness.contracts.reasoning import separate_thoughts
from tunegate.harness.contracts.result_set import ResultSet, completion_of, read_results
from tunegate.harness.records.answers import CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import ModelError, UsageError
from tunegate.harness.records.generation import GenerationSettings

SPEC = "results:PATH[?format=FORMAT][#RUN]"


@dataclass(frozen=True)
class ResultArm:
    """An arm that answers from the results of another tool."""

    spec: str
    results: ResultSet = field(repr=False)
    recorded: Literal[True] = True

    @property
    def identity(self) -> Mapping[str, Any]:
        """The spec, the tool, the model it names, and the hash of all results."""
        found = {
            "spec": self.spec,
            "backend": "results",
            "tool": self.results.tool,
            "tool_version": self.results.logs[0].tool_version,
            "model": ", ".join(self.results.models) or None,
            "results_sha256": self.fingerprint,
            "cases": len(self.results.cases),
            "samples": self.results.samples,
        }
        return {name: value for name, value in found.items() if value is not None}

    @property
    def fingerprint(self) -> str:
        """Hash of all results, whatever their order in the files."""
        return self.results.fingerprint

    @cached_property
    def kinds(self) -> frozenset[CellKind]:
        """Recorded scores, and what tunegate's own metrics ask of recorded answers."""
        rows = self.results.answers.values()
        texts = {CellKind.GENERATE} if any(row.completion is not None for row in rows) else set()
        timed = {CellKind.LATENCY} if any(row.latency_s is not None for row in rows) else set()
        return frozenset({CellKind.RECORDED, *texts, *timed})

    def cannot(self, kind: CellKind) -> str:
        """Return what the results lack for requests of `kind`."""
        lacking = {CellKind.GENERATE: "answers", CellKind.LATENCY: "times"}.get(kind)
        what = f"no {lacking} are recorded" if lacking else f"results answer no {kind.value} cells"
        return f'{self.spec}: {what}; use metrics with use = "recorded"'

    def has_case(self, case: str) -> bool:
        """Return whether there is a result of the case."""
        return case in self.results.case_set

    def _has_too_many(self, case: str) -> bool:
        """Return whether a case has more samples than most: which of them count is not known."""
        return (case, self.results.samples) in self.results.answers

    def prompt(self, case: Case, generation: GenerationSettings) -> Prompt:
        """Return the case's conversation as text; what was sent is compared by its hash."""
        turns = case.input_messages(generation.system)
        return Prompt("\n".join(f"{t['role']}: {t.get('content', '')}" for t in turns))

    def recorded_request(self, suite: str, case: str) -> RecordedRequest | None:
        """Return what was asked in a case, for the comparison with an arm that has no results."""
        return self._requests.get(case)

    @cached_property
    def _requests(self) -> Mapping[str, RecordedRequest | None]:
        found = {}
        for case, row in self.results.rows():
            known = self.results.request(case)
            if known is not None and row.prompt is not None:
                text = isinstance(row.prompt, str)
                asked = {"prompt": row.prompt} if text else {"messages": tuple(row.prompt)}
                known = replace(known, **asked)
            found[case] = known
        return found

    def complete(self, requests: Sequence[Request]) -> Iterator[StoredAnswer]:
        """Yield the recorded answers; one that failed, or is not there, is an error."""
        for request in requests:
            row = self.results.answers.get((request.case.id, request.sample))
            completion: Completion | None = None
            error = None
            if request.kind is CellKind.RECORDED and self._has_too_many(request.case.id):
                error = f"{self.spec} has more than {self.results.samples} samples of the case"
            elif row is None:
                there = f"sample {request.sample}" if self.has_case(request.case.id) else "result"
                error = f"{self.spec} has no {there} of the case"
            elif row.error is not None:
                error = f"{self.results.tool}: {row.error}"
            elif request.kind is CellKind.GENERATE and row.completion is None:
                error = f"{self.spec} has no answer to the case"
            elif request.kind is CellKind.LATENCY and row.latency_s is None:
                error = f"{self.spec} has no time of the case"
            else:
                completion = separate_thoughts(completion_of(row), request.generation)
            yield StoredAnswer.of(request.cell, completion, error, 0.0)


def results(target: str) -> ResultArm:
    """Open the results of another tool."""
    try:
        return ResultArm(f"results:{target}", read_results(target))
    except UsageError as error:
        raise ModelError(str(error)) from error
