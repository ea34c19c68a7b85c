"""The OpenAI fine-tuning API over HTTP: files, jobs, their events, and models' shutdown dates.

The place is `OPENAI_BASE_URL` (or `OPENAI_API_BASE`), by default api.openai.com. Each call is tried
again after faults that pass. A job is never made twice: when the line broke while one was asked
for, the vendor's jobs are looked through before it is asked again.

References: https://developers.openai.com/api/reference/resources/fine_tuning/subresources/jobs and
https://developers.openai.com/api/docs/deprecations (`shutdown_date` of a model).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from tunegate.harness.errors import BackendError
from tunegate.harness.remote.http import Failure, Http, Later, Refused
from tunegate.harness.remote.worker_pool import Limits, ask_all

R = TypeVar("R")

_OPENAI = "https://api.openai.com/v1"
_HEADERS = {"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"}
UNKNOWN = "unknown"
"""Shutdown date of a model of which the vendor's API says nothing."""
NONE_ANNOUNCED = "none announced"


class NoAnswer(BackendError):
    """Nobody answered, after all attempts; it may be otherwise later."""


@dataclass
class VendorApi:
    """The place where jobs run; `with` closes its connections."""

    base_url: str
    http: Http = field(repr=False)
    limits: Limits = field(default_factory=lambda: Limits(concurrency=1, deadline_s=600.0))

    @classmethod
    def from_environment(cls) -> VendorApi:
        """Return the place that OpenAI's own variables name, with the key they hold."""
        names = ("OPENAI_BASE_URL", "OPENAI_API_BASE")
        url = next((os.environ[name] for name in names if os.environ.get(name)), _OPENAI)
        headers = {h: os.environ[name] for h, name in _HEADERS.items() if os.environ.get(name)}
        return cls(url.rstrip("/"), Http(os.environ.get("OPENAI_API_KEY"), headers))

    def __enter__(self) -> VendorApi:
        return self

    def __exit__(self, *error: object) -> None:
        self.http.close()

    @property
    def host(self) -> str:
        """Host and port, for people."""
        return urlsplit(self.base_url).netloc.rpartition("@")[2]

    def upload(self, name: str, content: bytes) -> str:
        """Send a file of rows and return its id."""

        def ask(deadline: float) -> str:
            fields = {"purpose": "fine-tune"}
            url = f"{self.base_url}/files"
            return _id(self.http.post_file(url, name, content, fields, deadline=deadline))

        return self._patiently(f"sending {name}", ask)

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        """Start a job and return it; the one that runs on the same file already, if one does."""
        asked = False

        def ask(deadline: float) -> dict[str, Any]:
            nonlocal asked
            if asked and (running := self._running(body["training_file"], deadline)):
                return running
            asked = True
            url = f"{self.base_url}/fine_tuning/jobs"
            job = self.http.post_json(url, body, deadline=deadline)
            _id(job)
            return job

        return self._patiently("starting the job", ask)

    def job(self, job_id: str) -> dict[str, Any]:
        """Return a job as it stands."""

        def ask(deadline: float) -> dict[str, Any]:
            job = self._get(f"fine_tuning/jobs/{quote(job_id)}", deadline)
            if not isinstance(job.get("status"), str):
                raise Later("the reply has no `status`")
            return job

        return self._patiently(f"asking for {job_id}", ask)

    def events(self, job_id: str) -> list[dict[str, Any]]:
        """Return the latest events of a job, the oldest first; none where there are none."""

        def ask(deadline: float) -> list[dict[str, Any]]:
            try:
                found = self._get(f"fine_tuning/jobs/{quote(job_id)}/events?limit=50", deadline)
            except Refused:
                return []
            return [e for e in reversed(found.get("data") or []) if isinstance(e, dict)]

        return self._patiently(f"asking for the events of {job_id}", ask)

    def shutdown(self, model: str) -> str:
        """Return the day on which the vendor's API says a model is shut down, or what it says."""

        def ask(deadline: float) -> str:
            try:
                card = self._get(f"models/{quote(model, safe=':')}", deadline)
            except Refused:
                return UNKNOWN
            if "shutdown_date" not in card:
                return UNKNOWN
            return str(card["shutdown_date"] or NONE_ANNOUNCED)

        return self._patiently(f"asking for the model {model}", ask)

    def _running(self, training_file: str, deadline: float) -> dict[str, Any] | None:
        found = self._get("fine_tuning/jobs?limit=50", deadline).get("data") or []
        return next((job for job in found if job.get("training_file") == training_file), None)

    def _get(self, path: str, deadline: float) -> dict[str, Any]:
        return self.http.get_json(f"{self.base_url}/{path}", deadline=deadline)

    def _patiently(self, what: str, ask: Callable[[float], R]) -> R:
        """Ask until there is an answer.

        Raises:
            NoAnswer: there is none.
            BackendError: the vendor refuses.
        """
        asked = ask_all([what], lambda _, deadline: ask(deadline), self.limits, backend=self.host)
        ((_, result),) = asked
        if not isinstance(result, Failure):
            return result
        kind = BackendError if result.refused else NoAnswer
        raise kind(f"{self.host}: {what}: {result.message}")


def _id(value: dict[str, Any]) -> str:
    found = value.get("id")
    if not isinstance(found, str) or not found:
        raise Later("the reply has no `id`")
    return found
