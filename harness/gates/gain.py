"""Gain: tuned must be better than base by more than a margin (superiority); a goal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from tunegate.harness.comparison.pairs import JudgedPairs, Pairs
from tunegate.harness.contracts.metric import Metric
from tunegate.harness.gates._difference import DifferenceGate
from tunegate.harness.gates._margin import numeric_margin
from tunegate.harness.gates.contract.gate_kind import KeySchemas
from tunegate.harness.gates.contract.outcome import EquivalenceMargin, Finding, PlannedTest
from tunegate.harness.gates.contract.words import CHANCE, GateWords
from tunegate.harness.records.gate_results import GateReason, GateResult, GateStatus
from tunegate.harness.records.manifest import Gate

_ANY_GAIN, _LOSS = "any_gain", "ruled_out_by_a_loss"
"""Findings: a gain of 0 is reached; a loss shows where a gain was asked."""


class GainGate(DifferenceGate):
    """The improvement over base that the fine-tune is for."""

    name = "gain"
    order = 30
    summary = "tuned is proven better than base by more than the gain"
    schema: ClassVar[KeySchemas] = {
        "gain": {
            "type": "number",
            "minimum": 0,
            "description": "Tuned must be better than base by more than this, proven.",
        },
        "expected_gain": {
            "type": "number",
            "exclusiveMinimum": 0,
            "description": "Smallest gain of interest: for planning, for ending early, and the "
            "only way to HOLD.",
        },
    }
    is_goal = True
    ruled_out = "ruled_out"
    words = GateWords(
        measured="{metric} {change}{interval} on {cases}",
        quantity="difference",
        rule="a gain of more than {margin}",
        holds="is proven",
        label="better by more than {bound}",
        conclusion={
            ruled_out: "{rule} is ruled out, but the suite names no expected_gain to hold it "
            "against",
            _LOSS: f"{{rule}} is ruled out, and a loss shows, {CHANCE}",
        },
        brief={
            _ANY_GAIN: "a proven gain",
            GateStatus.PASS: "more than the {margin} asked",
            GateReason.REGRESSED: "a proven loss where a gain was asked",
            **dict.fromkeys((ruled_out, _LOSS), "{rule} is ruled out"),
        },
        assumption=" if the true gain is the expected one",
        unplanned="an expected_gain in the suite gives the number of cases that decide it",
        remedy="set expected_gain in the suite, then ask how many cases decide it",
    )

    def problems(self, gate: Gate, metric: Metric) -> Iterator[str]:
        """Yield an expected gain below the gain, and unreachable sizes."""
        margin, expected = numeric_margin(gate), gate.expected_gain
        if expected is not None and expected < margin:
            yield (
                f"expected_gain={expected:g} is below gain={margin:g}; "
                "what would be worth having is at least what must be proven"
            )
        yield from super().problems(gate, metric)

    def judged_pairs(self, gate: Gate, pairs: Pairs) -> JudgedPairs:
        """Return the pairs, whose difference must exceed the gain."""
        return JudgedPairs(pairs, numeric_margin(gate))

    def verdict_on_proof(
        self, gate: Gate, pairs: Pairs, high: float
    ) -> tuple[GateStatus, GateReason | None]:
        """Return a pass."""
        return GateStatus.PASS, None

    def hoped_effect(self, gate: Gate, pairs: Pairs) -> float | None:
        """Return the expected gain."""
        return gate.expected_gain

    def plan_test(self, gate: Gate, metric: Metric, pairs: Pairs | None) -> PlannedTest:
        """Return the test of the gain."""
        return PlannedTest(numeric_margin(gate))

    def target_effect(self, gate: Gate, provable: float) -> float | None:
        """Return the expected gain, or the smallest gain that can be proven."""
        return provable if gate.expected_gain is None else gate.expected_gain

    def against_incumbent(self, gate: Gate, gates: Sequence[Gate]) -> Gate | None:
        """Return a tolerance as wide as the gain, unless the metric has its own."""
        # A difference too small to matter as a gain is too small to matter as a loss.
        held = any(g.metric == gate.metric and g.kind == "tolerance" for g in gates)
        if held or not numeric_margin(gate) > 0:
            return None
        return gate.model_copy(update={"kind": "tolerance", "expected_gain": None})

    def equivalence_margin(self, gate: Gate, default: float | None) -> EquivalenceMargin | None:
        """Return half the gain, unless that allows more than the default."""
        half = numeric_margin(gate) / 2
        if half > 0 and (default is None or half <= default):
            return EquivalenceMargin(half, "half the suite's gain")
        return None

    def finding(
        self, result: GateResult, pairs: Pairs | None = None, remaining: int = 0
    ) -> Finding:
        """Return why the gain is ruled out, or that any gain passes."""
        if result.status is GateStatus.PASS and not result.margin:
            return Finding(_ANY_GAIN)
        finding = super().finding(result, pairs, remaining)
        return (
            Finding(_LOSS)
            if finding.code == self.ruled_out and self.shows_loss(result)
            else finding
        )


gain = GainGate()
