"""Fixtures: decided suites."""

from __future__ import annotations

from tests.decided_suites import _columns, _judge, _record_factory, _validator

__all__ = ["_columns", "_judge", "_record_factory", "_validator"]
