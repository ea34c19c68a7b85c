"""JSON over HTTP: each fault in one line, the deadline kept, the key nowhere."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.fake_server import FakeServer
from tunegate.harness.models.remote.failures import (
    PermanentError,
    RetryableError,
    error_of_status,
    quote_excerpt,
)
from tunegate.harness.models.remote.http import HttpClient

Start = Callable[..., FakeServer]
KEY = "sk-very-secret-0123456789"


def post(server: FakeServer, *, seconds: float = 10.0, key: str | None = None) -> dict[str, Any]:
    """Ask the server one question."""
    with HttpClient(key) as http:
        body = {"model": "base", "prompt": "hello"}
        return http.post_json(
            f"{server.url}/completions", body, deadline=time.monotonic() + seconds
        )


def test_an_object_comes_back(fake_server: Start) -> None:
    server = fake_server()

    assert post(server)["choices"][0]["text"] == "base: hello"
    assert server.asked == [{"model": "base", "prompt": "hello"}]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("500", "HTTP 500: 'fault 500'"),
        ("html", "the reply is HTML instead of JSON: '<html><title>Welcome to nginx!"),
        ("array", 'the reply is not a JSON object: \'["no", "object"]\''),
        ("truncated", "peer closed connection"),
        ("reset", "127.0.0.1"),
    ],
)
def test_what_another_try_may_help(fake_server: Start, fault: str, message: str) -> None:
    server = fake_server(faults=lambda number: fault)

    with pytest.raises(RetryableError) as caught:
        post(server)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "whole"),
    [("400", False), ("413", False), ("422", False), ("401", True), ("403", True), ("404", True)],
)
def test_what_no_try_will_help(fake_server: Start, fault: str, whole: bool) -> None:
    """A bad question is one case; a bad key or a model that is not there are all of them."""
    server = fake_server(faults=lambda number: fault)

    with pytest.raises(PermanentError, match=f"HTTP {fault}") as caught:
        post(server)

    assert caught.value.whole is whole
    assert caught.value.status == int(fault)


@pytest.mark.parametrize(("header", "seconds"), [("2", 2.0), ("0.5", 0.5), ("soon", 1.0)])
def test_how_long_to_wait_is_read(fake_server: Start, header: str, seconds: float) -> None:
    """Retry-After in seconds; one that cannot be read is a second."""
    server = fake_server(faults=lambda number: f"429:{header}")

    with pytest.raises(RetryableError) as caught:
        post(server)

    assert caught.value.after_s == seconds


def test_how_long_to_wait_may_be_a_date() -> None:
    past = error_of_status(429, {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, "")
    future = error_of_status(503, {"retry-after": "Wed, 21 Oct 2099 07:28:00 GMT"}, "")

    assert isinstance(past, RetryableError)
    assert isinstance(future, RetryableError)
    assert past.after_s == 0.0
    assert (future.after_s or 0.0) > 1e8


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_the_deadline_is_on_the_wall_clock(fake_server: Start, fault: str) -> None:
    """A server that says nothing, and one that drips a byte every 100 ms, are both cut off."""
    server = fake_server(faults=lambda number: fault)
    began = time.monotonic()

    with pytest.raises(RetryableError, match="in time"):
        post(server, seconds=0.5)

    assert time.monotonic() - began < 1.5


def test_a_redirect_is_refused(fake_server: Start) -> None:
    other = fake_server()
    server = fake_server(faults=lambda number: f"redirect:{other.url}/completions")

    with pytest.raises(PermanentError, match=r"redirects to .* give that address"):
        post(server, key=KEY)

    assert other.posts == 0


def test_nobody_there_is_worth_another_try() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    with HttpClient() as http, pytest.raises(RetryableError, match=f"127.0.0.1:{port}: .*refused"):
        http.get_json(f"http://127.0.0.1:{port}/v1/models", deadline=time.monotonic() + 5)


def test_a_reply_too_large_is_cut(fake_server: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would fill the memory."""
    monkeypatch.setattr("tunegate.harness.models.remote.http.LARGEST_REPLY", 10)

    with pytest.raises(PermanentError, match="exceeds 10 bytes"):
        post(fake_server())


def test_a_reply_of_too_many_values_is_not_parsed(
    fake_server: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunegate.harness.models.remote.http.MOST_VALUES", 2)

    with pytest.raises(PermanentError, match="more than 2 values"):
        post(fake_server())


def test_the_key_is_sent_and_never_told(fake_server: Start) -> None:
    server = fake_server(key=KEY)

    assert post(server, key=KEY)["choices"]
    wrong = KEY[::-1]
    with pytest.raises(PermanentError, match="HTTP 401") as caught:
        post(server, key=wrong)

    assert wrong not in str(caught.value)
    assert "[key]" in str(caught.value)
    assert wrong not in repr(HttpClient(wrong))


def test_connections_are_kept(fake_server: Start) -> None:
    """Three questions need one connection."""
    server = fake_server()
    with HttpClient() as http:
        for _ in range(3):
            body = {"model": "base", "prompt": "hello"}
            http.post_json(f"{server.url}/completions", body, deadline=time.monotonic() + 5)
        assert server.running is not None
        connections = len(server.running.connections)

    assert connections == 1


def test_an_excerpt_is_one_printable_line() -> None:
    assert quote_excerpt("a\n\x1b[31mb\u202ec") == "'a [31mb c'"
    assert len(quote_excerpt("x" * 10_000)) < 200
