"""`tunegate verify FILE --model DIR`: check an attestation, and that it is about this model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunegate.harness.cli._output import say
from tunegate.harness.cli._panels import Panel
from tunegate.harness.records.errors import UsageError, refuse_unreadable

ORDER = 114
PANEL = Panel.KEEP_RECORDS


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify")(verify)


def verify(
    file: Annotated[Path, typer.Argument(help="File that `tunegate attest` wrote.")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="PATH|SHA256",
            help="Fine-tune that must be the one that was judged; `any` compares none.",
        ),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option("--key", metavar="PUB", help="Public key that is trusted (ed25519, PEM)."),
    ] = None,
    identity: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Who must have signed without a key, such as a workflow of GitHub."
        ),
    ] = None,
    issuer: Annotated[
        str,
        typer.Option(metavar="URL", help="--identity: who vouches for it.", show_default=True),
    ] = "https://token.actions.githubusercontent.com",
    trust: Annotated[
        Path | None,
        typer.Option(
            "--trust",
            metavar="JSON",
            help="--identity: public keys of sigstore. Default: those of the `sigstore` package.",
        ),
    ] = None,
) -> None:
    """Check a signed verdict before a deployment.

    It exits with the verdict's code if signature, form, verdict and model agree, and else with 2.

    Example: tunegate verify tunegate.intoto.json --key release.key.pub --model out/adapter
    """
    from tunegate.harness.records.files import read_file
    from tunegate.harness.run import attestation, sigstore_attestation, statement

    if (key is None) == (identity is None):
        raise UsageError(f"{file}: without --key PUB or --identity URL the signer is unknown")
    if trust is not None and identity is None:
        raise UsageError(f"--trust {trust}: only works with --identity")
    with refuse_unreadable(file):
        text = read_file(file)
    if identity is None:
        assert key is not None
        verdict = attestation.verify_attestation(text, key, str(file))
        signer = f"the holder of {key}"
    else:
        verdict = sigstore_attestation.verify_keyless(text, identity, issuer, trust, str(file))
        signer = identity
    about = statement.judged_model(verdict)
    if model is None:
        raise UsageError(
            f"{file}: signed by {signer}, but nothing shows that the model that you have is "
            f"{about}: name yours with --model PATH, or compare none with --model any"
        )
    if model == "any":
        say(f"not checked: whether the model that you have is {about}")
    else:
        statement.refuse_other_model(verdict, model, str(file))
        say(f"checked: {model} has the weights that were judged")
    say(f"proven: {signer} signed this, and its scores give {verdict.verdict.value}")
    say(attestation.NOT_PROVEN)
    say(f"run {verdict.run_id}, tuned {verdict.arms.get('tuned', {}).get('spec')}")
    say(f"{verdict.verdict.value}: {verdict.sentence}")
    raise typer.Exit(verdict.verdict.exit_code)
