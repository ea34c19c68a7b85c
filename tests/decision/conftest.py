"""A run for reports, for this room."""

from __future__ import annotations

from tests.reports.conftest import make_run

__all__ = ["make_run"]
