"""`tunegate attest RUN`: write a signed statement about a run; `--new-key` makes a key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunegate.harness.errors import UsageError

ORDER = 112


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("attest")(attest)


def attest(
    run: Annotated[Path | None, typer.Argument(help="Run folder. Default: the newest.")] = None,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="Private key (ed25519, PEM).")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The attestation.")
    ] = Path("tunegate.intoto.json"),
    new_key: Annotated[
        Path | None,
        typer.Option(
            "--new-key", metavar="FILE", help="Write a new key to FILE and FILE.pub, and no more."
        ),
    ] = None,
) -> None:
    """Write a statement from which `tunegate verify` computes the verdict again, and sign it.

    Example: tunegate attest .tunegate/runs/20260101-120000-0001 --key release.key
    """
    from tunegate.harness.cli.resume import RUNS, newest_run
    from tunegate.harness.pipeline import attestation
    from tunegate.harness.pipeline.verification import load_verified
    from tunegate.harness.records.files import write_atomic

    if new_key is not None:
        public = attestation.write_new_key(new_key)
        print(f"{new_key}: private key; keep it out of the repository, as a secret of CI")
        print(f"{public}: public key; publish it, for `tunegate verify FILE --key {public.name}`")
        return
    if key is None:
        raise UsageError("tunegate attest needs --key FILE; --new-key FILE makes one")
    loaded, notes = load_verified(run or newest_run(RUNS), strict=True)
    for note in notes:
        print(f"note: {note}")
    text = attestation.make_attestation(loaded, key)
    try:
        write_atomic(output, text)
    except OSError as error:
        raise UsageError(
            f"{output}: cannot be written ({error.strerror}); choose another with -o FILE"
        ) from error
    print(f"{output}: {loaded.verdict.verdict.value} of run {loaded.verdict.run_id}, signed")
    print(f"next: `tunegate verify {output} --key FILE.pub`, anywhere and without a model")
