"""The fake server, for this room."""

from __future__ import annotations

from tests.fake_server import fake_server

__all__ = ["fake_server"]
