"""A model in this process as judge: `path-or-hub-id` or `hf:ID`, with Transformers.

A verdict is read from the probabilities of its words, so it is continuous and takes one pass over
the prompt. Questions without a choice (a checklist, claims) get written replies, which must have
the form asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunegate.harness.contracts.judge import JudgeAnswer, JudgeQuestion
from tunegate.harness.contracts.model import Arm, Prompt, Request
from tunegate.harness.engine.inference import local_engine as engine
from tunegate.harness.records.answers import Cell, CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import ModelError, OutOfMemory
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.hashing import sha256

SPEC = "FOLDER or hf:ID"
BATCH = 8
"""Questions in a batch."""
_FORM = "Answer with one of these, and nothing else: {labels}."
_WRITTEN = GenerationSettings(max_new_tokens=768)


@dataclass(frozen=True)
class LocalJudge:
    """A judge model in this process."""

    spec: str
    arm: Any
    """A `LocalArm` that is also an `Arm`."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """The arm's identity, with spec and fingerprint."""
        return {**self.arm.identity, "spec": self.spec, "fingerprint": self.fingerprint}

    @property
    def fingerprint(self) -> str:
        """Hash of the model and of how it is asked."""
        return sha256([self.arm.fingerprint, _FORM, _WRITTEN.model_dump(mode="json")])

    def ask(self, questions: Mapping[str, JudgeQuestion]) -> Iterator[JudgeAnswer]:
        """Yield the probabilities of each choice's verdicts, and a written reply to the rest."""
        choices = [self._request(k, q) for k, q in questions.items() if q.choice]
        written = [self._request(k, q) for k, q in questions.items() if not q.choice]
        for requests in (choices, written):
            requests.sort(key=lambda request: len(request.prompt.token_ids or ()), reverse=True)
            for start in range(0, len(requests), BATCH):
                yield from self._answers(requests[start : start + BATCH])

    def _answers(self, requests: Sequence[Request]) -> Iterator[JudgeAnswer]:
        """Yield answers; a batch that does not fit in memory is split in half."""
        answered: set[str] = set()
        try:
            for answer in engine.complete_requests(self.arm, requests):
                answered.add(answer.key)
                yield JudgeAnswer(
                    answer.key, answer.completion, answer.error, answer.started_s or 0.0
                )
        except OutOfMemory as error:
            rest = [request for request in requests if request.key not in answered]
            if len(requests) == 1:
                yield JudgeAnswer(rest[0].key, None, f"the judge ran out of memory: {error}", 0.0)
                return
            half = (len(rest) + 1) // 2
            for part in (rest[:half], rest[half:]):
                if part:
                    yield from self._answers(part)

    def _request(self, key: str, question: JudgeQuestion) -> Request:
        system, text = question.system, question.text
        if question.choice:
            labels = ", ".join(question.labels)
            system = question.instructions
            ask = f"{question.ask} " if question.ask else ""
            text = f"{question.texts}\n\n{ask}{_FORM.replace('{labels}', labels)}"
        messages = ({"role": "system", "content": system}, {"role": "user", "content": text})
        case = Case(
            id=key, messages=messages, choices=question.labels or None, answer=0, delimiter=""
        )
        kind = CellKind.CHOICES if question.choice else CellKind.GENERATE
        cell = Cell(suite="judge", case=key, arm="judge", kind=kind, key=key)
        return Request(cell, case, self._prompt(case), _WRITTEN, 0)

    def _prompt(self, case: Case) -> Prompt:
        """Render a case; a template without a system turn gets it in front of the user's."""
        try:
            return self._rendered(case)
        except ValueError:
            system, user = case.messages or ({}, {})
            joined = {"role": "user", "content": f"{system['content']}\n\n{user['content']}"}
            return self._rendered(case.model_copy(update={"messages": (joined,)}))

    def _rendered(self, case: Case) -> Prompt:
        arm: Arm = self.arm
        return arm.prompt(case, _WRITTEN)


def local(spec: str) -> LocalJudge:
    """Open a local model as judge.

    Raises:
        UsageError: it cannot be opened.
    """
    from tunegate.harness.models._model_folder import is_adapter, resolve_folder
    from tunegate.harness.models.open_arms import open_arms

    place = spec.removeprefix("local:")
    folder = resolve_folder(place)
    try:
        arms = open_arms({"base": None if is_adapter(folder) else place, "tuned": place})
    except ModelError as error:
        raise ModelError(f"judge {spec}: {error}") from error
    return LocalJudge(spec, arms["tuned"])
