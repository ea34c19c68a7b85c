"""Attestation of a run: a signed statement from which its verdict can be computed again.

The file is a DSSE envelope around an in-toto statement, version 1. The predicate holds the run
without texts: of prompts and answers it has hashes, of scores all. The verdict is a function of
these, so that a reader without model, suite or run folder decides the run again by the same code.

The file has one form, and every byte of it is checked: another space, another key id or another
order of keys is refused, although the signature does not cover them. `keyless.py` signs the same
statement by the identity of a CI job.

Source: in-toto attestation framework, Statement v1; DSSE v1.0.2; RFC 8032 (ed25519) by the
`cryptography` library.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunegate.harness.models.adapters.weight_files import file_sha256, weights_fingerprint
from tunegate.harness.records.answers import StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import MissingExtra, UsageError
from tunegate.harness.records.files import read_file, record_json, write_atomic
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.jsonl import record_lines
from tunegate.harness.records.labels import LABELS_FILE, Label
from tunegate.harness.records.run_folder import Run, RunCase
from tunegate.harness.records.verdict import VerdictRecord
from tunegate.harness.run.verification import refuse_other_verdict

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:tunegate:attestation:verdict:v1"
NOT_PROVEN = (
    "not proven by this file: that the answers came from these weights, that the scores came from "
    "these answers, that the attempts are all there are, and when the run was made"
)
_RECORDS = ("cases.jsonl", "cells.jsonl", "scores.jsonl", LABELS_FILE)
_OTHERS_READ = 0o077
"""Permission bits of a key file by which others than its owner reach it."""


def make_attestation(run: Run, key: Path) -> str:
    """Return the text of a signed statement about a run.

    Args:
        run: A finished run whose files agree.
        key: PEM file of an ed25519 private key.

    Raises:
        UsageError: the key cannot be used, or the verdict does not follow from what is attested.
        MissingExtra: `cryptography` is not installed.
    """
    private = read_private_key(key)
    payload = make_statement(run)
    signature = private.sign(_pre_authentication(payload))
    signed = {"keyid": key_id(private.public_key()), "sig": _encode(signature)}
    return _envelope_text(payload, signed)


def verify_attestation(text: bytes, key: Path, name: str) -> VerdictRecord:
    """Check signature and form of an attestation, and decide its run again.

    Args:
        text: The whole file.
        key: PEM file of the ed25519 public key that is trusted.
        name: What messages call the file.

    Raises:
        UsageError: it is not signed by that key, was changed, or has another verdict than its
            scores give.
        MissingExtra: `cryptography` is not installed.
    """
    public = read_public_key(key)
    from cryptography.exceptions import InvalidSignature

    try:
        envelope = json.loads(text)
        signed = envelope["signatures"][0]
        payload = base64.b64decode(envelope["payload"], validate=True)
        signature = base64.b64decode(signed["sig"], validate=True)
        # Base64 has several spellings of its last letter, of which one is written.
        signed = {"keyid": signed["keyid"], "sig": _encode(signature)}
        same = _envelope_text(payload, signed).encode() == text
    except (ValueError, KeyError, TypeError, IndexError, RecursionError, binascii.Error) as error:
        raise UsageError(f"{name}: not an attestation of tunegate: {error!r}") from error
    if not same:
        raise UsageError(f"{name}: not as `tunegate attest` wrote it: the file was changed")
    if signed["keyid"] != key_id(public):
        raise UsageError(
            f"{name}: signed by key {str(signed['keyid'])[:16]}, and {key} is key "
            f"{key_id(public)[:16]}; give the public key of whoever made it"
        )
    try:
        public.verify(signature, _pre_authentication(payload))
    except InvalidSignature:
        raise UsageError(f"{name}: the signature does not match: the file was changed") from None
    return decide_statement(payload, name)


def make_statement(run: Run) -> bytes:
    """Return the in-toto statement about a run: what is signed.

    Raises:
        UsageError: the verdict does not follow from what is in the statement.
    """
    payload = canonical_json(_statement(run))
    _decide_from(json.loads(payload)["predicate"])
    return payload


def decide_statement(payload: bytes, name: str) -> VerdictRecord:
    """Decide the run of a statement again, whose signature was verified before.

    Args:
        payload: The statement.
        name: What messages call its file.

    Raises:
        UsageError: it is none about a verdict, or has another verdict than its scores give.
    """
    return _decide_from(_predicate_of(payload, name))


def judged_model(verdict: VerdictRecord) -> str:
    """Return which fine-tune a verdict is about, in words."""
    identity = verdict.arms.get("tuned", {})
    known = _judged_sha256(verdict)
    return f"{identity.get('spec')} ({f'SHA-256 {known}' if known else 'no SHA-256 is known'})"


def refuse_other_model(verdict: VerdictRecord, model: str, name: str) -> None:
    """Refuse a model that is not the fine-tune that was judged.

    Args:
        verdict: Of a verified statement.
        model: A folder of weights, a file, or the SHA-256 that `judged_model` names.
        name: What messages call the statement's file.

    Raises:
        UsageError: it is another one, cannot be read, or the statement does not know its model.
    """
    judged = _judged_sha256(verdict)
    if judged is None:
        raise UsageError(
            f"{name}: the run knew no weights of {judged_model(verdict)}, so that no model can be "
            "compared; judge files, or take the name on trust with --model any"
        )
    path = Path(model)
    try:
        if path.is_dir():
            found = weights_fingerprint(path)
        elif path.is_file():
            found = file_sha256(path)
        else:
            found = model.removeprefix("sha256:").lower()
    except OSError as error:
        raise UsageError(f"--model {model}: cannot be read ({error.strerror})") from error
    if not re.fullmatch("[0-9a-f]{64}", found):
        raise UsageError(f"--model {model}: no such folder or file, and no SHA-256 (64 hex digits)")
    if found != judged:
        raise UsageError(
            f"--model {model}: another model: {name} is about {judged_model(verdict)}, and this is "
            f"{found}; judge this one, or name the one that was judged"
        )


def _judged_sha256(verdict: VerdictRecord) -> str | None:
    """Return the hash of tuned's files: of an adapter, of whole weights, or of recorded answers."""
    identity = verdict.arms.get("tuned", {})
    keys = ("adapter_sha256", "weights_sha256", "file_sha256", "script_sha256")
    found = next((identity[key] for key in keys if identity.get(key)), None)
    return None if found is None else str(found)


