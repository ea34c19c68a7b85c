"""What a `server:` spec says: `http://host:port/v1#MODEL`, or `…/v1?tokenizer=FOLDER#MODEL`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from harness.errors import ModelError
from harness.lookup import unknown

_FORM = "server:http://host:port/v1#MODEL"
_OPTIONS = ("tokenizer",)
_HERE = ("localhost", "127.0.0.1", "::1")
KEY = "TUNEGATE_SERVER_KEY"
"""Environment variable of the key."""
_ELSE = "OPENAI_API_KEY"


@dataclass(frozen=True, slots=True)
class Place:
    """A model behind a server."""

    url: str
    """Address up to `/v1`, without a slash at its end."""
    model: str
    """The model's name there; empty if the spec names none."""
    tokenizer: str | None = None
    """Folder or hub id of its tokenizer and chat template, as the spec says."""

    @property
    def origin(self) -> str:
        """The address without its path."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def here(self) -> bool:
        """Whether it is this machine."""
        return urlsplit(self.url).hostname in _HERE

    def spec(self, model: str | None = None) -> str:
        """Return the spec, of another model of the server if one is given."""
        query = f"?tokenizer={self.tokenizer}" if self.tokenizer else ""
        return f"server:{self.url}{query}#{model or self.model}"


def place(target: str) -> Place:
    """Read what follows `server:`.

    Raises:
        ModelError: it is no address, holds a secret, or has an option that does not exist.
    """
    address, _, model = target.partition("#")
    try:
        parts = urlsplit(address)
        well_formed = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port  # read, it raises if it is no number
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
            raise ModelError(f"server:{target}: {unknown(name, _OPTIONS, what='option')}")
    if options.get("tokenizer") == "":
        raise ModelError(f"server:{target}: tokenizer= names no folder")
    url = f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")
    return Place(url, model, options.get("tokenizer"))


def key_for(where: Place, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the key to be sent: OpenAI's own goes over no line that others can read.

    Raises:
        ModelError: it cannot stand in a header.
    """
    name = KEY
    if not environment.get(KEY) and (where.here or where.url.startswith("https:")):
        name = _ELSE
    key = environment.get(name, "").strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ModelError(f"{name} holds characters that no key has; set it again")
    return key or None
