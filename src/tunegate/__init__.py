"""tunegate: is this fine-tune safe to ship?

The public names, each loaded when it is first used: pytest imports this package in every project
that has tunegate installed, so importing it must cost nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunegate.harness.comparison.delta import Delta, compare_scores
    from tunegate.harness.contracts.metric import Metric
    from tunegate.harness.notebook.compare import Comparison, compare
    from tunegate.harness.records.answers import CellKind, Completion
    from tunegate.harness.records.cases import Case
    from tunegate.harness.records.errors import TunegateError, Undecided
    from tunegate.harness.records.manifest import MetricRecord
    from tunegate.harness.records.run_folder import Run
    from tunegate.harness.records.scores import Score
    from tunegate.harness.records.verdict import Verdict, VerdictRecord
    from tunegate.harness.suite import Suite, load_suite
    from tunegate.trainers.gate_callback import GateCallback

__all__ = [
    "Case",
    "CellKind",
    "Comparison",
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
    "compare_scores",
    "load_suite",
]

_HOMES = {
    "Case": "tunegate.harness.records.cases",
    "CellKind": "tunegate.harness.records.answers",
    "Comparison": "tunegate.harness.notebook.compare",
    "Completion": "tunegate.harness.records.answers",
    "Delta": "tunegate.harness.comparison.delta",
    "GateCallback": "tunegate.trainers.gate_callback",
    "Metric": "tunegate.harness.contracts.metric",
    "MetricRecord": "tunegate.harness.records.manifest",
    "Run": "tunegate.harness.records.run_folder",
    "Score": "tunegate.harness.records.scores",
    "Suite": "tunegate.harness.suite",
    "TunegateError": "tunegate.harness.records.errors",
    "Undecided": "tunegate.harness.records.errors",
    "Verdict": "tunegate.harness.records.verdict",
    "VerdictRecord": "tunegate.harness.records.verdict",
    "compare": "tunegate.harness.notebook.compare",
    "compare_scores": "tunegate.harness.comparison.delta",
    "load_suite": "tunegate.harness.suite:load_suite",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its home (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'tunegate' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    value = getattr(import_module(module), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
