"""How hard a judge may be asked: `?concurrency=4&rpm=500&tpm=200000&deadline=60` in its spec."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from harness.errors import ModelError
from harness.lookup import unknown
from harness.remote.limits import Limits

USUAL = Limits(concurrency=16, deadline_s=120.0)
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
class Place:
    """A spec's target, and how hard it may be asked."""

    target: str
    """Without the settings."""
    limits: Limits


def limited(backend: str, target: str) -> Place:
    """Take the limits out of a spec's target.

    Raises:
        ModelError: a setting does not exist, or is no number.
        UsageError: a limit is out of range.
    """
    found = _QUERY.search(target)
    if found is None:
        return Place(target, USUAL)
    given: dict[str, Any] = {}
    for part in found[1].split("&"):
        name, _, value = part.partition("=")
        if name not in _NAMES:
            raise ModelError(
                f"judge {backend}:{target}: {unknown(name, tuple(_NAMES), what='setting')}"
            )
        limit, kind = _NAMES[name]
        try:
            given[limit] = kind(value)
        except ValueError as error:
            raise ModelError(f"judge {backend}:{target}: {name}={value!r} is no number") from error
    usual = {name: getattr(USUAL, name) for name, _ in _NAMES.values()}
    return Place(target[: found.start()] + target[found.end() :], Limits(**{**usual, **given}))
