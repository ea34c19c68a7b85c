"""What a reply that is no answer says: in one line, and whether another try may help."""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Mapping
from typing import Any

from harness.remote.failure import Later, Refused

_LONGEST = 160
_WHOLE = {
    401: "the key is missing or wrong",
    402: "the account has no means",
    403: "the key may not do this",
    404: "nothing is there",
    405: "it is not asked like this",
}
"""Statuses that every question would meet."""
_LATER = (408, 409, 425, 429)
_BUSY_S = 1.0
"""Pause after "too many requests" where the server names none."""


def excerpt(text: str) -> str:
    """Return the beginning of a text on one line, in quotes, without control characters."""
    clean = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return repr(clean if len(clean) <= _LONGEST else clean[:_LONGEST] + "…")


def refusal(status: int, headers: Mapping[str, str], text: str) -> Later | Refused:
    """Return the error that a status other than 200 stands for.

    Args:
        status: The HTTP status.
        headers: The reply's headers.
        text: Its content, without secrets.
    """
    said = excerpt(_message(text))
    if 300 <= status < 400:
        place = excerpt(str(headers.get("location", "")))
        return Refused(
            f"HTTP {status}: it sends us to {place}; give the address that answers itself",
            whole=True,
            status=status,
        )
    if status in _LATER or status >= 500:
        wait = _retry_after(headers)
        busy = _BUSY_S if status == 429 else None
        return Later(f"HTTP {status}: {said}", busy if wait is None else wait)
    if status in _WHOLE:
        return Refused(f"HTTP {status} ({_WHOLE[status]}): {said}", whole=True, status=status)
    return Refused(f"HTTP {status}: {said}", whole=False, status=status)


def _message(text: str) -> str:
    """Return what an error reply says, out of the forms that servers wrap it in."""
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
