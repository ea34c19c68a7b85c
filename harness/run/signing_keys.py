"""Signing keys: ed25519 keys in PEM files that only their owner can read.

Source: RFC 8032, by the `cryptography` library.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunegate.harness.records.errors import MissingExtra, UsageError
from tunegate.harness.records.files import read_file, write_atomic

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

_OTHERS_READ = 0o077
_MAKE_ONE = "`tunegate attest --new-key FILE` makes one"
"""Permission bits by which others than the owner reach a file."""


def write_new_key(path: Path) -> Path:
    """Write a new ed25519 private key, and its public key next to it; return the latter."""
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
    """Read a private key that its owner alone can read."""
    serialization, ed25519 = _load_library()
    try:
        if os.name == "posix" and (mode := path.stat().st_mode & 0o777) & _OTHERS_READ:
            raise UsageError(f"{path}: mode {mode:o}, readable by others; `chmod 600 {path}`")
        key = serialization.load_pem_private_key(read_file(path), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f"{path}: not a PEM private key without a password: {error}; {_MAKE_ONE}"
        ) from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise UsageError(f"{path}: not an ed25519 key; {_MAKE_ONE}")
    private_key: Ed25519PrivateKey = key
    return private_key


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Read a public key."""
    serialization, ed25519 = _load_library()
    try:
        key = serialization.load_pem_public_key(read_file(path))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a PEM public key: {error}; {_MAKE_ONE}") from error
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise UsageError(f"{path}: not an ed25519 key; {_MAKE_ONE}")
    public_key: Ed25519PublicKey = key
    return public_key


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
