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
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tunegate.harness.models._file_arm import FIELDS, FileArm
from tunegate.harness.records.answers import WRITTEN, CellKind, Completion, StoredAnswer
from tunegate.harness.records.errors import ModelError, UsageError
from tunegate.harness.records.files import numbered_lines, read_record, split_fragment
from tunegate.harness.records.generation import GenerationSettings, written_settings
from tunegate.harness.records.hashing import file_sha256, sha256
from tunegate.harness.records.jsonl import JsonlRecords
from tunegate.harness.records.manifest import Manifest
from tunegate.harness.records.problems import lfs_problem, summarize_problems, validation_problem
from tunegate.harness.records.recorded_answer import (
    UNKNOWN_REQUEST,
    RecordedAnswer,
    RecordedRequest,
)
from tunegate.harness.records.run_folder import RunCase, refuse_links

SPEC = "replay:FILE.jsonl or replay:RUN_DIR[#ARM]"
_FAILED = ("content_filter", "error")
"""Finish reasons of answers that were withheld or failed."""
_OTHER_NAMES = dict.fromkeys(
    ("output", "response", "answer", "text", "prediction", "generated_text", "generation"),
    "completion",
)
_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n\x0b\x0c" + _BOM
_NOT_KEPT = {"text", "latency_s", "batch_size", "reasoning_s", "attempts", "answered_by"}
_MEASURED = {
    CellKind.LATENCY: ("latency_s", "batch_size", "reasoning_s"),
    CellKind.DRAFTS: ("drafted_tokens", "accepted_tokens"),
}
"""Kind → what a cell of a run is kept for."""
_NOT_HASHED = {"prompt", "messages", "prompt_sha256", "example", "attempts", "answered_by"}
Answers = Mapping[tuple[str, str, int], Completion]
"""(suite, case, sample) → answer; the suite is empty in a file, which serves any suite."""
Requests = Mapping[tuple[str, str], RecordedRequest]
"""(suite, case) → what is known of the request."""


def replay(target: str) -> FileArm:
    """Open recorded completions: a JSONL file, or a run folder with an optional `#arm`."""
    path, name = split_fragment(target)
    if path.is_dir():
        return _from_run(path, name or "tuned")
    if not path.is_file():
        raise ModelError(f"replay:{target}: no such file or run folder")
    try:
        answers, requests, has_examples = _read(path)
        arm = _arm(f"replay:{target}", file_sha256(path), answers, requests, "unknown")
        return replace(arm, has_examples=has_examples)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); give permission") from error


def _arm(
    spec: str, digest: str, answers: Answers, requests: Requests, generation: object
) -> FileArm:
    return FileArm(
        spec=spec,
        facts={
            "backend": "replay",
            "file_sha256": digest,
            "lines": len(answers),
            "generation": generation,
        },
        fingerprint=digest,
        answers=answers,
        failures={
            key: f"its recorded finish_reason is {answer.finish_reason!r}"
            for key, answer in answers.items()
            if answer.finish_reason in _FAILED
        },
        request=lambda suite, case: requests.get((suite, case)) or requests.get(("", case)),
    )


def _read(path: Path) -> tuple[Answers, Requests, bool]:
    """Return the answers, the request for each case, and whether some answers are examples.

    Every broken or doubled line is reported.
    """
    answers: dict[tuple[str, str, int], Completion] = {}
    requests: dict[tuple[str, str], RecordedRequest] = {}
    numbers: dict[tuple[str, int], int] = {}
    first: dict[str, int] = {}
    has_examples = False
    problems = []
    for number, raw in _lines(path):
        try:
            line = _read_line(raw)
        except ValueError as error:
            problems.append(f"{path}:{number}: {error}")
            continue
        before = numbers.setdefault((line.id, line.sample), number)
        if before != number:
            problems.append(
                f"{path}:{number}: id {line.id!r} is already in line {before}; give a sample number"
            )
        request = line.request
        if requests.setdefault(("", line.id), request) != request:
            problems.append(
                f"{path}:{number}: id {line.id!r} has another prompt than in line "
                f"{first[line.id]}; the samples of a case share its prompt: give another id"
            )
        first.setdefault(line.id, number)
        answers.setdefault(("", line.id, line.sample), line.answer)
        has_examples |= line.example
    if not answers and not problems:
        problems.append(f"{path}: no lines; write one completion a line")
    if problems:
        raise ModelError("\n".join(summarize_problems(problems)))
    return answers, requests, has_examples


def _read_line(raw: bytes) -> RecordedAnswer:
    """Return what a line holds; raises ValueError with the problem in words."""
    try:
        line = RecordedAnswer.model_validate_json(raw)
    except ValidationError as error:
        why = validation_problem(RecordedAnswer, error, other_names=_OTHER_NAMES)
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


def _from_run(folder: Path, arm: str) -> FileArm:
    try:
        refuse_links(folder)
        rows = JsonlRecords(folder / "cells.jsonl", StoredAnswer)
        requests, generation = _run_requests(folder, arm)
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
        key: RecordedAnswer(id=key[1], sample=key[2], **recorded)
        for key, recorded in fields.items()
    }
    answers = {key: line.answer for key, line in lines.items()}
    answered = {key[:2]: requests.get(key[:2], UNKNOWN_REQUEST) for key in lines if not key[2]}
    return _arm(f"replay:{folder}#{arm}", _digest(lines), answers, answered, generation)


def _digest(lines: Mapping[tuple[str, str, int], RecordedAnswer]) -> str:
    """Return the hash of a run's answers, by which stored answers and attempts are known."""
    always = dict.fromkeys(("scores", "errors", "episode"))
    return sha256(
        [
            [key[0], always | line.model_dump(mode="json", by_alias=True, exclude=_NOT_HASHED)]
            for key, line in lines.items()
        ]
    )


def _run_requests(folder: Path, arm: str) -> tuple[Requests, object]:
    """Return the requests of an arm of a run, and its generation settings by suite.

    Nothing is known without a manifest. Of an arm that was itself recorded, its own files tell
    what it was asked.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        return {}, "unknown"
    manifest = read_record(path, Manifest)
    sorts = {_sort(manifest.identity(name)) for name in ("base", arm)}
    recorded = _sort(manifest.identity(arm)) == "replay"
    judged = {suite.name: suite.generation for suite in manifest.suites}
    requests = {
        (row.suite, row.case.id): _recorded_request_of(row, judged[row.suite], arm)
        if recorded
        else _request_of(row, judged[row.suite], sorts == {"here"})
        for row in JsonlRecords(folder / "cases.jsonl", RunCase)
        if row.suite in judged
    }
    if not recorded:
        return requests, judged
    settings = manifest.identity(arm).get("generation")
    return requests, dict(settings) if isinstance(settings, Mapping) else "unknown"


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
    record = row.asked.get(arm, UNKNOWN_REQUEST)
    case_messages = row.case.input_messages(GenerationSettings.model_validate(generation).system)
    messages = case_messages if record.as_case else record.messages
    return record.model_copy(
        update={"messages": messages, "case_messages": case_messages, "case": row.case}
    )


def _case_fields(kind: CellKind, completion: Completion) -> dict[str, Any]:
    """Return what a cell of a run records of its case: only a timed one has its seconds."""
    if kind in _MEASURED:
        return {name: getattr(completion, name) for name in _MEASURED[kind]}
    if kind not in WRITTEN:
        return {FIELDS[kind]: getattr(completion, FIELDS[kind])}
    fields = completion.model_dump(exclude_none=True, exclude=_NOT_KEPT)
    return {"completion": completion.text, **fields}
