"""`replay:FILE.jsonl` and `replay:RUN_DIR`: an arm whose completions were recorded elsewhere.

A line is `{"id": "r1", "completion": "refund"}`, optionally with `finish_reason`, `latency_s`,
`batch_size`, `input_tokens`, `output_tokens`, `cost`, `choice_logprobs`, `answer_logprob`,
`label_probabilities`, `candidate_scores`, `reasoning` (the thoughts, where they are not in the
completion) with `reasoning_tokens` and `reasoning_s`, and, for several completions of a case,
`sample`. Neither a model nor torch is needed to judge them. A run folder replays an arm of an
earlier run: `replay:RUN_DIR` its tuned arm, `replay:RUN_DIR#base` its base.

What was asked is compared with the other arms' requests where it is known: a line may carry it as
`prompt`, `messages` or `prompt_sha256`, and a run folder has it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StrictFloat, ValidationError

from tunegate.harness.contracts.model import Prompt, RecordedRequest, Request
from tunegate.harness.contracts.reasoning import separate_thoughts
from tunegate.harness.records.answers import WRITTEN, CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case, ChatMessage
from tunegate.harness.records.episodes import EpisodeRecord
from tunegate.harness.records.errors import ModelError, UsageError
from tunegate.harness.records.files import numbered_lines, read_record, split_fragment
from tunegate.harness.records.generation import GenerationSettings, written_settings
from tunegate.harness.records.hashing import file_sha256, sha256
from tunegate.harness.records.jsonl import JsonlRecords
from tunegate.harness.records.manifest import Manifest
from tunegate.harness.records.problems import lfs_problem, summarize_problems, validation_problem
from tunegate.harness.records.record import MAX_AMOUNT, Record, Text
from tunegate.harness.records.run_folder import AskedRecord, RunCase, refuse_links

SPEC = "replay:FILE.jsonl or replay:RUN_DIR[#ARM]"


def _is_none(value: object) -> bool:
    """Return whether a field is left out of hashes: what came later changes no older one."""
    return value is None


class RecordedCompletion(Record):
    """One recorded completion."""

    id: str
    completion: str | None = None
    sample: int = Field(default=0, ge=0, le=MAX_AMOUNT)
    finish_reason: str | None = None
    latency_s: float | None = Field(default=None, ge=0, le=MAX_AMOUNT)
    batch_size: int | None = Field(default=None, ge=1, le=MAX_AMOUNT)
    input_tokens: int | None = Field(default=None, ge=0, le=MAX_AMOUNT)
    output_tokens: int | None = Field(default=None, ge=0, le=MAX_AMOUNT)
    cost: float | None = Field(default=None, ge=0, le=MAX_AMOUNT)
    choice_logprobs: tuple[float, ...] | None = None
    answer_logprob: float | None = None
    bits_per_byte: float | None = Field(default=None, ge=0, le=MAX_AMOUNT)
    label_probabilities: dict[Text, float] | None = Field(default=None, exclude_if=_is_none)
    candidate_scores: tuple[StrictFloat, ...] | None = Field(default=None, exclude_if=_is_none)
    scores: dict[str, float | None] | None = None
    errors: dict[str, str] | None = None
    beyond_text: bool | None = Field(default=None, exclude_if=_is_none)
    episode: EpisodeRecord | None = None
    """The turns, where the completion is an episode."""
    prompt: Text | None = None
    messages: Annotated[tuple[ChatMessage, ...], Field(min_length=1)] | None = None
    prompt_sha256: Text | None = None
    """A hash of what was sent, made in the same way for every arm."""
    example: bool = False
    """Whether `tunegate init` wrote the line to show the gate: no model gave this answer."""
    reasoning: Text | None = Field(default=None, exclude_if=_is_none)
    """The thoughts before the answer, where `completion` is the answer alone."""
    reasoning_tokens: int | None = Field(default=None, ge=0, le=MAX_AMOUNT, exclude_if=_is_none)
    reasoning_s: float | None = Field(default=None, ge=0, le=MAX_AMOUNT, exclude_if=_is_none)
    """Seconds until the thoughts had ended, a part of `latency_s`."""
    reasoning_closed: bool | None = Field(default=None, exclude_if=_is_none)
    """Whether the thoughts ended; by default, whether an answer follows them."""
    reasoning_tags: tuple[Text, Text] | None = Field(default=None, exclude_if=_is_none)

    def as_completion(self) -> Completion:
        """Return the line as a Completion."""
        fields = self.model_dump(exclude={"id", "completion", "sample", *_ASKED})
        if self.reasoning is not None and self.reasoning_closed is None:
            fields["reasoning_closed"] = bool((self.completion or "").strip())
        return Completion(text=self.completion, **fields)

    def as_request(self) -> RecordedRequest:
        """Return what the line knows of the request."""
        return RecordedRequest(
            prompt=self.prompt, messages=self.messages, given_sha256=self.prompt_sha256
        )


_ASKED = frozenset({"prompt", "messages", "prompt_sha256", "example"})
"""Keys of a line that are not about the answer."""


@dataclass(frozen=True)
class ReplayArm:
    """An arm that answers from recorded lines."""

    spec: str
    sha256: str
    lines: Mapping[tuple[str, str, int], RecordedCompletion] = field(repr=False)
    """(suite, case id, sample) → line; the suite is empty where a file serves any suite."""
    requests: Mapping[tuple[str, str], RecordedRequest] = field(repr=False, default_factory=dict)
    """(suite, case id) → what was asked, of a run folder; the lines of a file hold it themselves.
    """
    generation: Mapping[str, Mapping[str, Any]] | None = field(repr=False, default=None)
    """Suite → settings of the run that the answers are from; None where they are unknown."""
    recorded: Literal[True] = True

    @property
    def identity(self) -> Mapping[str, Any]:
        """The spec, the file's hash, the number of lines and the settings as far as known."""
        return {
            "spec": self.spec,
            "backend": "replay",
            "file_sha256": self.sha256,
            "lines": len(self.lines),
            "generation": "unknown" if self.generation is None else dict(self.generation),
        }

    @property
    def fingerprint(self) -> str:
        """Hash of the recorded file."""
        return self.sha256

    @property
    def has_examples(self) -> bool:
        """Whether `tunegate init` wrote some of the answers."""
        return any(line.example for line in self.lines.values())

    @cached_property
    def kinds(self) -> frozenset[CellKind]:
        """The kinds for which some line has the key."""
        return frozenset(
            kind
            for kind, name in _KEYS.items()
            if any(getattr(line, name) is not None for line in self.lines.values())
        )

    def cannot(self, kind: CellKind) -> str:
        """Return which key the lines lack for questions of `kind`."""
        key = _KEYS[kind]
        return f"{self.spec}: no line has {key!r}; record it, or leave out the metric"

    def prompt(self, case: Case, generation: GenerationSettings) -> Prompt:
        """Return the conversation as text; what was really sent is not known here."""
        turns = case.input_messages(generation.system)
        return Prompt("\n".join(f"{t['role']}: {t.get('content', '')}" for t in turns))

    def recorded_request(self, suite: str, case: str) -> RecordedRequest | None:
        """Return what was asked in a case, as its first sample has it; None without a line."""
        line = self.lines.get((suite, case, 0)) or self.lines.get(("", case, 0))
        if line is None:
            return None
        return self.requests.get((suite, case)) or line.as_request()

    def complete(self, requests: Sequence[Request]) -> Iterator[StoredAnswer]:
        """Yield the recorded answers; a case without a line is an error, not an empty answer."""
        for request in requests:
            key = (request.case.id, request.sample)
            line = self.lines.get((request.suite, *key)) or self.lines.get(("", *key))
            completion = line.as_completion() if line else None
            if completion and getattr(completion, _FIELDS[request.kind]) is None:
                completion = None
            if completion:
                completion = separate_thoughts(completion, request.generation)
            error = None if completion else f"{self.spec} has no answer to {request.case.id!r}"
            if completion and completion.finish_reason in _FAILED:
                error = f"its recorded finish_reason is {completion.finish_reason!r}"
                completion = None
            yield StoredAnswer.of(request.cell, completion, error, 0.0)


