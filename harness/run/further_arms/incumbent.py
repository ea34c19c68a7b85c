"""Incumbent: the fine-tune in production today, which tuned is to replace."""

from __future__ import annotations

from tunegate.harness.contracts.further_arm import INCUMBENT, ArmComparison, FurtherArm

ORDER = 10

incumbent = FurtherArm(
    name=INCUMBENT,
    help="Model spec of the fine-tune in production (promoted: the last that `tunegate promote` "
    "recorded). SHIP then needs proof that tuned is no worse.",
    comparison=ArmComparison(
        function="tunegate.harness.decision.verdict.incumbent_comparison:compare",
        result="tunegate.harness.records.incumbent_result:IncumbentResult",
        order=2,
        from_scores=True,
    ),
)
