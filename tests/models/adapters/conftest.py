"""The tiny models and the fake server, for this room."""

from __future__ import annotations

from tests.fake_server import fake_server
from tests.tiny_models import ask, copied, tiny, tiny_tokenizer

__all__ = ["ask", "copied", "fake_server", "tiny", "tiny_tokenizer"]
