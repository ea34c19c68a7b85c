"""Floor: the level of tuned must be at least a bound."""

from __future__ import annotations

from typing import ClassVar

from tunegate.harness.gates._level import FLOOR_MODE, LevelGate, level_words
from tunegate.harness.gates.contract.gate_kind import KeySchemas
from tunegate.harness.records.gate_results import GateReason


class FloorGate(LevelGate):
    """The least level of tuned that is acceptable, whatever base reaches."""

    name = "floor"
    order = 10
    summary = "the level of tuned is at least the floor"
    schema: ClassVar[KeySchemas] = {
        "floor": {"type": "number", "description": "The least acceptable level of tuned."},
        "floor_mode": FLOOR_MODE,
    }
    is_lower = True
    broken = GateReason.BELOW_FLOOR
    flawless = "right"
    words = level_words(name, "below", "at least")


floor = FloorGate()
