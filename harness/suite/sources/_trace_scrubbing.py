"""Scrubbing of replayed calls: personal data is replaced before a case is made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from tunegate.harness.contracts import lookup
from tunegate.harness.records.errors import SuiteError, UsageError
from tunegate.harness.suite.sources._replayed_call import ReplayedCall
from tunegate.harness.telemetry.export.redaction import scrub_text


def find_scrubber(name: str) -> Callable[[str], str] | None:
    """Return the function that the option `scrub` names; None for `none`.

    Raises:
        SuiteError: the function cannot be found.
    """
    if name in ("pii", "none"):
        return scrub_text if name == "pii" else None
    if ":" not in name:
        raise SuiteError([f"scrub={name!r} must be 'pii', 'none' or a function, 'pkg.mod:fn'"])
    try:
        found: Callable[[str], str] = lookup.find_object(
            "tunegate.harness.suite.sources", name, what="scrub function"
        )
    except UsageError as error:
        raise SuiteError([str(error)]) from error
    return found


def scrub_call(call: ReplayedCall, scrub: Callable[[str], str]) -> ReplayedCall:
    row = {key: _scrub(value, scrub) if key in _TEXTS else value for key, value in call.row.items()}
    said = call.recorded
    if said is not None:
        said = said.model_copy(update={"text": scrub(said.text or "")})
    return replace(call, row=row, recorded=said)


_TEXTS = ("prompt", "messages", "expected", "expected_calls", "tools", "context", "tags")
"""Fields of a case that may hold personal data; a tag may be a route."""
_FORM = ("role", "type", "name", "id", "tool_call_id")
"""Keys whose texts are structure, not content, except in the arguments of a call."""


def _scrub(value: Any, scrub: Callable[[str], str], form: Collection[str] = _FORM) -> Any:
    if isinstance(value, str):
        text = scrub(value)
        if not isinstance(text, str):
            raise TypeError(f"scrub returned {type(text).__name__}")
        return text
    if isinstance(value, Mapping):
        return {
            key: inner
            if key in form and isinstance(inner, str)
            else _scrub(inner, scrub, () if key == "arguments" else form)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_scrub(inner, scrub, form) for inner in value]
    return value
