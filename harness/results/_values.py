"""Values within a record of a tool, whose types its files do not promise."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from tunegate.harness.contracts.result_reader import (
    NUMBERS,
    ResultRow,
    UnreadLine,
    score_value,
    value_at,
)
from tunegate.harness.records.answers import reported_amount

SAMPLING = (
    "do_sample", "temperature", "top_p", "top_k", "min_p", "typical_p", "num_beams", "best_of", "n",
    "frequency_penalty", "presence_penalty", "repetition_penalty", "length_penalty", "logit_bias",
    "max_tokens", "max_new_tokens", "max_completion_tokens", "max_output_tokens", "max_gen_toks",
    "max_length", "max_model_len", "max_model_length", "truncation",
    "stop", "stop_tokens", "stop_sequences", "until", "enable_thinking", "think_end_token",
    "thinking", "thinking_budget", "reasoning", "reasoning_effort", "response_format",
    "system_prompt",
)  # fmt: skip
"""Arguments of models and requests that change an answer. Addresses, keys, seeds, devices, number
formats and batch sizes are left out: two honest runs may differ in them."""

LARGEST_COUNT = 10**12
"""Tokens; a larger number is not a measurement."""


def text_of(value: Any) -> str | None:
    """Return a value as text: texts as they are, others as JSON; None stays None."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def list_at(record: Any, path: str) -> list[Any]:
    """Return the list at a dotted path, or an empty one."""
    found = value_at(record, path)
    return found if isinstance(found, list) else []


def dict_at(record: Any, path: str) -> dict[str, Any]:
    """Return the object at a dotted path, or an empty one."""
    found = value_at(record, path)
    return found if isinstance(found, dict) else {}


def sampling_of(arguments: Any) -> dict[str, Any]:
    """Return the arguments of a model or request that change an answer: name → value."""
    given = arguments if isinstance(arguments, Mapping) else {}
    return {name: given[name] for name in SAMPLING if given.get(name) is not None}


def without_seed(arguments: Any) -> Any:
    """Return arguments, an object or a text `a=1,b=2`, without the seed: honest runs may differ."""
    if isinstance(arguments, Mapping):
        return {name: value for name, value in arguments.items() if name != "seed"}
    if isinstance(arguments, str):
        return ",".join(part for part in arguments.split(",") if not part.startswith("seed="))
    return arguments


def fields_of(record: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return fields of a record as settings: None if not set, and nothing without a record."""
    known = isinstance(record, Mapping) and record
    return {name: value_at(record, name) for name in names} if known else {}


def is_conversation(value: Any) -> bool:
    """Return whether a value is a list of messages with roles."""
    return isinstance(value, list) and all(isinstance(t, dict) and "role" in t for t in value)


def prompt_of(value: Any) -> Any:
    """Return a prompt as `ResultRow` takes it: a conversation, or else text."""
    return value if is_conversation(value) else text_of(value)


def convert_scores(
    raw: Mapping[str, Any],
    failures: Mapping[str, Any] = MappingProxyType({}),
    words: Mapping[str, float] = NUMBERS,
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Return the numbers by score key, and why some are missing.

    `failures` maps a score key to the reason why its score does not count; an empty reason is
    ignored. `words` maps texts to the numbers that they stand for.
    """
    scores: dict[str, float | None] = {}
    errors: dict[str, str] = {}
    for key, value in raw.items():
        number, problem = score_value(value, words=words)
        problem = text_of(failures.get(key) or None) or problem
        scores[str(key)] = None if problem else number
        if problem:
            errors[str(key)] = problem
    return scores, errors


def row_fields(record: Any, **paths: str) -> dict[str, Any]:
    """Return fields of a `ResultRow`: name → the value at a dotted path, as the row takes it.

    `latency_ms` becomes `latency_s`. An empty text other than the completion is None, and
    so is an amount that cannot be true.
    """
    fields: dict[str, Any] = {}
    for name, path in paths.items():
        value = value_at(record, path)
        if name in ("input_tokens", "output_tokens"):
            fields[name] = token_count(value)
        elif name in ("latency_s", "cost"):
            fields[name] = reported_amount(score_value(value)[0])
        elif name == "latency_ms":
            number = reported_amount(score_value(value)[0])
            fields["latency_s"] = None if number is None else number / 1000
        elif name == "sample":
            fields[name] = value if type(value) is int else None
        else:
            text = prompt_of(value) if name == "prompt" else text_of(value)
            fields[name] = text if name == "completion" else text or None
    return fields


def read_rows(
    records: Iterable[tuple[str, dict[str, Any] | UnreadLine]],
    make_row: Callable[[str, dict[str, Any]], ResultRow],
) -> Iterator[ResultRow | UnreadLine]:
    """Yield a row for each record; one that `make_row` refuses by a ValueError is unread."""
    for where, record in records:
        if isinstance(record, UnreadLine):
            yield record
            continue
        try:
            yield make_row(where, record)
        except ValueError as error:
            yield UnreadLine(where, str(error))


def token_count(raw: Any) -> int | None:
    """Return a number of tokens; None for 0, which tools write if they do not know."""
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not 0 < raw < LARGEST_COUNT:
        return None
    return int(raw)