def _predicate_of(payload: bytes, name: str) -> dict[str, Any]:
    try:
        statement = json.loads(payload)
        kinds = statement["_type"], statement["predicateType"]
        predicate: dict[str, Any] = statement["predicate"]
        if kinds != (STATEMENT, PREDICATE) or not isinstance(predicate, dict):
            raise ValueError(f"it is {kinds[0]} with {kinds[1]}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{name}: signed, and no statement about a verdict: {error}") from error
    return predicate


def _statement(run: Run) -> dict[str, Any]:
    identity = run.verdict.arms.get("tuned", {})
    known = {key: value for key, value in identity.items() if key != "spec"}
    subjects = [("tuned", sha256(known)), *((s.name, s.hash) for s in run.manifest.suites)]
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": found}} for name, found in subjects],
        "predicateType": PREDICATE,
        "predicate": {
            "manifest.json": json.loads(record_json(run.manifest)),
            "verdict.json": json.loads(record_json(run.verdict)),
            "cases.jsonl": _rows(map(_without_texts, run.cases.values())),
            "cells.jsonl": _rows(map(_without_answer, run.cells)),
            "scores.jsonl": _rows(run.scores),
            LABELS_FILE: _rows(map(_label_of_hash, run.labels)),
        },
    }


def _rows(records: Any) -> list[Any]:
    return [json.loads(line) for line in record_lines(records)]


