"""The tiny models, for this room."""

from __future__ import annotations

from tests.tiny_models import ask, tiny

__all__ = ["ask", "tiny"]
