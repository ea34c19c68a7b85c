"""What a `server:` spec names: address, model, folders, and the key of the address."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from tunegate.harness.models.remote.http import LOOPBACK
from tunegate.harness.records.errors import ModelError, unknown_name_message

_FORM = "server:http://host:port/v1#MODEL"
_OPTIONS = ("tokenizer", "weights")
NO_WEIGHTS = "none"
_GGUF = ".gguf"
KEY = "TUNEGATE_SERVER_KEY"
"""Environment variable of the key."""
_ELSE = "OPENAI_API_KEY"


def is_this_machine(url: str) -> bool:
    """Return whether an address is one of this machine."""
    return urlsplit(url).hostname in LOOPBACK


@dataclass(frozen=True, slots=True)
class ServerTarget:
    """A model behind a server."""

    url: str
    """Address up to `/v1`, without a slash at its end."""
    model: str
    """The model's name there; empty if the spec names none."""
    tokenizer: str | None = None
    """Folder or hub id of its tokenizer and chat template, as the spec gives it."""
    weights: str | None = None
    """Folder or GGUF file of its weights on this machine, as the spec names it; `none` trusts the
    server."""

    @property
    def origin(self) -> str:
        """The address without its path."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def here(self) -> bool:
        """Whether it is this machine."""
        return is_this_machine(self.url)

    def spec(self, model: str | None = None) -> str:
        """Return the spec, of another model of the server if one is given."""
        named = {"tokenizer": self.tokenizer, "weights": self.weights}
        query = "&".join(f"{name}={value}" for name, value in named.items() if value)
        query = f"?{query}" if query else ""
        return f"server:{self.url}{query}#{model or self.model}"


def parse_target(target: str) -> ServerTarget:
    """Read what follows `server:`."""
    address, _, model = target.partition("#")
    try:
        parts = urlsplit(address)
        well_formed = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port  # raises if it is not a number
    except ValueError:
        well_formed = False
    if not well_formed:
        raise ModelError(f"server:{target}: no address of a server; write it as {_FORM}")
    if parts.username or parts.password:
        # The spec goes into records and logs, so it is not repeated here either.
        raise ModelError(f"server: an address must hold no password; put the key into {KEY}")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options:
        if name not in _OPTIONS:
            raise ModelError(
                f"server:{target}: {unknown_name_message(name, _OPTIONS, what='option')}"
            )
    _refuse_no_folder(target, options)
    url = f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")
    return ServerTarget(url, model, options.get("tokenizer"), options.get("weights"))


def weights_spec(named: str) -> str:
    """Return the model spec of `weights=`: a folder, a GGUF file, or one with a LoRA's behind."""
    path, comma, lora = named.partition(",")
    if not path.endswith(_GGUF):
        return named
    return f"gguf:{path}?lora={lora}" if comma else f"gguf:{path}"


def _refuse_no_folder(target: str, options: Mapping[str, str]) -> None:
    for name in _OPTIONS:
        if options.get(name) == "":
            raise ModelError(f"server:{target}: {name}= names no folder")
    weights = options.get("weights", NO_WEIGHTS)
    files = [Path(part) for part in weights.split(",")]
    there = files[0].is_dir() or all(f.suffix == _GGUF and f.is_file() for f in files)
    if weights != NO_WEIGHTS and not there:
        raise ModelError(
            f"server:{target}: weights={weights} is not a folder; name that of the model or "
            f"adapter, FILE.gguf or FILE.gguf,LORA.gguf, or {NO_WEIGHTS} to take them on trust"
        )


def key_for(where: ServerTarget, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the key to be sent: OpenAI's own goes over no line that others can read."""
    name = KEY
    if not environment.get(KEY) and (where.here or where.url.startswith("https:")):
        name = _ELSE
    return read_key(name, environment)


def read_key(name: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the key in a variable; None if it is not set."""
    key = environment.get(name, "").strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ModelError(f"{name} holds characters that no key has; set it again")
    return key or None
