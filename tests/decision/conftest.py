"""Fixtures: decided suites, and a run for reports."""

from __future__ import annotations

from tests.decided_suites import _columns, _judge, _record_factory, _validator
from tests.reports.conftest import make_run

__all__ = ["_columns", "_judge", "_record_factory", "_validator", "make_run"]
