"""`tunegate attest RUN`: sign a statement about a run, with a key or as a CI job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunegate.harness.cli._output import say
from tunegate.harness.cli._panels import Panel
from tunegate.harness.cli._run_suites import RunSuites, suite_paths
from tunegate.harness.records.errors import UsageError, refuse_unwritable

if TYPE_CHECKING:
    from tunegate.harness.records.run_folder import Run

ORDER = 112
PANEL = Panel.KEEP_RECORDS


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("attest")(attest)


def attest(  # noqa: PLR0913  # one for each option
    run: Annotated[Path | None, typer.Argument(help="Run folder. Default: the newest.")] = None,
    suite: RunSuites = None,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="Private key (ed25519, PEM).")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The attestation.")
    ] = Path("tunegate.intoto.json"),
    new_key: Annotated[
        Path | None,
        typer.Option(
            "--new-key", metavar="FILE", help="Only write a new key, to FILE and FILE.pub."
        ),
    ] = None,
    keyless: Annotated[
        bool,
        typer.Option(
            "--keyless", help="Sign with the identity of this CI job (sigstore) instead of a key."
        ),
    ] = False,
    trust: Annotated[
        Path | None,
        typer.Option(
            "--trust",
            metavar="JSON",
            help="With --keyless: settings of a private sigstore.",
        ),
    ] = None,
) -> None:
    """Sign a statement that lets others verify the verdict.

    Example: tunegate attest .tunegate/runs/20260101-120000-0001 --key release.key
    """
    from tunegate.harness.cli.resume import RUNS, newest_run
    from tunegate.harness.run.signing_keys import write_new_key
    from tunegate.harness.run.verification import load_verified

    if new_key is not None:
        public = write_new_key(new_key)
        say(f"{new_key}: private key; keep it out of the repository, for example as a CI secret")
        say(f"{public}: public key; publish it, for `tunegate verify FILE --key {public.name}`")
        return
    if (key is None) != keyless:
        raise UsageError(
            "tunegate attest needs either --key FILE, which --new-key FILE makes, or --keyless"
        )
    if trust is not None and not keyless:
        raise UsageError(f"--trust {trust}: only works with --keyless")
    loaded, notes = load_verified(run or newest_run(RUNS), strict=True, suites=suite_paths(suite))
    for note in notes:
        say(f"note: {note}")
    trusted = _sign(loaded, key, trust, output)
    say(f"{output}: {loaded.verdict.verdict.value} of run {loaded.verdict.run_id}, signed")
    say(f"next: `tunegate verify {output} {trusted} --model FOLDER`, where it is deployed")


def _sign(run: Run, key: Path | None, trust: Path | None, output: Path) -> str:
    """Write the attestation; return the options by which it is verified."""
    from tunegate.harness.records.files import write_atomic
    from tunegate.harness.run.attestation import make_attestation
    from tunegate.harness.run.sigstore_attestation import make_keyless

    if key is None:
        attestation = make_keyless(run, trust)
        text, trusted = (
            attestation.text,
            f"--identity {attestation.identity} --issuer {attestation.issuer}",
        )
    else:
        text, trusted = make_attestation(run, key), "--key FILE.pub"
    with refuse_unwritable(output, "choose another with -o FILE"):
        write_atomic(output, text)
    return trusted
