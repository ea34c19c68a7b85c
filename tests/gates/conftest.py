"""Fixtures: decided suites."""

from __future__ import annotations

from tests.decided_suites import _columns, _judge, _made, _validator

__all__ = ["_columns", "_judge", "_made", "_validator"]
