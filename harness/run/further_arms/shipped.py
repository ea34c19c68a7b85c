"""Shipped: the deployment artifact made of tuned, as it will run."""

from __future__ import annotations

from tunegate.harness.contracts.further_arm import SHIPPED, ArmComparison, FurtherArm

ORDER = 20

shipped = FurtherArm(
    name=SHIPPED,
    help="Model spec of the artifact as it will run (merged, 4-bit, GGUF, served): SHIP then needs "
    "proof that it is equivalent to tuned.",
    made_of="tuned",
    same_as_base="the fine-tune was lost on the way to what ships, fused or merged without effect",
    comparison=ArmComparison(
        function="tunegate.harness.run.divergence:compare",
        result="tunegate.harness.records.parity:DeploymentParity",
        order=1,
        again="tunegate.harness.decision.verdict.deployment_parity:compare_again",
    ),
)
