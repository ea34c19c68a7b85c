"""Modules of ours that pytest imports in every project that has tunegate installed."""

from __future__ import annotations

from tunegate.harness.contracts.lookup import module_names

_ARMS = "tunegate.harness.run.further_arms"
EARLY_MODULES = (
    "tunegate",
    "tunegate.harness",
    "tunegate.harness.contracts",
    "tunegate.harness.records",
    "tunegate.harness.run",
    "tunegate.harness.records.defaults",
    "tunegate.harness.records.errors",
    "tunegate.harness.contracts.further_arm",
    "tunegate.harness.run.further_arms",
    *(f"{_ARMS}.{name}" for name in module_names(_ARMS)),
    "tunegate.harness.contracts.lookup",
    "tunegate.harness.plugin",
    "tunegate.harness.plugin.hooks",
    "tunegate.harness.plugin.gate_options",
)
"""Hooks and options, and what the options are made from."""
