"""Attestation: a run's statement, signed with a key, as a DSSE envelope.

The file has one form, and every byte of it is checked: extra spaces, another key id or another
order of keys are refused, although the signature does not cover them. `sigstore_attestation.py`
signs the same statement with the identity of a CI job.

Source: DSSE v1.0.2.
"""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import Any

from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import VerdictRecord
from tunegate.harness.run.signing_keys import key_id, read_private_key, read_public_key
from tunegate.harness.run.statement import canonical_json, decide_statement, make_statement

PAYLOAD_TYPE = "application/vnd.in-toto+json"
NOT_PROVEN = (
    "not proven by this file: that the answers came from these weights, that the scores came from "
    "these answers, that no attempt is missing, and when the run was made"
)


def make_attestation(run: Run, key: Path) -> str:
    """Return the text of a signed statement about a run."""
    private = read_private_key(key)
    payload = make_statement(run)
    signature = private.sign(_pre_authentication(payload))
    signed = {"keyid": key_id(private.public_key()), "sig": _encode(signature)}
    return _envelope_text(payload, signed)


def verify_attestation(text: bytes, key: Path, name: str) -> VerdictRecord:
    """Check signature and form of an attestation, and decide its run again."""
    public = read_public_key(key)
    from cryptography.exceptions import InvalidSignature

    try:
        envelope = json.loads(text)
        signed = envelope["signatures"][0]
        payload = base64.b64decode(envelope["payload"], validate=True)
        signature = base64.b64decode(signed["sig"], validate=True)
        # Base64 can spell its last letter in several ways; we write one of them.
        signed = {"keyid": signed["keyid"], "sig": _encode(signature)}
        same = _envelope_text(payload, signed).encode() == text
    except (ValueError, KeyError, TypeError, IndexError, RecursionError, binascii.Error) as error:
        raise UsageError(f"{name}: not an attestation of tunegate: {error!r}") from error
    if not same:
        raise UsageError(f"{name}: not as `tunegate attest` wrote it: the file was changed")
    if signed["keyid"] != key_id(public):
        raise UsageError(
            f"{name}: signed by key {str(signed['keyid'])[:16]}, but {key} is key "
            f"{key_id(public)[:16]}; give the public key of whoever signed it"
        )
    try:
        public.verify(signature, _pre_authentication(payload))
    except InvalidSignature:
        raise UsageError(f"{name}: the signature does not match: the file was changed") from None
    return decide_statement(payload, name)


def _pre_authentication(payload: bytes) -> bytes:
    """Return what DSSE signs: type and payload with their lengths."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _envelope_text(payload: bytes, signed: dict[str, Any]) -> str:
    envelope = {
        "payload": _encode(payload),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [signed],
    }
    return canonical_json(envelope).decode() + "\n"


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
