"""Limits in a judge spec: `?concurrency=8&rpm=60` says how hard a backend may be asked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tunegate.harness.contracts.model import PoolLimits
from tunegate.harness.records.defaults import DEADLINE_S, JUDGE_CONCURRENCY
from tunegate.harness.records.errors import ModelError, unknown_name_message

BATCH = "batch"
"""Setting that uses the provider's batches."""
USUAL = PoolLimits(concurrency=JUDGE_CONCURRENCY, deadline_s=DEADLINE_S)
_NAMES = {
    "concurrency": ("concurrency", int),
    "attempts": ("attempts", int),
    "deadline": ("deadline_s", float),
    "rpm": ("requests_per_minute", float),
    "tpm": ("tokens_per_minute", float),
}
"""Setting → the limit it sets, and its type."""
_QUERY = re.compile(r"\?([^#]*)")


@dataclass(frozen=True, slots=True)
class JudgeTarget:
    """The target of a spec, and its limits."""

    target: str
    """Without the settings."""
    limits: PoolLimits
    batch: bool = False
    """Whether the questions of a round are sent as a batch."""


def split_limits(backend: str, target: str) -> JudgeTarget:
    """Split the limits off a spec's target.

    Raises:
        ModelError: a setting does not exist, or is not a number.
        UsageError: a limit is out of range.
    """
    query = _QUERY.search(target)
    if query is None:
        return JudgeTarget(target, USUAL)
    limits: dict[str, Any] = {}
    batch = False
    for part in query[1].split("&"):
        name, _, value = part.partition("=")
        if name == BATCH:
            if value not in ("true", "false"):
                raise ModelError(f"judge {backend}:{target}: batch={value!r} must be true or false")
            batch = value == "true"
            continue
        if name not in _NAMES:
            names = (*_NAMES, BATCH)
            raise ModelError(
                f"judge {backend}:{target}: {unknown_name_message(name, names, what='setting')}"
            )
        limit, kind = _NAMES[name]
        try:
            limits[limit] = kind(value)
        except ValueError as error:
            raise ModelError(
                f"judge {backend}:{target}: {name}={value!r} is not a number"
            ) from error
    usual = {name: getattr(USUAL, name) for name, _ in _NAMES.values()}
    return JudgeTarget(
        target[: query.start()] + target[query.end() :], PoolLimits(**{**usual, **limits}), batch
    )
