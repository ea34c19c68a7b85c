"""`ollama:NAME`: a model of an Ollama that runs, at OLLAMA_HOST.

It is asked by messages, through its own template, as its users ask it. With
`?weights=FILE.gguf[,LORA.gguf]` the files are compared with the blobs that Ollama says the model is
made of: by hash, and since `ollama create` may write a file anew, else tensor by tensor where the
blobs can be read. That it computes with them cannot be proven: it reports no token ids.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tunegate.harness.contracts.model import PoolLimits
from tunegate.harness.models.gguf_format.file import GgufFile, read_gguf
from tunegate.harness.models.remote.failures import PermanentError
from tunegate.harness.models.remote.http import HttpClient
from tunegate.harness.models.server import ServerArm, open_server
from tunegate.harness.models.servers.dialect import ServerConnection
from tunegate.harness.models.servers.target import ServerTarget, key_for
from tunegate.harness.records.errors import BackendError, ModelError, unknown_name_message
from tunegate.harness.records.hashing import file_sha256

SPEC = "ollama:NAME[?tokenizer=FOLDER&weights=FILE.gguf]"
HOST = "OLLAMA_HOST"
"""Environment variable of Ollama's own that names its address."""
_OPTIONS = ("tokenizer", "weights")
_PORTS = {"http": 80, "https": 443}
_PORT = 11434
_BLOB = re.compile(r"^(FROM|ADAPTER)\s+(.*sha256[-:][0-9a-f]{64})\s*$", re.MULTILINE)
"""A file of a model, as /api/show's Modelfile names it."""
_HASH = 64


@dataclass(eq=False)
class OllamaArm(ServerArm):
    """A model in Ollama."""

    named: str = ""
    """The spec that the user gave."""
    blobs: Mapping[str, str] = field(default_factory=dict)
    """`FROM` or `ADAPTER` → the blob's path, which ends in its hash, by Ollama's report."""
    checked: str = ""
    """How the blobs were compared with the user's files; empty if they were not."""

    @property
    def spec(self) -> str:
        """The spec that it was opened by."""
        return self.named

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """Fields of a server's arm, and the hashes of its files."""
        identity_fields = {**super().identity, "spec": self.named, "backend": "ollama"}
        hashes = {"FROM": "weights_sha256", "ADAPTER": "adapter_sha256"}
        identity_fields |= {hashes[name]: path[-_HASH:] for name, path in self.blobs.items()}
        return identity_fields | ({"files_checked": self.checked} if self.checked else {})

    @property
    def weights_spec(self) -> str | None:
        """None: there is nothing to compare log-probabilities with."""
        return None


def ollama(target: str, limits: PoolLimits | None = None) -> OllamaArm:
    """Open a model of the Ollama that runs."""
    spec = f"ollama:{target}"
    name, _, query = target.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for option, value in options.items():
        if option not in _OPTIONS or not value:
            message = unknown_name_message(option, _OPTIONS, what="option")
            raise ModelError(f"{spec}: {message if value else f'{option}= names nothing'}")
    if not name:
        raise ModelError(f"{spec}: names no model; write it as {SPEC}")
    files = [*map(Path, options["weights"].split(","))] if "weights" in options else []
    if missing := next((path for path in files if not path.is_file()), None):
        raise ModelError(f"{spec}: weights={missing}: no such file")
    tagged = name if ":" in name.rpartition("/")[2] else f"{name}:latest"
    where = ServerTarget(f"{host_address()}/v1", tagged, options.get("tokenizer"))
    key = key_for(where)
    try:
        opened = open_server(where, key, limits or PoolLimits())
        with HttpClient(key) as http:
            shown = ServerConnection(http, where).post("/api/show", {})
    except (PermanentError, BackendError, ModelError) as error:
        raise ModelError(f"{spec}: {error}; start Ollama, or name its address in {HOST}") from error
    named = _BLOB.findall(str(shown.get("modelfile") or ""))
    blobs = dict(reversed(named))  # the first of each: a vision model's projector is a FROM, too
    checked = _compare_files(spec, files, blobs) if files else ""
    shared = {f.name: getattr(opened, f.name) for f in fields(opened) if f.init}
    return OllamaArm(**shared, named=spec, blobs=blobs, checked=checked)


def host_address(environment: Mapping[str, str] = os.environ) -> str:
    """Return the address that OLLAMA_HOST names, as Ollama reads it (envconfig/config.go)."""
    text = environment.get(HOST, "").strip()
    scheme, there, _ = text.partition("://")
    port = _PORTS.get(scheme, _PORT) if there else _PORT
    scheme = scheme if there else "http"
    parts = urlsplit(text if there else f"http://{text}")
    host = parts.hostname or "127.0.0.1"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{parts.port or port}"


def _compare_files(spec: str, paths: Sequence[Path], blobs: Mapping[str, str]) -> str:
    """Return how the files that the spec names were compared with Ollama's blobs."""
    if "ADAPTER" in blobs and len(paths) == 1:
        raise ModelError(f"{spec}: Ollama has an adapter on it; write weights=FILE.gguf,LORA.gguf")
    ways = []
    for what, path in zip(("FROM", "ADAPTER"), paths, strict=False):
        blob = blobs.get(what)
        if blob is None:
            raise ModelError(f"{spec}: Ollama names no file in {what}; leave {path} out")
        if file_sha256(path) == blob[-_HASH:]:
            ways.append("by the hash of the file")
        elif Path(blob).is_file() and os.access(blob, os.R_OK):
            if different := different_tensor(read_gguf(path), read_gguf(Path(blob))):
                raise ModelError(
                    f"{spec}: {what} is another file than {path}: {different} differs; make the "
                    "model again with `ollama create`"
                )
            ways.append("tensor by tensor")
        else:
            raise ModelError(
                f"{spec}: {what} is not {path} byte for byte, and {blob} cannot be read here to "
                "compare the tensors; leave weights= out to take it on trust"
            )
    return ", ".join(dict.fromkeys(ways))


def different_tensor(first_file: GgufFile, other: GgufFile) -> str:
    """Return the first tensor in which two files differ; empty if all are equal."""
    import numpy as np

    for name in sorted({*first_file.tensors, *other.tensors}):
        first, second = first_file.tensors.get(name), other.tensors.get(name)
        if first is None or second is None or first.tensor_type != second.tensor_type:
            return name
        if not np.array_equal(first.data, second.data):
            return name
    return ""
