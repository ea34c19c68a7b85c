"""Keyless attestation: a run's statement, signed with the identity of a CI job through sigstore.

The CI gives the job a token that names the workflow (OpenID Connect). A certificate authority
exchanges it for a ten-minute certificate, whose key signs the statement once and is dropped; a
public log records the signature and its time. The file is a sigstore bundle, version 0.3: envelope,
certificate and the log's proof. It verifies offline against the public keys of the authority and
the log, which come with the `sigstore` package or in a file.

Like `attestation.py`, it accepts the file in one form only.

Source: sigstore's client specification, by the library sigstore-python.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.quiet import quiet_libraries
from tunegate.harness.records.errors import MissingExtra, UsageError
from tunegate.harness.records.files import read_file
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import VerdictRecord
from tunegate.harness.run.attestation import PAYLOAD_TYPE
from tunegate.harness.run.statement import canonical_json, decide_statement, make_statement

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"


@dataclass(frozen=True, slots=True)
class KeylessAttestation:
    """A signed bundle and who signed it."""

    text: str
    identity: str
    """The signer in the certificate: for GitHub, the workflow's address with its branch or tag."""
    issuer: str
    """Who vouched for it."""


def make_keyless(run: Run, trust: Path | None) -> KeylessAttestation:
    """Return a statement about a run, signed by the identity of the CI job that this is.

    Args:
        run: A finished run whose files agree.
        trust: Trust configuration of a private sigstore instance (JSON); None for the public one,
            whose configuration is updated over the network.
    """
    oidc, models, dsse = _load_library()
    payload = make_statement(run)
    token = _job_token(oidc)
    with _one_line("no keyless signature"):
        from sigstore.sign import SigningContext

        config = (
            models.ClientTrustConfig.production()
            if trust is None
            else models.ClientTrustConfig.from_json(_read_trust(trust))
        )
        context = SigningContext.from_trust_config(config)
        with context.signer(oidc.IdentityToken(token)) as signer:
            bundle = signer.sign_dsse(dsse.Statement(payload))
        identity, issuer = _signer_of(bundle)
        text = _bundle_text(bundle)
        _verify(text.encode(), config.trusted_root, identity, issuer)
    return KeylessAttestation(text, identity, issuer)


def _job_token(oidc: Any) -> str:
    """Return the token in which the CI names this job."""
    need = (
        "in GitHub Actions the job needs `permissions: id-token: write`; elsewhere sign with "
        "--key FILE"
    )
    with _one_line(f"--keyless: no identity of this job; {need}"):
        token: str | None = oidc.detect_credential()
    if token is None:
        raise UsageError(f"--keyless: no identity of a CI job here; {need}")
    return token


def verify_keyless(
    text: bytes, identity: str, issuer: str, trust: Path | None, name: str
) -> VerdictRecord:
    """Check a keyless signature offline, and decide its run again.

    Args:
        text: The whole file.
        identity: Who must have signed it, as its certificate names them.
        issuer: Who must have vouched for that.
        trust: File with trusted public keys: a trusted root or a trust configuration (JSON). None
            for the keys of the public instance that come with the `sigstore` package.
        name: What messages call the file.
    """
    _, models, _ = _load_library()
    with _one_line(f"{name}: not a keyless attestation of {identity} (issuer {issuer})"):
        payload = _verify(text, _trusted_root(models, trust), identity, issuer)
    return decide_statement(payload, name)


def _verify(text: bytes, root: Any, identity: str, issuer: str) -> bytes:
    """Return the statement of a bundle that this identity signed."""
    from sigstore.models import Bundle
    from sigstore.verify import Verifier
    from sigstore.verify.policy import Identity

    if not identity or not issuer:  # the library takes an empty issuer for any
        raise ValueError("identity and issuer must be given")
    bundle = Bundle.from_json(text)
    document = json.loads(text)
    signatures = [set(signature) for signature in document["dsseEnvelope"]["signatures"]]
    # Neither media type nor key id is signed.
    written = document["mediaType"] == MEDIA_TYPE and signatures == [{"sig"}]
    if not written or _bundle_text(bundle).encode() != text:
        raise ValueError("not as `tunegate attest` wrote it: the file was changed")
    policy = Identity(identity=identity, issuer=issuer)
    verified: tuple[str, bytes] = Verifier(trusted_root=root).verify_dsse(bundle, policy)
    kind, payload = verified
    if kind != PAYLOAD_TYPE:
        raise ValueError(f"it holds {kind}, not {PAYLOAD_TYPE}")
    return payload


def _bundle_text(bundle: Any) -> str:
    return canonical_json(json.loads(bundle.to_json())).decode() + "\n"


def _signer_of(bundle: Any) -> tuple[str, str]:
    """Return identity and issuer of a certificate, as a verifier must give them."""
    from cryptography import x509

    oid = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")  # bare text; 1.8 has the same in DER
    extensions = bundle.signing_certificate.extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    issuer = extensions.get_extension_for_oid(oid).value
    return str(next(iter(names)).value), issuer.value.decode()


def _trusted_root(models: Any, trust: Path | None) -> Any:
    if trust is None:
        return models.ClientTrustConfig.production(offline=True).trusted_root
    text = _read_trust(trust)
    if "trustedroot" in str(json.loads(text).get("mediaType")):
        return models.TrustedRoot.from_file(str(trust))
    return models.ClientTrustConfig.from_json(text).trusted_root


def _read_trust(path: Path) -> str:
    try:
        return read_file(path).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: no trust configuration can be read ({error})") from error


@contextmanager
def _one_line(what: str) -> Iterator[None]:
    """Turn whatever the library raises into one line; keep it from logging.

    It raises exceptions of private modules, of requests and of tuf, and of Python's own.
    """
    try:
        with quiet_libraries("sigstore", level=logging.CRITICAL):
            yield
    except UsageError:
        raise
    except Exception as error:
        message = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(f"{what}: {message:.300}") from error


def _load_library() -> tuple[Any, Any, Any]:
    try:
        from sigstore import dsse, models, oidc
    except ImportError as error:
        raise MissingExtra("a keyless signature", "sigstore") from error
    return oidc, models, dsse
