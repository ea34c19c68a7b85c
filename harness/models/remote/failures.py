"""Failures of a question over a network, by what helps: another try, or nothing.

What asks a question raises `RetryableError` or `PermanentError`; anything else is a defect and ends
the run. A question that stays without an answer is a `RequestFailure`.
"""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_LONGEST = 160
_WHOLE = {
    401: "the key is missing or wrong",
    402: "the account is out of credit",
    403: "the key has no permission for this",
    404: "not found",
    405: "wrong method",
}
"""Statuses that every question would meet."""
_LATER = (408, 409, 425, 429)
_BUSY_S = 1.0
"""Pause after "too many requests" where the server names none."""


def quote_excerpt(text: str) -> str:
    """Return the beginning of a text on one line, in quotes, without control characters."""
    clean = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return repr(clean if len(clean) <= _LONGEST else clean[:_LONGEST] + "…")


def error_of_status(
    status: int, headers: Mapping[str, str], text: str
) -> RetryableError | PermanentError:
    """Return the error that a status other than 200 stands for."""
    message = quote_excerpt(_message(text))
    if 300 <= status < 400:
        target = quote_excerpt(str(headers.get("location", "")))
        return PermanentError(
            f"HTTP {status}: redirects to {target}; give that address instead",
            whole=True,
            status=status,
        )
    if status in _LATER or status >= 500:
        wait = _retry_after(headers)
        busy = _BUSY_S if status == 429 else None
        return RetryableError(f"HTTP {status}: {message}", busy if wait is None else wait)
    if status in _WHOLE:
        return PermanentError(
            f"HTTP {status} ({_WHOLE[status]}): {message}", whole=True, status=status
        )
    return PermanentError(f"HTTP {status}: {message}", whole=False, status=status)


def _message(text: str) -> str:
    """Return the message of an error reply, out of the forms that servers wrap it in."""
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return text
    for key in ("error", "message", "detail"):
        if isinstance(value, dict) and value.get(key):
            value = value[key]
    return value if isinstance(value, str) else text


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the server asks to wait: a number, or a date."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return max(0.0, seconds) if seconds < float("inf") else None


class RetryableError(Exception):
    """Worth another try: too many requests, a fault of the server, a broken line, a garbled reply.

    Args:
        message: One line for people.
        after_s: Seconds that the server asked to wait; all workers keep still until then.
    """

    def __init__(self, message: str, after_s: float | None = None) -> None:
        """Keep the message and the wait."""
        super().__init__(message)
        self.after_s = after_s


class PermanentError(Exception):
    """Never worth another try.

    Args:
        message: One line for people.
        whole: Whether every question would be refused alike (no key, no such model); else only
            this one is (its prompt is too long).
        status: The HTTP status, where there was one.
    """

    def __init__(self, message: str, whole: bool, *, status: int | None = None) -> None:
        """Keep the message and how much of the backend it is about."""
        super().__init__(message)
        self.whole = whole
        self.status = status


@dataclass(frozen=True, slots=True)
class RequestFailure:
    """A question that got no answer, and why; its case is unscored, never a zero."""

    message: str
    attempts: int
    """Times it was asked."""
    refused: bool = False
    """Whether the backend refused it, rather than sent nothing that could be read."""