_FAILED = ("content_filter", "error")
"""Finish reasons of answers that were withheld or failed."""
_OTHER_NAMES = dict.fromkeys(
    ("output", "response", "answer", "text", "prediction", "generated_text", "generation"),
    "completion",
)
_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n\x0b\x0c" + _BOM
_KEYS = {
    CellKind.GENERATE: "completion",
    CellKind.CHOICES: "choice_logprobs",
    CellKind.ANSWER: "answer_logprob",
    CellKind.TEXT: "bits_per_byte",
    CellKind.LATENCY: "latency_s",
    CellKind.RECORDED: "scores",
}
"""Kind of question → the key of a line that answers it."""
_FIELDS = {**_KEYS, CellKind.GENERATE: "text"}
"""Kind of question → the field of a completion that answers it."""
_NOT_KEPT = {"text", "latency_s", "batch_size", "reasoning_s", "attempts", "answered_by"}


def replay(target: str) -> ReplayArm:
    """Open recorded completions: a JSONL file, or a run folder with an optional `#arm`."""
    path, arm = split_fragment(target)
    if path.is_dir():
        return _from_run(path, arm or "tuned")
    if not path.is_file():
        raise ModelError(f"replay:{target}: no such file or run folder")
    try:
        lines = _read(path)
        return ReplayArm(f"replay:{target}", file_sha256(path), lines)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); give permission") from error


