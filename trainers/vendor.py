"""Fine-tuning at a vendor: rows are checked, priced and, with consent, sent; the job is watched.

```
tunegate train vendor --config support.yaml             # asks before anything is sent
tunegate train vendor --output_dir out --resume         # goes on watching
```
The API is OpenAI's, at the place that `OPENAI_BASE_URL` names. What comes out is a name, so the
result is a record with the model spec for `tunegate gate --tuned`.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.errors import BackendError, Interrupted, TunegateError, UsageError
from trainers import progress, vendor_job, vendor_start
from trainers.vendor_api import VendorApi
from trainers.vendor_job import VendorJob
from trainers.vendor_options import VendorOptions, parse
from trainers.vendor_start import Ask


def run(
    argv: Sequence[str], *, say: progress.Say = progress.to_stderr, ask: Ask | None = None
) -> int:
    """Train as `argv` asks and return the exit code; the body of `tunegate train vendor`.

    Args:
        argv: Flags after `train vendor`.
        say: Takes each line for the user.
        ask: Asks for consent; None is the terminal, where there is one.
    """
    if ask is None and sys.stdin is not None and sys.stdin.isatty():
        ask = input
    try:
        main(parse(argv), say=say, ask=ask)
    except TunegateError as error:
        say(f"error: {error}")
        return error.exit_code
    except SystemExit as leave:  # --help
        return int(leave.code or 0)
    return 0


def main(options: VendorOptions, *, say: progress.Say, ask: Ask | None = None) -> VendorJob:
    """Have a hosted model fine-tuned and return the record, which is in the output folder.

    Raises:
        UsageError: options or rows cannot be used, or there is no consent; nothing was sent.
        BackendError: the vendor refuses or does not answer.
        TunegateError: the job failed.
        Interrupted: Ctrl-C; a job that runs goes on.
    """
    folder = options.output_dir
    record = None
    try:
        with VendorApi.from_environment() as api:
            if options.resume is None:
                record = vendor_start.start(api, options, say=say, ask=ask)
            else:
                record = _known(api, options)
            job = _watched(api, record, options, say)
            record = vendor_job.ended(record, job, options.price_per_million_tokens)
            record.write(folder)
            vendor_job.refuse_failed(job)
            days = {name: api.shutdown(name) for name in (record.base, str(record.tuned))}
    except KeyboardInterrupt as error:
        if record is None:
            raise Interrupted("stopped; no job runs, and the same command begins again") from error
        raise Interrupted(f"the job goes on at the vendor; {_again(record, folder)}") from error
    record = record.model_copy(update={"shutdown": days})
    record.write(folder)
    _say_done(record, folder, say)
    return record


def _watched(
    api: VendorApi, record: VendorJob, options: VendorOptions, say: progress.Say
) -> dict[str, Any]:
    say(f"job {record.job} at {api.host}; Ctrl-C stops watching, not the job")
    try:
        return vendor_job.watch(api, str(record.job), every_s=options.poll_seconds, say=say)
    except BackendError as error:
        raise BackendError(f"{error}; {_again(record, options.output_dir)}") from error


def _known(api: VendorApi, options: VendorOptions) -> VendorJob:
    """Return the record of the job that is to be watched again."""
    record = vendor_job.read(options.output_dir)
    wanted = options.resume or (record.job if record else None)
    if not wanted:
        raise UsageError(f"--resume: {options.output_dir} holds no job; name one: --resume JOB")
    if record is None or record.job != wanted:  # made elsewhere: only the vendor knows of it
        record = VendorJob(place=api.base_url, base=str(api.job(wanted).get("model")), job=wanted)
    return record


def _again(record: VendorJob, folder: Path) -> str:
    return f"tunegate train vendor --output_dir {folder} --resume {record.job} watches it"


def _say_done(record: VendorJob, folder: Path, say: progress.Say) -> None:
    if record.trained_tokens is not None:
        price = "price unknown" if record.cost is None else f"US$ {record.cost:.4g}"
        say(f"billed: {record.trained_tokens:,} tokens, {price}")
    for model, day in record.shutdown.items():
        say(f"shutdown of {model}, by the vendor's API: {day}")
    say(f"recorded in {folder / vendor_job.FILE}; next: {_gate(record)}")


def _gate(record: VendorJob) -> str:
    """Return the command that gates the fine-tune; no card lies beside it, so it names the rows."""
    words = ["tunegate", "gate", "SUITES", "--base", record.base_spec, "--tuned", str(record.spec)]
    rows = ",".join(file.path for file in record.files)
    return shlex.join([*words, *(["--training-data", rows] if rows else [])])


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
