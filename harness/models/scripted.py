"""`scripted:FILE`: an arm that answers by rule, for tests of tunegate and of users' suites.

FILE is JSON. Completions are looked up by the rendered prompt, then by case id, then by the case's
prompt; then the default is used:

    {"completions": {"r1": "refund"}, "default": "I do not know.",
     "turns": {"t1": ["<tool_call>…</tool_call>", "Done."]},
     "choice_logprobs": {"q1": [-1.0, -2.0]}, "answer_logprob": {"a1": -0.5},
     "fail": {"r2": "HTTP 500"}, "delay_s": 0.0}

`delay_s` is the time each completion takes, so that interruptions can be tested.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field

from tunegate.harness.contracts.model import Prompt, Request
from tunegate.harness.contracts.reasoning import separate_thoughts
from tunegate.harness.records.answers import CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import ModelError, UsageError
from tunegate.harness.records.files import read_record
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.record import Record

SPEC = "scripted:FILE"

Script = TypeVar("Script", bound=Record)


class ModelScript(Record):
    """The content of a script file."""

    completions: dict[str, str] = Field(default_factory=dict)
    turns: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, exclude_if=lambda turns: not turns
    )
    """Case id → what is written in each turn of an episode; the default follows."""
    default: str | None = None
    choice_logprobs: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    answer_logprob: dict[str, float] = Field(default_factory=dict)
    bits_per_byte: dict[str, float] = Field(default_factory=dict)
    finish_reason: dict[str, str] = Field(default_factory=dict)
    fail: dict[str, str] = Field(default_factory=dict)
    prefix: str = ""
    """Put in front of every rendered prompt, as another chat template would."""
    delay_s: float = 0.0


@dataclass(frozen=True)
class ScriptedArm:
    """An arm that reads its answers from a `ModelScript`."""

    spec: str
    script: ModelScript = field(repr=False)
    kinds: frozenset[CellKind] = frozenset(CellKind)
    image_kinds: frozenset[CellKind] = frozenset(CellKind)

    @property
    def identity(self) -> Mapping[str, Any]:
        """The spec and the hash of the script."""
        return {"spec": self.spec, "backend": "scripted", "script_sha256": self.fingerprint}

    @property
    def fingerprint(self) -> str:
        """Hash of everything in the script but its delay."""
        return sha256(self.script.model_dump(mode="json", exclude={"delay_s"}))

    def cannot(self, kind: CellKind) -> str:
        """Return a sentence; a script can answer every kind."""
        return f"{self.spec} has no {kind.value}"

    def prompt(self, case: Case, generation: GenerationSettings) -> Prompt:
        """Render the conversation as plain lines."""
        turns = case.input_messages(generation.system)
        text = "\n".join(f"{turn['role']}: {turn.get('content', '')}" for turn in turns)
        return Prompt(self.script.prefix + text)

    def complete(self, requests: Sequence[Request]) -> Iterator[StoredAnswer]:
        """Yield the scripted answers, each after the script's delay."""
        for request in requests:
            started = time.time()
            if self.script.delay_s:
                time.sleep(self.script.delay_s)
            failure = self.script.fail.get(request.case.id)
            completion = None if failure else self._completion(request)
            if completion is None and failure is None:
                failure = f"the script has no {request.kind.value} for case {request.case.id!r}"
            yield StoredAnswer.of(request.cell, completion, failure, started)

    def _completion(self, request: Request) -> Completion | None:
        case, script = request.case, self.script
        if request.kind is CellKind.CHOICES:
            values = script.choice_logprobs.get(case.id)
            return None if values is None else Completion(choice_logprobs=values)
        if request.kind is CellKind.ANSWER:
            value = script.answer_logprob.get(case.id)
            return None if value is None else Completion(answer_logprob=value)
        if request.kind is CellKind.TEXT:
            value = script.bits_per_byte.get(case.id)
            return None if value is None else Completion(bits_per_byte=value)
        keys = (request.prompt.text, case.id, case.prompt or "")
        text = next((script.completions[key] for key in keys if key in script.completions), None)
        if request.turn is not None and case.id in script.turns:
            text = dict(enumerate(script.turns[case.id])).get(request.turn)
        text = script.default if text is None else text
        if text is None:
            return None
        completion = Completion(
            text=text,
            finish_reason=script.finish_reason.get(case.id, "stop"),
            input_tokens=len(request.prompt.text.split()),
            output_tokens=len(text.split()),
            latency_s=script.delay_s,
        )
        return separate_thoughts(completion, request.generation)


def scripted(path: str) -> ScriptedArm:
    """Open the script file at `path`."""
    return ScriptedArm(f"scripted:{path}", read_script(path, ModelScript))


def read_script(path: str, kind: type[Script]) -> Script:
    """Read a script file; a broken one raises ModelError."""
    try:
        return read_record(Path(path), kind)
    except UsageError as error:
        raise ModelError(f"scripted:{error}") from error
