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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tunegate.harness.models.remote.litellm_provider import provider_of
from tunegate.harness.records.errors import BackendError, RunInterrupted, TunegateError, UsageError
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.versions import installed_versions
from tunegate.trainers.callbacks import Say, print_to_stderr
from tunegate.trainers.vendor import job as vendor_job
from tunegate.trainers.vendor import prices, rows
from tunegate.trainers.vendor.api import VendorApi
from tunegate.trainers.vendor.job import VendorJob
from tunegate.trainers.vendor.options import VendorOptions, parse_options
from tunegate.trainers.vendor.prices import TokenCount
from tunegate.trainers.vendor.rows import ChatRows

ORDER = 70
Ask = Callable[[str], str]
"""Shows a question and returns the line that was typed."""


def run(argv: Sequence[str], *, say: Say = print_to_stderr, ask: Ask | None = None) -> int:
    """Train as `argv` asks and return the exit code; the body of `tunegate train vendor`.

    Args:
        argv: Flags after `train vendor`.
        say: Takes each line for the user.
        ask: Asks for consent; None asks on the terminal, if there is one.
    """
    if ask is None and sys.stdin is not None and sys.stdin.isatty():
        ask = input
    try:
        main(parse_options(argv), say=say, ask=ask)
    except TunegateError as error:
        say(f"error: {error}")
        return error.exit_code
    except SystemExit as leave:  # --help
        return int(leave.code or 0)
    return 0


def main(options: VendorOptions, *, say: Say, ask: Ask | None = None) -> VendorJob:
    """Have a hosted model fine-tuned and return the record, which is in the output folder."""
    folder = options.output_dir
    record = None
    try:
        with VendorApi.from_environment() as api:
            if options.resume is None:
                record = start_job(api, options, say=say, ask=ask)
            else:
                record = _known_job(api, options)
            job = _watch_job(api, record, options, say)
            record = vendor_job.finish_job(record, job, options.price_per_million_tokens)
            record.write(folder)
            vendor_job.refuse_failed(job)
            days = {name: api.shutdown(name) for name in (record.base, str(record.tuned))}
    except KeyboardInterrupt as error:
        if record is None:
            raise RunInterrupted(
                "stopped; no job runs, and the same command begins again"
            ) from error
        raise RunInterrupted(f"the job goes on at the vendor; {_again(record, folder)}") from error
    record = record.model_copy(update={"shutdown": days})
    record.write(folder)
    _say_done(record, folder, say)
    return record


def _watch_job(
    api: VendorApi, record: VendorJob, options: VendorOptions, say: Say
) -> dict[str, Any]:
    say(f"job {record.job} at {api.host}; Ctrl-C stops watching, not the job")
    try:
        return vendor_job.watch_job(api, str(record.job), every_s=options.poll_seconds, say=say)
    except BackendError as error:
        raise BackendError(f"{error}; {_again(record, options.output_dir)}") from error


def _known_job(api: VendorApi, options: VendorOptions) -> VendorJob:
    """Return the record of the job that is to be watched again."""
    record = vendor_job.read_job(options.output_dir)
    wanted = options.resume or (record.job if record else None)
    if not wanted:
        raise UsageError(f"--resume: {options.output_dir} holds no job; name one: --resume JOB")
    if record is None or record.job != wanted:  # made elsewhere: only the vendor knows of it
        record = VendorJob(place=api.base_url, base=str(api.job(wanted).get("model")), job=wanted)
    return record


def _again(record: VendorJob, folder: Path) -> str:
    return f"tunegate train vendor --output_dir {folder} --resume {record.job} watches it"


def _say_done(record: VendorJob, folder: Path, say: Say) -> None:
    if record.trained_tokens is not None:
        price = "price unknown" if record.cost is None else f"US$ {record.cost:.4g}"
        say(f"billed: {record.trained_tokens:,} tokens, {price}")
    for model, day in record.shutdown.items():
        say(f"shutdown of {model}, by the vendor's API: {day}")
    say(f"recorded in {folder / vendor_job.FILE}; next: {_gate(record)}")