def _read(path: Path) -> Mapping[tuple[str, str, int], RecordedCompletion]:
    """Return the lines by case and sample; every broken or doubled one is reported."""
    index: dict[tuple[str, str, int], RecordedCompletion] = {}
    numbers: dict[tuple[str, str, int], int] = {}
    first: dict[str, tuple[int, RecordedRequest]] = {}
    problems = []
    for number, raw in _lines(path):
        try:
            line = _read_line(raw)
        except ValueError as error:
            problems.append(f"{path}:{number}: {error}")
            continue
        key = ("", line.id, line.sample)
        if key in index:
            problems.append(
                f"{path}:{number}: id {line.id!r} is already in line {numbers[key]}; "
                "give a sample number"
            )
        at, asked = first.setdefault(line.id, (number, line.as_request()))
        if asked != line.as_request():
            problems.append(
                f"{path}:{number}: id {line.id!r} has another prompt than in line {at}; the "
                "samples of a case share its prompt: give another id"
            )
        index.setdefault(key, line)
        numbers.setdefault(key, number)
    if not index and not problems:
        problems.append(f"{path}: no lines; write one completion a line")
    if problems:
        raise ModelError("\n".join(summarize_problems(problems)))
    return index


def _read_line(raw: bytes) -> RecordedCompletion:
    """Return what a line holds; raises ValueError with the problem in words."""
    try:
        line = RecordedCompletion.model_validate_json(raw)
    except ValidationError as error:
        why = validation_problem(RecordedCompletion, error, other_names=_OTHER_NAMES)
        raise ValueError(why) from error
    json.loads(raw, object_pairs_hook=_refuse_twice, parse_int=str, parse_float=str)
    return line


