"""Splitting answers into sentences."""

from __future__ import annotations

import re

_END = re.compile(r"(?<=[.!?。！？])\s+|\n+")


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text; a line break ends one, too."""
    return [part.strip() for part in _END.split(text) if part.strip()]
