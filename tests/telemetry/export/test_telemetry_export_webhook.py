"""Posting to a webhook: signed, tried again where that may help, bounded in time."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import time
from typing import Any

import pytest

from tests.webhooks import Webhook, webhook
from tunegate.harness.records.errors import UsageError
from tunegate.harness.telemetry.export import webhook as posting
from tunegate.harness.telemetry.export.webhook import post_json, webhook_host

__all__ = ["webhook"]
PAYLOAD = {"text": "tunegate: BLOCK", "exit_code": 1}


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "WAITS_S", (0.0, 0.0))
    monkeypatch.delenv("TUNEGATE_NOTIFY_SECRET", raising=False)


def test_the_body_is_signed_as_github_signs(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEGATE_NOTIFY_SECRET", "s3cret")

    assert post_json(webhook.url, PAYLOAD) is None

    ((path, headers, body),) = webhook.requests
    expected = hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    assert path == "/hook/secret-token"
    assert headers["x-hub-signature-256"] == f"sha256={expected}"
    assert headers["content-type"] == "application/json"
    assert json.loads(body) == PAYLOAD


def test_without_a_secret_nothing_is_signed(webhook: Webhook) -> None:
    assert post_json(webhook.url, PAYLOAD) is None

    assert "x-hub-signature-256" not in webhook.requests[0][1]


@pytest.mark.parametrize(
    ("statuses", "tries", "problem"),
    [
        ([500], 2, None),
        ([429, 503], 3, None),
        ([500, 502, 503], 3, "HTTP 503, 3 times"),
        ([404], 1, "HTTP 404"),
        ([403], 1, "HTTP 403"),
    ],
)
def test_only_a_busy_or_broken_receiver_is_tried_again(
    webhook: Webhook, statuses: list[int], tries: int, problem: str | None
) -> None:
    webhook.statuses = statuses

    assert post_json(webhook.url, PAYLOAD) == problem
    assert len(webhook.requests) == tries


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(webhook: Webhook, status: int) -> None:
    webhook.statuses, webhook.location = [status], webhook.url + "/elsewhere"

    assert post_json(webhook.url, PAYLOAD) == f"HTTP {status}; redirects are not followed"
    assert len(webhook.requests) == 1


def test_a_closed_port_is_tried_three_times() -> None:
    problem = post_json("http://127.0.0.1:9/hook/secret-token", PAYLOAD)

    assert problem is not None
    assert problem.startswith("ConnectionRefusedError")
    assert problem.endswith(", 3 times")
    assert "token" not in problem


def test_a_slow_receiver_costs_its_timeout(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "TIMEOUT_S", 0.1)
    webhook.delay_s = 1.0

    assert post_json(webhook.url, PAYLOAD) == "TimeoutError: timed out, 3 times"


def test_an_answer_in_drops_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each drop comes before the timeout of the connection."""
    monkeypatch.setattr(posting, "LONGEST_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        begun = time.monotonic()
        problem = post_json(f"http://127.0.0.1:{server.getsockname()[1]}/", PAYLOAD)

    assert problem == "no answer in 0.5 s"
    assert time.monotonic() - begun < 5


def test_slack_gets_a_text_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its three control characters are escaped, and the text stays below its 4,000 characters."""
    sent: list[bytes] = []
    monkeypatch.setattr(posting, "_try", lambda url, body, headers: sent.append(body))

    post_json("https://hooks.slack.com/services/T0/B0/x", {"text": "a < b & <!channel>", "n": 1})
    post_json("https://hooks.slack.com/services/T0/B0/x", {"text": "&" * 5_000})

    first, second = (json.loads(body) for body in sent)
    assert first == {"text": "a &lt; b &amp; &lt;!channel&gt;"}
    assert second == {"text": "&amp;" * 800}
    assert len(second["text"]) == 4_000


@pytest.mark.parametrize(
    "url",
    [
        "hooks.example.com/secret-token",
        "ftp://example.com/secret-token",
        "https:///secret-token",
        "https://user:secret-token@example.com/",
        "https://example.com/secret-token with spaces",
        "https://example.com:port/secret-token",
        "https://[::1/secret-token",
        "https://example.com/secret-token\n",
        "https://example.com/secret-tökén",
    ],
)
def test_an_address_that_cannot_be_posted_to_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        webhook_host(url)

    assert "secret-t" not in str(caught.value)
    assert post_json(url, PAYLOAD) == str(caught.value)


def test_the_host_is_what_is_shown() -> None:
    found: Any = webhook_host("https://hooks.slack.com/services/T0/B0/x")

    assert found == "hooks.slack.com"