def _gate(record: VendorJob) -> str:
    """Return the command that gates the fine-tune; no card is next to it, so it names the rows."""
    words = ["tunegate", "gate", "SUITES", "--base", record.base_spec, "--tuned", str(record.spec)]
    rows = ",".join(file.path for file in record.files)
    return shlex.join([*words, *(["--training-data", rows] if rows else [])])


def start_job(
    api: VendorApi, options: VendorOptions, *, say: Say, ask: Ask | None = None
) -> VendorJob:
    """Check, price, ask for consent, send the rows, and start the job.

    Nothing is sent without consent, and nothing is sent twice.
    """
    base = _base(options)
    chats = rows.read_chats(options.train_files)
    evaluation = rows.read_chats(options.eval_files, fewest=1) if options.eval_files else None
    folder, job = options.output_dir, vendor_job.read_job(options.output_dir)
    if job and job.job and job.status not in vendor_job.WITHOUT_MODEL:
        raise UsageError(
            f"{folder}: holds the job {job.job} already ({job.status}); --resume watches it, "
            "another --output_dir starts one more"
        )
    tokens = prices.count_tokens(chats.rows, base)
    _tell(chats, tokens, base, options, say)
    _need_consent(f"send {len(chats.rows)} rows to {api.host} and start a paid job", options, ask)
    say(f"shutdown of {base}, by the vendor's API: {api.shutdown(base)}")
    record = VendorJob(
        place=api.base_url,
        base=base,
        files=chats.files + (evaluation.files if evaluation else ()),
        rows=len(chats.rows),
        uploaded=job.uploaded if job else {},
        hyperparameters=options.hyperparameters,
        seed=options.seed,
        tokens_per_epoch=tokens.count,
        versions=installed_versions(("litellm", "openai")),
    )
    return _submit_job(api, record, chats, evaluation, options)


def _base(options: VendorOptions) -> str:
    """Return the vendor's name of the model that is to be trained."""
    spec = options.model_name_or_path
    if not spec or not options.train_files:
        missing = "--train_files" if spec else "--model_name_or_path"
        raise UsageError(f"{missing}: missing; see tunegate train vendor --help")
    if provider_of(spec, spec) != "openai":
        raise UsageError(
            f"--model_name_or_path={spec}: jobs run through OpenAI's API only; write openai/NAME, "
            "and OPENAI_BASE_URL for another place that speaks it"
        )
    return spec.removeprefix("openai/")


def _tell(chats: ChatRows, tokens: TokenCount, base: str, options: VendorOptions, say: Say) -> None:
    say(f"{len(chats.rows)} rows, {tokens.words}")
    say(prices.training_price(tokens, options))
    say(prices.answer_price(base))
    if day := prices.listed_shutdown(base):
        say(f"shutdown of {base}, by litellm's list: {day}")


def _need_consent(what: str, options: VendorOptions, ask: Ask | None) -> None:
    """Go on only if the user agrees."""
    if options.yes:
        return
    if ask is None:
        raise UsageError(f"nothing was sent: add --yes to {what}; there is no terminal to ask on")
    try:
        answer = ask(f"{what}? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise UsageError("nothing was sent: you did not agree")


def _submit_job(
    api: VendorApi,
    record: VendorJob,
    chats: ChatRows,
    evaluation: ChatRows | None,
    options: VendorOptions,
) -> VendorJob:
    """Upload what is not there yet, and start the job."""
    body = {
        "model": record.base,
        "suffix": options.suffix,
        "seed": options.seed,
        "method": {
            "type": "supervised",
            "supervised": {"hyperparameters": options.hyperparameters},
        },
    }
    for key, part in (("training_file", chats), ("validation_file", evaluation)):
        if part is not None:
            name = sha256(part.content.decode("utf-8"))
            if name not in record.uploaded:
                sent = {**record.uploaded, name: api.upload(f"{key}.jsonl", part.content)}
                record = record.model_copy(update={"uploaded": sent})
                record.write(options.output_dir)
            body[key] = record.uploaded[name]
    job = api.create({key: value for key, value in body.items() if value is not None})
    record = record.model_copy(update={"job": job["id"], "status": "started"})
    record.write(options.output_dir)
    return record


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
