"""Endpoint on the loopback interface, behind a token.

It has `/v1/models`, `/v1/chat/completions`, and vLLM's `/tokenize` of messages, which shows the
prompt that a chat request becomes.
"""

from __future__ import annotations

import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from tunegate.harness.episodes.episode import is_too_long
from tunegate.harness.records.errors import OutOfMemory, TunegateError, UsageError
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.serving.batch_server import BatchServer, ServerStopped
from tunegate.harness.serving.chat_replies import completion_reply, stream_events
from tunegate.harness.serving.chat_requests import (
    PLAIN,
    TOO_LONG,
    ChatRequest,
    RequestRefused,
    parse_chat_request,
)

HOST = "127.0.0.1"
LARGEST_BODY = 16_000_000
"""Bytes of a request."""
IDLE_S = 120
"""Seconds that a connection may be silent."""


@dataclass(frozen=True)
class EndpointSettings:
    """Settings of an endpoint."""

    token: str = field(repr=False)
    port: int = 0
    """0 for any free port."""
    show_tools: Literal["template", "system"] = "template"
    rendering: GenerationSettings = PLAIN
    """Settings that no request has: the chat template, and how to treat thoughts."""


class _EndpointListener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    batch: BatchServer
    settings: EndpointSettings


@contextmanager
def open_endpoint(batch: BatchServer, settings: EndpointSettings) -> Iterator[str]:
    """Serve an endpoint while this is open; yield its address."""
    try:
        listener = _EndpointListener((HOST, settings.port), _ChatHandler)
    except OSError as error:
        raise UsageError(f"--port {settings.port}: {error.strerror}; choose another") from error
    listener.batch, listener.settings = batch, settings
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.1})
    thread.start()
    try:
        yield f"http://{HOST}:{listener.server_address[1]}/v1"
    finally:
        listener.shutdown()
        thread.join()
        batch.stop()
        listener.server_close()


class _ChatHandler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    server: _EndpointListener

    def do_GET(self) -> None:
        """List the models."""
        self._guard(self._list_models)

    def do_POST(self) -> None:
        """Answer a request, or show its prompt."""
        path = self.path.rstrip("/")
        self._guard(self._tokenize if path == "/tokenize" else self._complete_chat)

    def _guard(self, respond: Any) -> None:
        """Respond, with a one-line error if that fails."""
        try:
            self._refuse_strangers()
            respond()
        except RequestRefused as error:
            self._send_error(error.status, str(error), error.code)
        except ServerStopped:
            self._send_error(503, "the server is stopping")
        except OutOfMemory as error:
            self._send_error(503, f"the model ran out of memory on this request ({error})")
        except TunegateError as error:
            self._send_error(500, str(error))
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except Exception as error:  # fails this request only
            self._send_error(500, f"{type(error).__name__}: {error}")

    def _refuse_strangers(self) -> None:
        authorization = self.headers.get("Authorization", "")
        wanted = f"Bearer {self.server.settings.token}"
        if not hmac.compare_digest(authorization.encode(), wanted.encode()):
            self.close_connection = True  # the body was not read
            raise RequestRefused("Authorization: send the `Bearer TOKEN` that `serve` printed", 401)

    def _list_models(self) -> None:
        if self.path.rstrip("/") != "/v1/models":
            raise RequestRefused(f"{self.path}: not found; use /v1/models", 404)
        models = [
            {"id": name, "object": "model", "created": 0, "owned_by": "tunegate"}
            for name in self.server.batch.arms
        ]
        self._send_json(200, {"object": "list", "data": models})

    def _complete_chat(self) -> None:
        body = self._read_body()
        if self.path.rstrip("/") != "/v1/chat/completions":
            raise RequestRefused(f"{self.path}: not found; use /v1/chat/completions", 404)
        chat = self._parse(body)
        answer = self.server.batch.ask(chat)
        if answer.completion is None:
            reason = answer.error or "there is no answer"
            raise RequestRefused(reason, code=TOO_LONG if is_too_long(reason) else None)
        self._send_reply(chat, completion_reply(chat, answer.completion, answer.key))

    def _tokenize(self) -> None:
        prompt = self.server.batch.render(self._parse(self._read_body()))
        if prompt.token_ids is None:
            raise RequestRefused(f"{self.path}: this model is not given token ids", 404)
        self._send_json(200, {"tokens": list(prompt.token_ids), "count": len(prompt.token_ids)})

    def _parse(self, body: Any) -> ChatRequest:
        settings = self.server.settings
        return parse_chat_request(
            body,
            tuple(self.server.batch.arms),
            show_tools=settings.show_tools,
            rendering=settings.rendering,
        )

    def _read_body(self) -> Any:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > LARGEST_BODY:
            self.close_connection = True
            allowed = f"a number up to {LARGEST_BODY}"
            raise RequestRefused(f"Content-Length={length!r}: give {allowed}", 413)
        try:
            return json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as error:
            raise RequestRefused(f"the body is not JSON ({error})") from None

    def _send_reply(self, chat: ChatRequest, reply: dict[str, Any]) -> None:
        if chat.stream:
            events = stream_events(reply, usage=chat.stream_usage)
            self._send(200, "text/event-stream", "".join(events).encode())
        else:
            self._send_json(200, reply)

    def _send_json(self, status: int, value: Any) -> None:
        self._send(status, "application/json", json.dumps(value).encode())

    def _send_error(self, status: int, message: str, code: str | None = None) -> None:
        line = " ".join(message.split())
        kind = {401: "authentication_error", 503: "server_error", 500: "server_error"}
        error = {"message": line, "type": kind.get(status, "invalid_request_error")}
        with suppress(OSError):
            self._send_json(status, {"error": {**error, "param": None, "code": code}})

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""
