"""What litellm's errors mean for the pool: worth another try, or never.

They are told apart by the HTTP status that litellm gives them, whichever provider it was.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from harness.remote.failure import Later, Refused
from harness.remote.reply import excerpt, refusal

_QUOTA = re.compile(r"insufficient_quota|exceeded your current quota|billing", re.IGNORECASE)
_PREFIXES = re.compile(r"^(?:(?:litellm\.)?\w+: )*(?:\w+Exception - )?")
_SECRET = re.compile(r"(?:_KEY|_KEY_ID|_TOKEN|_SECRET|_PASSWORD)$", re.IGNORECASE)
_SHORTEST_SECRET = 8


def of(error: Exception) -> Later | Refused:
    """Return the failure that an exception of litellm stands for."""
    status, text = getattr(error, "status_code", None), _in_words(error)
    if type(error).__name__ == "UnsupportedParamsError":
        return Refused(excerpt(text), whole=True, status=status)
    if status == 429 and _QUOTA.search(text):  # waiting does not help
        said = f"HTTP 429 (the account has no means): {excerpt(text)}"
        return Refused(said, whole=True, status=status)
    headers = _headers(error)
    if not isinstance(status, int) or (not headers and (status == 408 or status >= 500)):
        # litellm gives a status to what never was an HTTP reply, too.
        return Later(f"{type(error).__name__}: {excerpt(text)}")
    return refusal(status, headers, text)


def _in_words(error: Exception) -> str:
    """Return the provider's own words, without litellm's prefixes and without secrets."""
    text = _PREFIXES.sub("", " ".join(str(error).split())) or type(error).__name__
    for name, value in os.environ.items():
        if _SECRET.search(name) and len(value) >= _SHORTEST_SECRET:
            text = text.replace(value, f"<{name}>")
    return text


def _headers(error: Exception) -> Mapping[str, str]:
    """Return the reply's headers with small letters, as far as litellm kept them."""
    kept = getattr(error, "litellm_response_headers", None)
    headers = kept or getattr(getattr(error, "response", None), "headers", None) or {}
    return {str(name).lower(): str(value) for name, value in headers.items()}
