"""JSON over HTTP with a deadline.

The key goes into one header and nowhere else: no message quotes it, even where a server repeats
it. Redirects are refused, since they would carry key and prompts to an address nobody named.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

from tunegate.harness.models.remote.failures import (
    PermanentError,
    RetryableError,
    error_of_status,
    quote_excerpt,
)

LARGEST_REPLY = 32_000_000
"""Most bytes of a reply."""
MOST_VALUES = 2_000_000
"""Values in a reply: each is up to 200 bytes in memory, and may be 3 in the reply."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass
class HttpClient:
    """A client whose connections are kept alive and shared by all threads until it is closed.

    Example:
        with HttpClient(key) as http:
            http.post_json("http://localhost:8000/v1/completions", body, deadline=monotonic() + 60)
    """

    key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Headers besides those of the key."""

    def __post_init__(self) -> None:
        """Have no connection yet."""
        self._clients: dict[bool, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; calls that are in progress end with `RetryableError`."""
        for client in self._clients.values():
            client.close()

    def get_json(self, url: str, *, deadline: float) -> dict[str, Any]:
        """Return the JSON object at `url`; see `post_json`."""
        return self._json("GET", url, {}, deadline)

    def post_json(self, url: str, body: Mapping[str, Any], *, deadline: float) -> dict[str, Any]:
        """Send `body` and return the JSON object that comes back."""
        return self._json("POST", url, {"json": dict(body)}, deadline)

    def get_text(self, url: str, *, deadline: float) -> str:
        """Return the text at `url`; see `post_json`."""
        return self._fetch("GET", url, {}, deadline)[0].decode("utf-8", "replace")

    def _json(
        self, method: str, url: str, body: Mapping[str, Any], deadline: float
    ) -> dict[str, Any]:
        return self._object(*self._fetch(method, url, body, deadline))

    def _fetch(
        self, method: str, url: str, body: Mapping[str, Any], deadline: float
    ) -> tuple[bytes, str]:
        """Return the content of a reply and its type."""
        import httpx

        try:
            status, headers, raw = self._exchange(method, url, body, deadline)
        except httpx.TimeoutException as error:
            raise RetryableError(
                f"{_host(url)}: no reply in time ({type(error).__name__})"
            ) from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise PermanentError(f"{url}: {self._safe(str(error))}", whole=True) from error
        except (httpx.HTTPError, RuntimeError, OSError) as error:  # RuntimeError: it was closed
            what = self._safe(str(error)) or type(error).__name__
            raise RetryableError(f"{_host(url)}: {what}") from error
        if not 200 <= status < 300:
            raise error_of_status(status, headers, self._safe(raw.decode("utf-8", "replace")))
        return raw, str(headers.get("content-type", ""))

    def _exchange(
        self, method: str, url: str, body: Mapping[str, Any], deadline: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Return status, headers and content; a server that drips is cut off at the deadline."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise RetryableError("no time left to ask")
        parts = []
        size = 0
        with self._client(url).stream(method, url, timeout=left, **body) as response:
            for part in response.iter_bytes():
                size += len(part)
                if time.monotonic() > deadline:
                    raise RetryableError(f"{_host(url)}: the reply was not complete in time")
                if size > LARGEST_REPLY:
                    text = f"{_host(url)}: the reply exceeds {LARGEST_REPLY:,} bytes"
                    raise PermanentError(text, whole=False)
                parts.append(part)
            return response.status_code, response.headers, b"".join(parts)

    def _client(self, url: str) -> Any:
        """Return the client for an address; proxies of the environment are not for this machine."""
        import httpx

        here = _host(url).rpartition(":")[0].strip("[]") in LOOPBACK
        if here not in self._clients:
            headers = {**self.headers, "Accept-Encoding": "identity"}
            if self.key:
                headers["Authorization"] = f"Bearer {self.key}"
            unbounded = httpx.Limits(max_connections=None, max_keepalive_connections=None)
            client = httpx.Client(
                headers=headers, limits=unbounded, trust_env=not here, follow_redirects=False
            )
            # Two threads may come here at once: the one that comes second gives its client up.
            if self._clients.setdefault(here, client) is not client:
                client.close()
        return self._clients[here]

    def _object(self, raw: bytes, kind: str) -> dict[str, Any]:
        """Return a reply's JSON object; anything else is garbled, and may not be so next time."""
        values = sum(map(raw.count, (b"{", b"[", b",")))
        if values > MOST_VALUES:
            raise PermanentError(f"the reply holds more than {MOST_VALUES:,} values", whole=False)
        try:
            value = json.loads(raw, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            html = "html" in kind or raw.lstrip()[:1] == b"<"
            what = "HTML instead of JSON" if html else "not JSON"
            text = self._safe(raw[:4000].decode("utf-8", "replace"))
            raise RetryableError(f"the reply is {what}: {quote_excerpt(text)}") from error
        if not isinstance(value, dict):
            text = self._safe(raw[:4000].decode("utf-8", "replace"))
            raise RetryableError(f"the reply is not a JSON object: {quote_excerpt(text)}")
        return value

    def _safe(self, text: str) -> str:
        """Return a text without the key."""
        return text.replace(self.key, "[key]") if self.key else text


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a JSON number")


def _host(url: str) -> str:
    """Return host and port of an address: what may be named in a message."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
