"""Ceiling: the level of tuned must be at most a bound."""

from __future__ import annotations

from typing import ClassVar

from tunegate.harness.gates._level import FLOOR_MODE, LevelGate, level_words
from tunegate.harness.gates.contract.gate_kind import KeySchemas
from tunegate.harness.records.gate_results import GateReason


class CeilingGate(LevelGate):
    """The largest level of tuned that is acceptable, whatever base reaches."""

    name = "ceiling"
    order = 20
    summary = "the level of tuned is at most the ceiling"
    schema: ClassVar[KeySchemas] = {
        "ceiling": {"type": "number", "description": "The largest acceptable level of tuned."},
        "floor_mode": FLOOR_MODE,
    }
    is_lower = False
    broken = GateReason.ABOVE_CEILING
    flawless = "0"
    words = level_words(name, "above", "at most")


ceiling = CeilingGate()
