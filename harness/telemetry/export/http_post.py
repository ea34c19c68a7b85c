"""One POST by the standard library, and why it failed in words that do not show the address.

Redirects are not followed: what is posted goes to the host that the user named, or nowhere.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping
from ssl import SSLContext
from typing import Any, NamedTuple

from tunegate.harness.records.errors import error_summary


class PostResult(NamedTuple):
    """How a POST ended."""

    reason: str | None
    """Why it was not taken; None if it was."""
    status: int | None = None
    """HTTP status of a refusal; None without one."""
    retry_after: str = ""
    """Header of that name."""


def post_once(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    timeout: float,
    context: SSLContext | None = None,
) -> PostResult:
    """Post a body; proxies come from the environment.

    Args:
        url: An http or https address.
        body: What is posted.
        headers: Headers of the request.
        timeout: Seconds for each step of the connection.
        context: TLS; None has the certificates of the system.
    """
    secure = urllib.request.HTTPSHandler(context=context)
    opener = urllib.request.build_opener(_NoRedirects, secure)
    try:
        request = urllib.request.Request(url, body, dict(headers))
        with opener.open(request, timeout=timeout):
            return PostResult(None)
    except urllib.error.HTTPError as error:
        error.close()
        more = "; redirects are not followed" if error.code < 400 else ""
        retry_after = error.headers.get("Retry-After", "")
        return PostResult(f"HTTP {error.code}{more}", error.code, retry_after)
    except OSError as error:
        cause = getattr(error, "reason", error)
        return PostResult(error_summary(cause) if isinstance(cause, OSError) else str(cause))
    except (ValueError, http.client.HTTPException) as error:
        return PostResult(type(error).__name__, 0)  # its text may hold the address


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        """Take the answer as it is."""
