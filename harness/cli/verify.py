"""`tunegate verify FILE`: check an attestation, and compute its verdict again without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunegate.harness.errors import UsageError

ORDER = 114


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify")(verify)


def verify(
    file: Annotated[Path, typer.Argument(help="File that `tunegate attest` wrote.")],
    key: Annotated[
        Path | None,
        typer.Option("--key", metavar="PUB", help="Public key that is trusted (ed25519, PEM)."),
    ] = None,
) -> None:
    """Exit with the verdict's own code if signature, form and recomputed verdict agree; else 2.

    Example: tunegate verify tunegate.intoto.json --key release.key.pub
    """
    from tunegate.harness.pipeline import attestation
    from tunegate.reports.escaping import escape_hidden

    if key is None:
        raise UsageError(f"{file}: without --key PUB nothing says who signed it")
    try:
        text = file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: cannot be read ({error.strerror})") from error
    verdict = attestation.verify_attestation(text, key, str(file))
    print(f"proven: the holder of {key} signed this, and its scores give {verdict.verdict.value}")
    print(attestation.NOT_PROVEN)
    print(escape_hidden(f"run {verdict.run_id}, tuned {verdict.arms.get('tuned', {}).get('spec')}"))
    print(escape_hidden(f"{verdict.verdict.value}: {verdict.sentence}"))
    raise typer.Exit(verdict.verdict.exit_code)
