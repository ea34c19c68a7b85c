"""A cursor over a JSON text of any size: only the value that is being taken is in memory."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterator
from typing import Any

PIECE = 1 << 20
"""Bytes read at a time; more where one value is larger."""
_SPACE = " \t\r\n\ufeff"  # joined files have byte order marks in between
_CUT = 16
"""A parser that stops this close to the end may only have needed more text."""
DECODER = json.JSONDecoder(strict=False)
"""Accepts line ends and tabs inside strings, which some writers leave there."""


class JsonCursor:
    """A position in a JSON text; its methods take what follows."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        """Read from `read(size)`, which returns nothing at the end."""
        self._read = read
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""
        self._at = 0

    def peek(self) -> str:
        """Return the next character that is not a space; nothing at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _SPACE:
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                return ""

    def value(self) -> Any:
        """Take a whole value."""
        self.peek()
        while True:
            try:
                value, end = DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                near = error.pos > len(self._text) - _CUT
                if not (near or error.msg.startswith("Unterminated string")) or not self._more():
                    raise
                continue
            if end < len(self._text) or not self._more():
                self._at = end
                return value

    def members(self) -> Iterator[str]:
        """Take an object: yield each key; take its value before the next."""
        self._take("{")
        while self.peek() != "}":
            key = self.value()
            self._take(":")
            yield key
            if self.peek() != "}":
                self._take(",")
        self._take("}")

    def elements(self) -> Iterator[None]:
        """Take an array: yield before each element; take it before the next."""
        self._take("[")
        while self.peek() != "]":
            yield
            if self.peek() != "]":
                self._take(",")
        self._take("]")

    def _take(self, wanted: str) -> None:
        if self.peek() != wanted:
            raise ValueError(f"{self.peek() or 'the end'!r} where {wanted!r} is due")
        self._at += 1

    def _more(self) -> bool:
        """Read on; twice as much where nothing of the last piece could be taken."""
        self._text = self._text[self._at :]
        self._at = 0
        piece = self._read(max(PIECE, len(self._text)))
        text = self._utf8.decode(piece, final=not piece)
        self._text += text
        return bool(piece or text)
