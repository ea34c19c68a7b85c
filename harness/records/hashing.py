"""Canonical JSON, and the SHA-256 of values, files and folders."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
_TEXT_HASH = re.compile("sha256:[0-9a-f]{64}")


def canonical_json(value: Any) -> str:
    """Return the one JSON text of `value`: sorted keys, no spaces, strict numbers."""
    return _CANONICAL.encode(value)


def sha256(value: Any) -> str:
    """Return the hex SHA-256 of a string's UTF-8 bytes or of a value's canonical JSON."""
    text = value if isinstance(value, str) else canonical_json(value)
    return bytes_sha256(text.encode("utf-8", "surrogatepass"))


def bytes_sha256(content: bytes) -> str:
    """Return the hex SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, or of all files of a folder under their names."""
    if path.is_file():
        return file_sha256(path)
    inner = sorted(file for file in path.rglob("*") if file.is_file())
    return sha256({file.relative_to(path).as_posix(): file_sha256(file) for file in inner})


def text_hash(text: str) -> str:
    """Return `sha256:` and the hash of a text; blank texts and such hashes stay as they are.

    An attestation holds these hashes in place of the texts, and is decided as the texts are.
    """
    return text if not text.strip() or is_text_hash(text) else f"sha256:{sha256(text)}"


def is_text_hash(text: str) -> bool:
    """Return whether a text is the hash that `text_hash` gives."""
    return _TEXT_HASH.fullmatch(text) is not None