def _without_texts(row: RunCase) -> RunCase:
    """Return a case with what its evaluation needs of it, and the hash of what was asked."""
    asked = row.prompt_sha256 or sha256(json.loads(json.dumps(row.case.input_messages())))
    case = Case(id=row.case.id, tags=row.case.tags, cluster=row.case.cluster)
    return RunCase(suite=row.suite, case=case, where=row.where, prompt_sha256=asked)


def _without_answer(stored: StoredAnswer) -> StoredAnswer:
    """Return an answer with the hash of its text, by which equal answers stay equal."""
    done = stored.completion
    if done is not None and done.text is not None:
        done = done.model_copy(update={"text": sha256(done.text)})
    return replace(stored, completion=done)


def _label_of_hash(label: Label) -> Label:
    return label.model_copy(update={"completion": sha256(label.completion)})


def _decide_from(predicate: dict[str, Any]) -> VerdictRecord:
    """Write what is attested as a run folder, read it as any run, and decide it again.

    Raises:
        UsageError: a record cannot be read, or the verdict is another one.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name in ("manifest.json", "verdict.json"):
            (folder / name).write_text(json.dumps(predicate.get(name)), encoding="utf-8")
        for name in _RECORDS:
            rows = predicate.get(name)
            lines = (json.dumps(row) + "\n" for row in (rows if isinstance(rows, list) else ()))
            (folder / name).write_text("".join(lines), encoding="utf-8")
        run = Run.load(folder)
        refuse_other_verdict(run)
        return run.verdict


def write_new_key(path: Path) -> Path:
    """Write a new ed25519 private key, and its public key next to it; return the latter.

    Raises:
        UsageError: a file is there already, or cannot be written.
        MissingExtra: `cryptography` is not installed.
    """
    serialization, ed25519 = _load_library()
    private = ed25519.Ed25519PrivateKey.generate()
    text = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = path.with_name(f"{path.name}.pub")
    try:
        if public.exists():
            raise FileExistsError(0, "it is there already")
        # Never readable by others, not even for a moment.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text)
        write_atomic(public, _public_text(private.public_key()).decode())
    except OSError as error:
        raise UsageError(
            f"{path}: no key written ({error.strerror}); choose another file"
        ) from error
    return public


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Read a private key that its owner alone can read.

    Raises:
        UsageError: it is no ed25519 key, others may read it, or it cannot be read.
        MissingExtra: `cryptography` is not installed.
    """
    serialization, ed25519 = _load_library()
    try:
        if os.name == "posix" and (mode := path.stat().st_mode & 0o777) & _OTHERS_READ:
            raise UsageError(f"{path}: mode {mode:o}, readable by others; `chmod 600 {path}`")
        key = serialization.load_pem_private_key(read_file(path), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"{path}: no private key in PEM without a password: {error}") from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise UsageError(f"{path}: not an ed25519 key; `tunegate attest --new-key FILE` makes one")
    found: Ed25519PrivateKey = key
    return found


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Read a public key.

    Raises:
        UsageError: it is no ed25519 key, or cannot be read.
        MissingExtra: `cryptography` is not installed.
    """
    serialization, ed25519 = _load_library()
    try:
        key = serialization.load_pem_public_key(read_file(path))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: no public key in PEM: {error}") from error
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise UsageError(f"{path}: not an ed25519 key; `tunegate attest --new-key FILE` makes one")
    found: Ed25519PublicKey = key
    return found


def key_id(key: Ed25519PublicKey) -> str:
    """Return the name of a key: SHA-256 of its PEM text, hex."""
    return hashlib.sha256(_public_text(key)).hexdigest()


def _public_text(key: Ed25519PublicKey) -> bytes:
    serialization, _ = _load_library()
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    text: bytes = key.public_bytes(serialization.Encoding.PEM, kind)
    return text


def _load_library() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise MissingExtra("an attestation", "attest") from error
    return serialization, ed25519


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


def canonical_json(value: Any) -> bytes:
    """Return a value in the one form in which it is written and read."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
