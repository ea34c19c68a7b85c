"""The tiny models, for this room."""

from __future__ import annotations

from tests.tiny_models import tiny

__all__ = ["tiny"]
