"""tunegate: is this fine-tune safe to ship?

The public names, each loaded when it is first used: pytest imports this package in every project
that has tunegate installed, so importing it must cost nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.errors import TunegateError, Undecided
    from harness.manifest import MetricRecord
    from harness.metric import Metric
    from harness.records import Case, CellKind, Completion, Score
    from harness.run import Run
    from harness.suite import Suite
    from harness.suite import load as load_suite
    from harness.verdict.compare import Delta, compare
    from harness.verdict.record import Verdict, VerdictRecord
    from trainers.callback import GateCallback

__all__ = [
    "Case",
    "CellKind",
    "Completion",
    "Delta",
    "GateCallback",
    "Metric",
    "MetricRecord",
    "Run",
    "Score",
    "Suite",
    "TunegateError",
    "Undecided",
    "Verdict",
    "VerdictRecord",
    "compare",
    "load_suite",
]

_HOMES = {
    "Case": "harness.records",
    "CellKind": "harness.records",
    "Completion": "harness.records",
    "Delta": "harness.verdict.compare",
    "GateCallback": "trainers.callback",
    "Metric": "harness.metric",
    "MetricRecord": "harness.manifest",
    "Run": "harness.run",
    "Score": "harness.records",
    "Suite": "harness.suite",
    "TunegateError": "harness.errors",
    "Undecided": "harness.errors",
    "Verdict": "harness.verdict.record",
    "VerdictRecord": "harness.verdict.record",
    "compare": "harness.verdict.compare",
    "load_suite": "harness.suite:load",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its home (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    value = getattr(import_module(module), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
