"""Results of Inspect: a log as `.eval` or `.json`, or a folder of logs.

Data sets without ids have numbers, which mean other questions in a shuffled run; then the hash of
the input is the id. Epochs are samples. Letters are converted as Inspect does (C 1, P 0.5, I and N
0), and a score of several values is `scorer.key`. A log's status may be `success` even if every
sample failed, so each sample's own status counts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.reasoning import message_thoughts
from tunegate.harness.contracts.result_reader import (
    ResultLog,
    ResultRow,
    UnreadLine,
    content_id,
    result_reader,
    value_at,
)
from tunegate.harness.records.episodes import EpisodeCall, EpisodeTurn
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.record import replace_surrogates
from tunegate.harness.records.wording import count_noun
from tunegate.harness.results._files import first_bytes, json_document, json_text
from tunegate.harness.results._inspect_header import LogHeader, read_header
from tunegate.harness.results._values import convert_scores, dict_at, list_at, row_fields, text_of
from tunegate.harness.results._zip_archive import open_zip

_LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
_WORDS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
_KEPT = ("role", "content", "tool_calls", "tool_call_id")
"""Keys of a message that are sent to a model."""
_JSON_LOG = re.compile(rb'\s*\{\s*"version":\s*\d+,\s*"status":\s*"')


def _log_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if _is_log(path) else []
    found = [*path.glob("*.*"), *path.glob("*/*.*")]
    return sorted(file for file in found if _is_log(file))


def _is_log(path: Path) -> bool:
    if path.suffix == ".eval":
        return first_bytes(path, 2) == b"PK"
    return path.suffix == ".json" and bool(_JSON_LOG.match(first_bytes(path)))


def _turns(sample: Mapping[str, Any]) -> tuple[EpisodeTurn, ...]:
    """Return what the model wrote in each turn, with the calls that were run and their results."""
    attachments = dict_at(sample, "attachments")
    listed = _resolve_attachments(list_at(sample, "messages"), attachments)
    messages = [item for item in listed if isinstance(item, Mapping)]
    results = {text_of(m.get("tool_call_id")): m for m in messages if m.get("role") == "tool"}
    turns: list[EpisodeTurn] = []
    for number, message in enumerate(messages):
        if message.get("role") == "user" and turns and not turns[-1].calls:
            turns[-1] = turns[-1].model_copy(update={"message": _message_text(message)})
        if not _is_new(message):
            continue
        turns.append(
            EpisodeTurn(
                # Without Inspect's ids and sources.
                prompt_sha256=content_id(
                    [{key: m[key] for key in _KEPT if m.get(key)} for m in messages[:number]],
                    length=64,
                ),
                text=_message_text(message),
                calls=tuple(
                    _call(call, results.get(text_of(call.get("id")), {}))
                    for call in list_at(message, "tool_calls")
                    if isinstance(call, Mapping)
                ),
            )
        )
    return tuple(turns)


def _call(call: Mapping[str, Any], result: Mapping[str, Any]) -> EpisodeCall:
    error = value_at(result, "error.message") or call.get("parse_error")
    shown = f"{error}" if error else _message_text(result)
    return EpisodeCall(
        name=text_of(call.get("function")) or "",
        arguments=replace_surrogates(dict(dict_at(call, "arguments"))),
        result=replace_surrogates(shown),
        error=bool(error),
    )


def _message_text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    text = text_of(content) or ""
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, Mapping))
        text = "".join(part for part in parts if isinstance(part, str))
    return str(replace_surrogates(text))


@result_reader(
    files="an Inspect log (.eval, .json), or a folder of logs",
    recognize=lambda path: bool(_log_files(path)),
    turns=_turns,
)
def inspect(path: Path) -> Iterator[ResultLog]:
    """Yield a log for each model and task, the newest where a folder has several."""
    if path.is_file() and path.suffix == ".eval" and not _is_log(path):
        raise UsageError(f"{path}: not a complete zip archive; wait until Inspect has written it")
    headers = [read_header(file) for file in _log_files(path)]
    newest: dict[tuple[str, str], LogHeader] = {}
    older: Counter[tuple[str, str]] = Counter()
    for header in headers:
        place = (header.model, header.task)
        other = newest.get(place)
        if other is not None and other.arguments != header.arguments:
            raise UsageError(
                f"{header.path.parent}: {header.path.name} and {other.path.name} ran "
                f"{header.task!r} with different arguments; name one of them"
            )
        older[place] += other is not None
        newest[place] = max(other or header, header, key=lambda log: (log.created, str(log.path)))
    for place, header in newest.items():
        notes = [*header.notes]
        if older[place]:
            left_out = count_noun(older[place], "older log")
            notes.append(
                f"{header.task}: {header.path.name} is read, the newest; {left_out} left out"
            )
        rows = partial(_rows, header.path, header.task, header.model, numbered=header.has_numbers)
        run = "" if len({m for m, _ in newest}) == 1 else header.model
        yield header.log(rows, tuple(notes), run)


def _samples(
    path: Path,
) -> Generator[tuple[str, Mapping[str, Any] | UnreadLine], None, None]:
    if path.suffix == ".json":
        samples = list_at(json_document(path), "samples")
        for number, sample in enumerate(samples, start=1):
            where = f"{path}: sample {number}"
            is_object = isinstance(sample, Mapping)
            yield where, sample if is_object else UnreadLine(where, "must be an object")
        return
    with open_zip(path) as archive:
        for name in archive.names:
            if not name.startswith("samples/") or not name.endswith(".json"):
                continue
            where = f"{path}: {name}"
            try:
                sample = json_text(archive.read(name), where)
            except UsageError as error:
                yield where, UnreadLine(where, str(error).removeprefix(f"{where}: "))
                continue
            is_object = isinstance(sample, Mapping)
            yield where, sample if is_object else UnreadLine(where, "must be an object")


def _rows(path: Path, task: str, model: str, *, numbered: bool) -> Iterator[ResultRow | UnreadLine]:
    names = _names_by_input(path) if numbered else {}
    with closing(_samples(path)) as samples:
        for where, sample in samples:
            if isinstance(sample, UnreadLine):
                yield sample
                continue
            number = text_of(sample.get("id"))
            if not number:
                yield UnreadLine(where, "the sample has no id")
                continue
            yield _row(where, task, model, sample, names.get(number, number))


def _names_by_input(path: Path) -> dict[str, str]:
    """Return id → hash of the input, numbered if a data set holds it several times."""
    hashes: dict[int, str] = {}
    with closing(_samples(path)) as samples:
        for _, sample in samples:
            if isinstance(sample, Mapping) and type(sample.get("id")) is int:
                hashes[sample["id"]] = content_id(sample.get("input"))
    seen: Counter[str] = Counter()
    names: dict[str, str] = {}
    for number, name in sorted(hashes.items()):
        seen[name] += 1
        names[str(number)] = name if seen[name] == 1 else f"{name}#{seen[name]}"
    return names


def _row(where: str, task: str, model: str, sample: Mapping[str, Any], name: str) -> ResultRow:
    scores, errors = _scores(sample.get("scores"))
    usage = dict_at(dict_at(sample, "model_usage"), model)
    first = dict_at(sample, "output.choices.0")
    return ResultRow(
        id=name,
        where=where,
        task=task,
        prompt=_prompt(sample),
        completion=text_of(value_at(sample, "output.completion")) if first else None,
        reasoning=message_thoughts(dict_at(first, "message")),
        scores=scores,
        errors=errors,
        error=_error(sample),
        expected=_right_answer(sample.get("target")),
        whole=not _acted(sample),
        finish_reason=text_of(value_at(sample, "limit.type") or first.get("stop_reason")),
        input_tokens=_count(usage.get("input_tokens")),
        output_tokens=_count(usage.get("output_tokens")),
        fields=sample,
        **row_fields(sample, sample="epoch", latency_s="working_time"),
    )


def _is_new(message: Any) -> bool:
    """Return whether the model wrote a message; data may hold some of its role."""
    is_input = value_at(message, "source") == "input"
    return value_at(message, "role") == "assistant" and not is_input


def _acted(sample: Mapping[str, Any]) -> bool:
    """Return whether the model called tools or wrote several messages, which scorers may read."""
    messages = list_at(sample, "messages")
    wrote = [m for m in messages if _is_new(m)]
    return len(wrote) > 1 or any(value_at(m, "tool_calls") for m in wrote)


def _error(sample: Mapping[str, Any]) -> str | None:
    if sample.get("error"):
        return text_of(value_at(sample, "error.message")) or "the sample failed"
    if sample.get("invalidation"):
        reason = text_of(value_at(sample, "invalidation.reason"))
        return f"invalidated{f': {reason}' if reason else ''}"
    return None


def _scores(recorded: Any) -> tuple[dict[str, float | None], dict[str, str]]:
    values: dict[str, Any] = {}
    said: dict[str, str | None] = {}
    for name, score in recorded.items() if isinstance(recorded, Mapping) else ():
        raw = value_at(score, "value")
        several = raw.items() if isinstance(raw, Mapping) else [("", raw)]
        for key, value in several:
            full = f"{name}.{key}" if key else str(name)
            values[full] = _LETTERS.get(value, value) if isinstance(value, str) else value
            said[full] = text_of(value_at(score, "explanation"))
    scores, errors = convert_scores(values, words=_WORDS)
    return scores, {
        name: f"{problem}: {said[name]}" if said[name] else problem
        for name, problem in errors.items()
    }


def _prompt(sample: Mapping[str, Any]) -> str | Sequence[Mapping[str, Any]] | None:
    """Return what the model was first sent: the messages before its first answer."""
    attachments = dict_at(sample, "attachments")
    sent: list[dict[str, Any]] = []
    for turn in list_at(sample, "messages"):
        if not isinstance(turn, Mapping):
            return None
        if _is_new(turn):
            break
        sent.append(
            {key: _resolve_attachments(turn[key], attachments) for key in _KEPT if turn.get(key)}
        )
    if len(sent) == 1 and sent[0].get("role") == "user" and isinstance(sent[0].get("content"), str):
        return str(sent[0]["content"])
    text = sample.get("input")
    return sent or (text if isinstance(text, str) else None)


def _resolve_attachments(value: Any, attachments: Mapping[str, Any]) -> Any:
    """Return a value with the long texts that a log keeps apart."""
    if isinstance(value, str) and value.startswith("attachment://"):
        return attachments.get(value.removeprefix("attachment://"), value)
    if isinstance(value, list):
        return [_resolve_attachments(part, attachments) for part in value]
    if isinstance(value, Mapping):
        return {key: _resolve_attachments(part, attachments) for key, part in value.items()}
    return value


def _right_answer(target: Any) -> str | list[str] | None:
    if isinstance(target, list):
        return [text for one in target if (text := text_of(one))] or None
    return text_of(target) or None


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None
