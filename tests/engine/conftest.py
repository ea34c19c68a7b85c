"""The tiny models, for this room."""

from __future__ import annotations

from tests.tiny_models import ask, copied, tiny, tiny_tokenizer

__all__ = ["ask", "copied", "tiny", "tiny_tokenizer"]