def _refuse_twice(pairs: list[tuple[str, Any]]) -> None:
    names = [name for name, _ in pairs]
    if len(names) > len(set(names)):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} is in the line twice; keep one of them")


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file of answers that are not blank, with their numbers."""
    if pointer := lfs_problem(path):
        raise ModelError(pointer)
    is_first = True
    for number, raw in numbered_lines(path):
        if not raw.strip(_BLANK):
            continue
        if is_first and (raw.lstrip(_BLANK).startswith(b"[") or b"{" not in raw):
            what = "a JSON list" if raw.lstrip(_BLANK).startswith(b"[") else "no JSON object"
            raise ModelError(
                f"{path}:{number}: {what}; write one completion a line, such as "
                '{"id": "a", "completion": "…"}'
            )
        is_first = False
        yield number, raw.removeprefix(_BOM)


def _from_run(folder: Path, arm: str) -> ReplayArm:
    try:
        refuse_links(folder)
        rows = JsonlRecords(folder / "cells.jsonl", StoredAnswer)
        asked = _RunRequests.read(folder, arm)
    except UsageError as error:
        raise ModelError(str(error)) from error
    fields: dict[tuple[str, str, int], dict[str, Any]] = {}
    for row in rows:
        if row.cell.arm == arm and row.completion is not None:
            key = (row.cell.suite, row.cell.case, row.cell.sample)
            fields.setdefault(key, {}).update(_case_fields(row.cell.kind, row.completion))
    if not fields:
        raise ModelError(f"replay:{folder}#{arm}: the run has no completions of an arm {arm!r}")
    lines = {
        key: RecordedCompletion(id=key[1], sample=key[2], **known) for key, known in fields.items()
    }
    digest = sha256(
        [[key[0], line.model_dump(mode="json", exclude=set(_ASKED))] for key, line in lines.items()]
    )
    return ReplayArm(
        f"replay:{folder}#{arm}", digest, lines, requests=asked.of, generation=asked.generation
    )


@dataclass(frozen=True)
class _RunRequests:
    """Requests of an arm of a run."""

    of: Mapping[tuple[str, str], RecordedRequest]
    generation: Mapping[str, Mapping[str, Any]] | None

    @classmethod
    def read(cls, folder: Path, arm: str) -> _RunRequests:
        """Read it; nothing is known without a manifest. Of an arm that was itself recorded, its
        own files tell what it was asked.
        """
        path = folder / "manifest.json"
        if not path.is_file():
            return cls({}, None)
        manifest = read_record(path, Manifest)
        sorts = {_sort(manifest.identity(name)) for name in ("base", arm)}
        recorded = _sort(manifest.identity(arm)) == "replay"
        judged = {suite.name: suite.generation for suite in manifest.suites}
        found = {
            (row.suite, row.case.id): _recorded_request_of(row, judged[row.suite], arm)
            if recorded
            else _request_of(row, judged[row.suite], sorts == {"here"})
            for row in JsonlRecords(folder / "cases.jsonl", RunCase)
            if row.suite in judged
        }
        if not recorded:
            return cls(found, judged)
        settings = manifest.identity(arm).get("generation")
        return cls(found, settings if isinstance(settings, Mapping) else None)


def _sort(identity: Mapping[str, Any]) -> str:
    """Return who rendered the prompts of a run's arm, as `comparability` distinguishes arms."""
    if identity.get("backend") in ("replay", "results"):
        return "replay"
    return "messages" if identity.get("prompts") == "messages" else "here"


def _request_of(row: RunCase, generation: Mapping[str, Any], here: bool) -> RecordedRequest:
    """Return what a case of a run was asked; `here`: whether all prompts were rendered here."""
    settings = GenerationSettings.model_validate(generation).of(row.case)
    rendered = row.rendered if here else None
    tokens = rendered is not None and row.prompt_sha256 != sha256(rendered)
    messages = row.case.input_messages(settings.system)
    return RecordedRequest(
        rendered=rendered,
        token_sha256=row.prompt_sha256 if tokens else None,
        messages=messages,
        settings=written_settings(settings.model_dump(), row.case),
        case_messages=messages,
        case=row.case,
    )


def _recorded_request_of(row: RunCase, generation: Mapping[str, Any], arm: str) -> RecordedRequest:
    """Return what the files of a recorded arm of a run told of a case."""
    asked = row.asked.get(arm, AskedRecord())
    own = row.case.input_messages(GenerationSettings.model_validate(generation).system)
    return RecordedRequest(
        rendered=asked.rendered,
        token_sha256=asked.token_sha256,
        prompt=asked.prompt,
        messages=own if asked.as_case else asked.messages,
        given_sha256=asked.prompt_sha256,
        case_messages=own,
        case=row.case,
        content_sha256=asked.content_sha256,
        expected_sha256=asked.expected_sha256,
        rules=asked.rules,
        score_rules=asked.score_rules,
    )


def _case_fields(kind: CellKind, completion: Completion) -> dict[str, Any]:
    """Return what a cell of a run records of its case: only a timed one has its seconds."""
    if kind is CellKind.LATENCY:
        names = ("latency_s", "batch_size", "reasoning_s")
        return {name: getattr(completion, name) for name in names}
    if kind not in WRITTEN:
        return {_KEYS[kind]: getattr(completion, _FIELDS[kind])}
    known = completion.model_dump(exclude_none=True, exclude=_NOT_KEPT)
    return {"completion": completion.text, **known}
