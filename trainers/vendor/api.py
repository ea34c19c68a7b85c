"""OpenAI's fine-tuning API through its SDK: files, jobs, their events, models' shutdown dates.

The place is `OPENAI_BASE_URL` (or `OPENAI_API_BASE`), by default api.openai.com. The SDK's own
retries are off: each call is tried again after faults that pass, within one deadline. A job is
never made twice: if the connection broke while one was requested, the vendor's jobs are searched
before it is requested again, which the SDK does not do. Redirects are refused, since they would
carry the key and the rows to a place nobody named.

References: https://developers.openai.com/api/reference/resources/fine_tuning/subresources/jobs and
https://developers.openai.com/api/docs/deprecations (`shutdown_date` of a model).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from tunegate.harness.contracts.model import PoolLimits
from tunegate.harness.models.remote.failures import (
    PermanentError,
    RequestFailure,
    RetryableError,
    error_of_status,
)
from tunegate.harness.models.remote.request_pool import ask_all
from tunegate.harness.records.errors import BackendError, MissingExtra, UsageError

if TYPE_CHECKING:
    from openai import OpenAI

R = TypeVar("R")

_OPENAI = "https://api.openai.com/v1"
_HERE = ("localhost", "127.0.0.1", "::1")
_LATEST = 50
"""Jobs and events that are read, the latest ones."""
UNKNOWN = "unknown"
"""Shutdown date of a model for which the vendor's API has none."""
NONE_ANNOUNCED = "none announced"


def _host_of(url: str) -> str:
    """Return the host of the vendor's address."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises unless it is a number
    except ValueError as error:
        raise UsageError(f"OPENAI_BASE_URL: not an address ({error})") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError("OPENAI_BASE_URL: not an address; write https://host/v1, or unset it")
    return parts.hostname


class VendorUnreachable(BackendError):
    """Nobody answered, after all attempts; a later call may work."""


@dataclass
class VendorApi:
    """The place where jobs run; `with` closes its connections."""

    base_url: str
    client: OpenAI = field(repr=False)
    limits: PoolLimits = field(default_factory=lambda: PoolLimits(concurrency=1, deadline_s=600.0))

    @classmethod
    def from_environment(cls) -> VendorApi:
        """Return the place that OpenAI's own variables name, with the key they hold."""
        try:
            import openai
        except ImportError as error:
            raise MissingExtra("hosted fine-tuning", "litellm") from error
        names = ("OPENAI_BASE_URL", "OPENAI_API_BASE")
        url = next((os.environ[name] for name in names if os.environ.get(name)), _OPENAI)
        here = _host_of(url) in _HERE  # no proxy leads to this machine
        try:
            connections = openai.DefaultHttpxClient(follow_redirects=False, trust_env=not here)
            client = openai.OpenAI(base_url=url, http_client=connections, max_retries=0)
        except openai.OpenAIError as error:
            raise UsageError("OPENAI_API_KEY: missing; set it to the vendor's key") from error
        return cls(url.rstrip("/"), client)

    def __enter__(self) -> VendorApi:
        return self

    def __exit__(self, *error: object) -> None:
        self.client.close()

    @property
    def host(self) -> str:
        """Host and port, for people."""
        return urlsplit(self.base_url).netloc.rpartition("@")[2]

    def upload(self, name: str, content: bytes) -> str:
        """Send a file of rows and return its id."""

        def ask(client: OpenAI) -> str:
            rows = (name, content)
            return _id(self._fields(lambda: client.files.create(file=rows, purpose="fine-tune")))

        return self._patiently(f"sending {name}", ask)

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        """Start a job and return it; the one that runs on the same file already, if one does."""
        sent = False

        def ask(client: OpenAI) -> dict[str, Any]:
            nonlocal sent
            if sent and (running := self._running(client, body["training_file"])):
                return running
            sent = True
            job = self._fields(lambda: client.fine_tuning.jobs.create(**body))
            _id(job)
            return job

        return self._patiently("starting the job", ask)

    def job(self, job_id: str) -> dict[str, Any]:
        """Return a job as the vendor describes it now."""

        def ask(client: OpenAI) -> dict[str, Any]:
            job = self._fields(lambda: client.fine_tuning.jobs.retrieve(job_id))
            if not isinstance(job.get("status"), str):
                raise RetryableError("the reply has no `status`")
            return job

        return self._patiently(f"asking for {job_id}", ask)

    def events(self, job_id: str) -> list[dict[str, Any]]:
        """Return the latest events of a job, the oldest first."""

        def ask(client: OpenAI) -> list[dict[str, Any]]:
            jobs = client.fine_tuning.jobs
            try:
                listing = self._fields(lambda: jobs.list_events(job_id, limit=_LATEST))
            except PermanentError:
                return []
            return [e for e in reversed(listing.get("data") or []) if isinstance(e, dict)]

        return self._patiently(f"asking for the events of {job_id}", ask)

    def shutdown(self, model: str) -> str:
        """Return the day on which a model is shut down by the vendor's API, or the API's words."""

        def ask(client: OpenAI) -> str:
            try:
                card = self._fields(lambda: client.models.retrieve(model))
            except PermanentError:
                return UNKNOWN
            if "shutdown_date" not in card:
                return UNKNOWN
            return str(card["shutdown_date"] or NONE_ANNOUNCED)

        return self._patiently(f"asking for the model {model}", ask)

    def _running(self, client: OpenAI, training_file: str) -> dict[str, Any] | None:
        found = self._fields(lambda: client.fine_tuning.jobs.list(limit=_LATEST)).get("data") or []
        return next((job for job in found if job.get("training_file") == training_file), None)

    def _fields(self, request: Callable[[], Any]) -> dict[str, Any]:
        """Return the JSON object that a request of the SDK is answered with."""
        import openai

        try:
            reply = request()
        except openai.APIStatusError as error:
            text = error.response.text.replace(self.client.api_key, "[key]")
            raise error_of_status(error.status_code, error.response.headers, text) from error
        except openai.APIConnectionError as error:
            raise RetryableError(f"{self.host}: {error.__cause__ or error}") from error
        if not isinstance(reply, openai.BaseModel):
            raise RetryableError("the reply is not a JSON object")
        return reply.to_dict(mode="json", warnings=False)

    def _patiently(self, what: str, ask: Callable[[OpenAI], R]) -> R:
        """Ask until there is an answer."""

        def once(_: str, deadline: float) -> R:
            left = deadline - time.monotonic()
            if left <= 0:
                raise RetryableError("no time left to ask")
            return ask(self.client.with_options(timeout=left))

        ((_, result),) = ask_all([what], once, self.limits, backend=self.host)
        if not isinstance(result, RequestFailure):
            return result
        kind = BackendError if result.refused else VendorUnreachable
        raise kind(f"{self.host}: {what}: {result.message}")


def _id(value: dict[str, Any]) -> str:
    found = value.get("id")
    if not isinstance(found, str) or not found:
        raise RetryableError("the reply has no `id`")
    return found
