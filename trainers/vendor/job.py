"""One hosted fine-tuning job: its record on disk, watched until it ends.

`tunegate_vendor.json` is written when the rows are uploaded, again when the job runs, and a last
time with the model spec of the fine-tune, so that whatever breaks in between loses nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from tunegate.harness.records.errors import BackendError, TunegateError, UsageError, error_reason
from tunegate.harness.records.files import read_file, record_json, write_atomic
from tunegate.harness.records.record import Record
from tunegate.trainers.callbacks import Say
from tunegate.trainers.training_card import DatasetFile
from tunegate.trainers.vendor.api import VendorApi, VendorUnreachable

FILE = "tunegate_vendor.json"
"""Name of the record in the output folder."""
WITHOUT_MODEL = ("failed", "cancelled")
"""Statuses of jobs that are over and have left nothing."""
_ENDED = ("succeeded", *WITHOUT_MODEL)
_PATIENCE_S = 1800.0
"""Seconds without one answer after which watching ends; the job goes on."""


class VendorJob(Record):
    """A hosted training: as it was asked for, and as the vendor reports it."""

    schema_version: int = 1
    method: str = "vendor"
    place: str
    """Address of the API."""
    base: str
    """Name of the base at the vendor."""
    files: tuple[DatasetFile, ...] = ()
    rows: int = 0
    uploaded: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of what was uploaded → the vendor's id of it."""
    hyperparameters: dict[str, Any] = Field(default_factory=dict)
    """As the vendor reports that it used them, once it does."""
    seed: int | None = None
    tokens_per_epoch: int | None = None
    """Our estimate before the job."""
    job: str | None = None
    """The vendor's id of the job."""
    status: str = "uploaded"
    tuned: str | None = None
    """Name of the fine-tune at the vendor."""
    spec: str | None = None
    """Model spec of the fine-tune, for `--gate-tuned`."""
    trained_tokens: int | None = None
    """Tokens that the vendor bills."""
    cost: float | None = None
    """US dollars: billed tokens at the price that the user gave; None where none is known."""
    created_at: int | None = None
    finished_at: int | None = None
    shutdown: dict[str, str] = Field(default_factory=dict)
    """Model → the day on which it is shut down by its vendor's API, or the API's words."""
    versions: dict[str, str] = Field(default_factory=dict)

    @property
    def base_spec(self) -> str:
        """Model spec of the base, for `--gate-base`."""
        return f"litellm:openai/{self.base}"

    def write(self, folder: Path) -> None:
        """Write the record into the output folder."""
        try:
            write_atomic(folder / FILE, record_json(self))
        except OSError as error:
            raise BackendError(f"{folder / FILE}: cannot be written ({error.strerror})") from error


def read_job(folder: Path) -> VendorJob | None:
    """Return the record in a folder, or None."""
    path = folder / FILE
    try:
        return VendorJob.model_validate_json(read_file(path))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        first = error_reason(error)
        raise UsageError(f"{path}: not a record of a hosted job ({first}); move it away") from error


def watch_job(api: VendorApi, job_id: str, *, every_s: float, say: Say) -> dict[str, Any]:
    """Return the job once it is over, well or not; until then report what changes."""
    seen: set[str] = set()
    shown, answered = "", time.monotonic()
    while True:
        try:
            job = api.job(job_id)
            for event in api.events(job_id):
                _say_event(event, seen, say)
        except VendorUnreachable as error:
            if time.monotonic() - answered > _PATIENCE_S:
                raise
            say(f"warning: {error}; asking again")
        else:
            answered = time.monotonic()
            line = f"{job_id}: {job['status']}{_left(job)}"
            if line != shown:
                say(line)
            shown = line
            if job["status"] in _ENDED:
                return job
        time.sleep(every_s)


def finish_job(record: VendorJob, job: Mapping[str, Any], price: float | None) -> VendorJob:
    """Return the record of a job that is over."""
    tuned, tokens = job.get("fine_tuned_model"), job.get("trained_tokens")
    if job["status"] == "succeeded" and not tuned:
        raise BackendError(f"{job.get('id')}: succeeded, and the vendor names no model")
    billed = tokens if isinstance(tokens, int) else None
    method = (job.get("method") or {}).get("supervised") or job
    used = {k: v for k, v in (method.get("hyperparameters") or {}).items() if v is not None}
    return VendorJob.model_validate(
        {
            **record.model_dump(),
            "status": job["status"],
            "tuned": tuned,
            "spec": f"litellm:openai/{tuned}" if tuned else None,
            "trained_tokens": billed,
            "cost": None if billed is None or price is None else billed * price / 1e6,
            "created_at": _moment(job.get("created_at")),
            "finished_at": _moment(job.get("finished_at")),
            "hyperparameters": {**record.hyperparameters, **used},
        }
    )


def refuse_failed(job: Mapping[str, Any]) -> None:
    """Raise the failure of a job that left no model."""
    if job["status"] == "cancelled":
        raise TunegateError(f"{job.get('id')}: was cancelled at the vendor; there is no model")
    if job["status"] == "failed":
        error = job.get("error") or {}
        why = " ".join(str(error.get("message") or "no reason given").split())
        where = f" ({error['param']})" if error.get("param") else ""
        raise TunegateError(f"{job.get('id')}: the vendor's job failed{where}: {why}")


def _moment(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) else None


def _say_event(event: Mapping[str, Any], seen: set[str], say: Say) -> None:
    key = str(event.get("id") or event)
    if key not in seen:
        seen.add(key)
        say(f"  {' '.join(str(event.get('message', '')).split())[:160]}")


def _left(job: Mapping[str, Any]) -> str:
    """Return the time left in whole minutes, where the vendor knows when it will be done."""
    done = job.get("estimated_finish")
    if not isinstance(done, int | float) or job["status"] in _ENDED:
        return ""
    minutes = max(0, round((done - time.time()) / 60))
    return f"  about {minutes} min left" if minutes else "  less than a minute left"
