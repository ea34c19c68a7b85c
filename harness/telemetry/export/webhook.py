"""Webhook: JSON posted to an address, signed, with a few tries and a limit in time.

An address may be a secret, as Slack's are, so no message shows more of it than its host.
"""

from __future__ import annotations

import hmac
import json
import os
import threading
import time
from collections.abc import Mapping
from html import escape
from typing import Any
from urllib.parse import urlsplit

from tunegate.harness.records.errors import UsageError
from tunegate.harness.telemetry.export.http_post import post_once

SECRET = "TUNEGATE_NOTIFY_SECRET"
"""Variable with the key of the signature; without it nothing is signed."""
SIGNATURE = "X-Hub-Signature-256"
"""GitHub's header: https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries"""
TIMEOUT_S = 5.0
"""Seconds that the receiver may take for one try."""
WAITS_S = (1.0, 3.0)
"""Seconds before each further try."""
LONGEST_S = 25.0
"""Seconds after which sending ends in any case, such as with a receiver that answers in drops."""
_SLACK = ("hooks.slack.com", "hooks.slack-gov.com")
_SLACK_LIMIT = 800
"""Characters of a text: all of them escaped are the 4,000 that Slack recommends at most
(https://docs.slack.dev/reference/methods/chat.postMessage#truncating)."""
_BUSY = (408, 429)


def webhook_host(url: str) -> str:
    """Return the host of a webhook's address."""
    try:
        parts = urlsplit(url)
        host = parts.hostname if parts.scheme in ("http", "https") and parts.port != 0 else None
    except ValueError:
        host = None
    if not host or "@" in url or not url.isascii() or not url.isprintable() or " " in url:
        raise UsageError(
            "the address of a webhook is http:// or https://, a host and a path, without spaces "
            f"and without a password; the variable {SECRET} signs what is posted"
        )
    return host


def post_json(url: str, payload: Mapping[str, Any]) -> str | None:
    """Post a payload; return why it was not taken, or None. Slack gets only its `text`."""
    try:
        host = webhook_host(url)
    except UsageError as error:
        return str(error)
    if host in _SLACK:
        payload = {"text": escape(str(payload["text"])[:_SLACK_LIMIT], quote=False)}
    body = json.dumps(payload).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "tunegate"}
    if secret := os.environ.get(SECRET):
        headers[SIGNATURE] = "sha256=" + hmac.new(secret.encode(), body, "sha256").hexdigest()
    ended: list[str | None] = []
    # Neither name servers nor an answer in drops obey the timeout of a connection.
    sending = threading.Thread(target=lambda: ended.append(_try(url, body, headers)), daemon=True)
    sending.start()
    sending.join(LONGEST_S)
    return ended[0] if ended else f"no answer in {LONGEST_S:g} s"


def _try(url: str, body: bytes, headers: Mapping[str, str]) -> str | None:
    for wait in (*WAITS_S, None):
        result = post_once(url, body, headers, TIMEOUT_S)
        if result.status is not None and result.status < 500 and result.status not in _BUSY:
            return result.reason
        if result.reason is None:
            return None
        if wait is not None:
            time.sleep(wait)
    return f"{result.reason}, {len(WAITS_S) + 1} times"
