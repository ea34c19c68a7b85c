"""A JSON text of any size, taken value by value: what has been taken is forgotten."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterator
from typing import Any

PIECE = 1 << 20
"""Bytes that are read at a time; more where one value is larger."""
_SPACE = " \t\r\n\ufeff"
"""A byte order mark counts as none of the text, wherever files were joined."""
_CUT = 16
"""A parser that stops so few characters before the end may have wanted more of the text."""
DECODER = json.JSONDecoder(strict=False)
"""Takes line ends and tabs inside texts, which other writers leave there."""


class Pieces:
    """A place in a JSON text; the methods take what follows it."""

    def __init__(self, read: Callable[[int], bytes], head: bytes = b"") -> None:
        """Read from `read(size)`, which returns nothing at the end, after the bytes of `head`."""
        self._read = read
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = self._utf8.decode(head)
        self._at = 0
        self.surrogates = self._has_surrogates(self._text)
        """Whether escapes of surrogates have been met, be they halves or pairs."""

    def peek(self) -> str:
        """Return the next character that is no space; nothing at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _SPACE:
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                return ""

    def value(self) -> Any:
        """Take a whole value.

        Raises:
            ValueError: there is none.
            RecursionError: it is nested too deeply.
        """
        self.peek()
        while True:
            try:
                found, end = DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                near = error.pos > len(self._text) - _CUT
                if not (near or error.msg.startswith("Unterminated string")) or not self._more():
                    raise
                continue
            if end < len(self._text) or not self._more():
                self._at = end
                return found

    def members(self) -> Iterator[str]:
        """Take an object: yield each key, whose value is to be taken before the next.

        Raises:
            ValueError: this is none.
        """
        self._take("{")
        while self.peek() != "}":
            key = self.value()
            if not isinstance(key, str):
                raise ValueError(f"the key {key!r:.20} is no text")
            self._take(":")
            yield key
            if self.peek() != "}":
                self._take(",")
        self._take("}")

    def elements(self) -> Iterator[None]:
        """Take an array: yield before each element, which is to be taken before the next.

        Raises:
            ValueError: this is none.
        """
        self._take("[")
        while self.peek() != "]":
            yield
            if self.peek() != "]":
                self._take(",")
        self._take("]")

    def skip(self, levels: int = 5) -> None:
        """Take a value and forget it, piece by piece down to so many levels.

        Raises:
            ValueError: there is none.
            RecursionError: it is nested too deeply.
        """
        mark = self.peek()
        if levels and mark in ("{", "["):
            for _ in self.members() if mark == "{" else self.elements():
                self.skip(levels - 1)
        else:
            self.value()

    def _take(self, wanted: str) -> None:
        if self.peek() != wanted:
            raise ValueError(f"{self.peek() or 'the end'!r} where {wanted!r} is due")
        self._at += 1

    def _more(self) -> bool:
        """Read on, twice as much where nothing of the last piece could be taken."""
        self._text = self._text[self._at :]
        self._at = 0
        piece = self._read(max(PIECE, len(self._text)))
        text = self._utf8.decode(piece, final=not piece)
        self.surrogates = self.surrogates or self._has_surrogates(text)
        self._text += text
        return bool(piece or text)

    @staticmethod
    def _has_surrogates(text: str) -> bool:
        return "\\ud" in text or "\\uD" in text
