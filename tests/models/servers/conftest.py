"""The tiny models and the fake server, for this room."""

from __future__ import annotations

from tests.fake_server import fake_server
from tests.tiny_models import tiny

__all__ = ["fake_server", "tiny"]
