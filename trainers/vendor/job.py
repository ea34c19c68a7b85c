"""One hosted fine-tuning job: its options, its record on the disk, and watching it until it ends.

Options are flags, or the same names in a YAML file; a flag wins over the file. `--yes` and
`--resume` are flags only: consent is no setting, and a shared file cannot give it.

`tunegate_vendor.json` is written when the rows are uploaded, again when the job runs, and a last
time with the model spec of the fine-tune, so that whatever breaks in between loses nothing.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

from pydantic import Field, ValidationError

from tunegate.harness.records.errors import BackendError, TunegateError, UsageError, error_reason
from tunegate.harness.records.files import read_file, record_json, write_atomic
from tunegate.harness.records.record import Record
from tunegate.trainers import yaml_config
from tunegate.trainers.callbacks import Say
from tunegate.trainers.training_card import DatasetFile
from tunegate.trainers.vendor.api import VendorApi, VendorUnreachable

_ONLY_FLAGS = ("yes", "resume", "config", "help")


@dataclass(frozen=True, slots=True)
class VendorOptions:
    """The parsed options of one job."""

    model_name_or_path: str
    """`openai/NAME`, as litellm writes it."""
    train_files: tuple[Path, ...]
    eval_files: tuple[Path, ...]
    output_dir: Path
    num_train_epochs: int | None
    """None leaves it to the vendor."""
    batch_size: int | None
    learning_rate_multiplier: float | None
    suffix: str | None
    seed: int
    price_per_million_tokens: float | None
    """US dollars, by the vendor's price list."""
    poll_seconds: float
    yes: bool
    resume: str | None
    """Id of a running job; empty for the one that the output folder names."""

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """Settings sent to the vendor; it chooses those that are left out."""
        chosen = {
            "n_epochs": self.num_train_epochs,
            "batch_size": self.batch_size,
            "learning_rate_multiplier": self.learning_rate_multiplier,
        }
        return {name: value for name, value in chosen.items() if value is not None}


class _VendorParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of `tunegate train vendor`."""
    parser = _VendorParser(
        prog="tunegate train vendor",
        description="Fine-tune a hosted model through the OpenAI fine-tuning API.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--config", type=Path, help="YAML file with any of these options but --yes, --resume.")
    add("--model_name_or_path", help="openai/NAME, the dated name of the base.")
    add("--train_files", nargs="+", default=[], help="JSONL files of chats.")
    add("--eval_files", nargs="+", default=[], help="Chats for the vendor's own loss.")
    add("--output_dir", type=Path, help="Folder for the record, which also resumes.")
    add("--num_train_epochs", type=_whole_number, help="Default: the vendor chooses.")
    add("--batch_size", type=_whole_number, help="Default: the vendor chooses.")
    add("--learning_rate_multiplier", type=_positive, help="Default: the vendor chooses.")
    add("--suffix", help="Becomes a part of the fine-tune's name.")
    add("--seed", type=int, default=42, help="Default: 42.")
    add(
        "--price_per_million_tokens",
        type=_positive,
        help="US dollars for training on a million tokens; litellm's list has no such prices.",
    )
    add("--poll_seconds", type=_positive, default=10.0, help="Default: 10.")
    add("--yes", action="store_true", help="Send the data and pay, without a question.")
    add("--resume", nargs="?", const="", metavar="JOB", help="Watch a job that runs already.")
    return parser


def parse_options(argv: Sequence[str]) -> VendorOptions:
    """Return the options in `argv` and in the file after `--config`.

    Raises:
        UsageError: an unknown option, a value out of range, a missing file.
    """
    parser = make_parser()
    path = parser.parse_args(list(argv)).config
    if path is not None:
        names = {field.name for field in fields(VendorOptions)} - set(_ONLY_FLAGS)
        held = yaml_config.read_config(path, allowed=tuple(names))
        parser.set_defaults(
            **{k: v if isinstance(v, list) or v is None else str(v) for k, v in held.items()}
        )
    values = vars(parser.parse_args(list(argv)))
    values.pop("config")
    if not values["output_dir"]:
        raise UsageError("--output_dir: missing; give the folder for the record of the job")
    for name in ("train_files", "eval_files"):
        values[name] = _resolve_paths(values[name], path, name)
    return VendorOptions(**values)


def _resolve_paths(names: list[str] | str, config: Path | None, key: str) -> tuple[Path, ...]:
    """Return the files; a relative name is looked for next to the configuration first."""
    folders = [config.parent, Path()] if config else [Path()]
    found = []
    for name in [names] if isinstance(names, str) else names:
        places = [folder / name for folder in folders]
        hit = next((place for place in places if place.is_file()), None)
        if hit is None:
            looked = " and ".join(dict.fromkeys(str(place.resolve()) for place in places))
            raise UsageError(f"{key}={name}: no such file (looked for {looked})")
        found.append(hit)
    return tuple(found)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number above 0")
    return value


def _whole_number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least 1")
    return int(text)


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
        """Write the record into the output folder.

        Raises:
            BackendError: the folder cannot be written.
        """
        try:
            write_atomic(folder / FILE, record_json(self))
        except OSError as error:
            raise BackendError(f"{folder / FILE}: cannot be written ({error.strerror})") from error


def read_job(folder: Path) -> VendorJob | None:
    """Return the record in a folder, None if there is none.

    Raises:
        UsageError: the file is no record of a job.
    """
    path = folder / FILE
    try:
        return VendorJob.model_validate_json(read_file(path))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        first = error_reason(error)
        raise UsageError(f"{path}: no record of a hosted job ({first}); move it away") from error


def watch_job(api: VendorApi, job_id: str, *, every_s: float, say: Say) -> dict[str, Any]:
    """Return the job once it is over, well or not; until then report what changes.

    Raises:
        BackendError: the vendor refuses, or does not answer for half an hour.
    """
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
    """Return the record of a job that is over.

    Args:
        record: As it was before.
        job: The vendor's.
        price: US dollars for a million tokens.

    Raises:
        BackendError: it succeeded, and there is no model.
    """
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
    """Raise the failure of a job that left no model.

    Raises:
        TunegateError: it failed, with the vendor's reason, or was cancelled.
    """
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
