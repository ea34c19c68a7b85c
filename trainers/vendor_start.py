"""Starting a hosted job: what will be sent and what it costs, consent, upload, the job."""

from __future__ import annotations

from collections.abc import Callable

from harness.errors import UsageError
from harness.records import sha256
from harness.remote.credentials import provider_of
from harness.versions import installed
from trainers import vendor_job, vendor_price, vendor_rows
from trainers.progress import Say
from trainers.vendor_api import VendorApi
from trainers.vendor_job import VendorJob
from trainers.vendor_options import VendorOptions
from trainers.vendor_price import Tokens
from trainers.vendor_rows import Chats

Ask = Callable[[str], str]
"""Shows a question and returns the line that was typed."""


def start(api: VendorApi, options: VendorOptions, *, say: Say, ask: Ask | None = None) -> VendorJob:
    """Check, price, ask for consent, send the rows, and start the job.

    Nothing is sent before there is consent, and what was sent before is not sent again.

    Raises:
        UsageError: options or rows cannot be used, or there is no consent.
        BackendError: the vendor refuses or does not answer.
    """
    base = _base(options)
    chats = vendor_rows.read(options.train_files)
    evaluation = vendor_rows.read(options.eval_files, fewest=1) if options.eval_files else None
    folder, known = options.output_dir, vendor_job.read(options.output_dir)
    if known and known.job and known.status not in vendor_job.WITHOUT_MODEL:
        raise UsageError(
            f"{folder}: holds the job {known.job} already ({known.status}); --resume watches it, "
            "another --output_dir starts one more"
        )
    tokens = vendor_price.count(chats.rows, base)
    _tell(chats, tokens, base, options, say)
    _need_consent(f"send {len(chats.rows)} rows to {api.host} and start a paid job", options, ask)
    say(f"shutdown of {base}, by the vendor's API: {api.shutdown(base)}")
    record = VendorJob(
        place=api.base_url,
        base=base,
        files=chats.files + (evaluation.files if evaluation else ()),
        rows=len(chats.rows),
        uploaded=known.uploaded if known else {},
        hyperparameters=options.hyperparameters,
        seed=options.seed,
        tokens_per_epoch=tokens.count,
        versions=installed(("litellm", "httpx")),
    )
    return _submitted(api, record, chats, evaluation, options)


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


def _tell(chats: Chats, tokens: Tokens, base: str, options: VendorOptions, say: Say) -> None:
    say(f"{len(chats.rows)} rows, {tokens.words}")
    say(vendor_price.training_price(tokens, options))
    say(vendor_price.answer_price(base))
    if day := vendor_price.listed_shutdown(base):
        say(f"shutdown of {base}, by litellm's list: {day}")


def _need_consent(what: str, options: VendorOptions, ask: Ask | None) -> None:
    """Go on only if the user says so.

    Raises:
        UsageError: the answer is not yes, or there is nobody to ask.
    """
    if options.yes:
        return
    if ask is None:
        raise UsageError(f"nothing was sent: add --yes to {what}, there is no terminal to ask at")
    try:
        answer = ask(f"{what}? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise UsageError("nothing was sent: there was no consent")


def _submitted(
    api: VendorApi,
    record: VendorJob,
    chats: Chats,
    evaluation: Chats | None,
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
