"""Further arms: every arm of a run beside base and tuned, each declared once.

Options, planning, the runner, the checks, early stopping, the verdict and the reports read these
declarations; none of them knows an arm by its name. A new arm is a new entry of `FURTHER_ARMS`, and
a function that compares it if it has a say in the verdict.

pytest imports this module at start-up for the options, so it imports nothing but the standard
library.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunegate.harness.model import Arm
    from tunegate.harness.records.verdict import DeploymentParity, IncumbentResult, VerdictRecord

BASE_AGAIN = "base_again"
"""Name of the arm that measures the noise floor: base, asked a sample of its requests again."""
INCUMBENT = "incumbent"
"""Name of the arm that is the fine-tune in production today, which tuned is to replace."""
SHIPPED = "shipped"
"""Name of the arm that is the deployment artifact made of tuned."""
RECORDED = "recorded"
"""Name of the arm that is what production answered."""


@dataclass(frozen=True, kw_only=True)
class ArmComparison:
    """How a further arm is compared once all arms are scored; the verdict can only get worse.

    An arm that is compared is asked all cases of a suite that ends early, and so is tuned: the
    comparison is no part of the interim looks.
    """

    field: str
    """Field of verdict.json that holds the result."""
    function: str
    """`module:function`; it is called with a `ScoredRun` and returns the field's record."""
    order: int
    """Position of its sentence in the run's sentence."""
    from_scores: bool = False
    """Whether scores suffice, so that a stored run can be compared again without its models."""

    def compare(self, run: Any) -> Any:
        """Return the result for a `ScoredRun`."""
        module, _, name = self.function.partition(":")
        return getattr(import_module(module), name)(run)


@dataclass(frozen=True, kw_only=True)
class FurtherArm:
    """What is particular about an arm; the defaults are those of base and tuned."""

    name: str
    """Its key in manifest.json and verdict.json, and its option: `--gate-<name> SPEC`."""
    help: str = ""
    """Help of its option; empty for an arm that no option opens."""
    backend: str = ""
    """The one backend that its spec may name; empty for any."""
    derive: Callable[[Mapping[str, Arm]], Arm | None] | None = None
    """Returns the arm made from the opened ones, or None where the run needs none."""
    sampled: bool = False
    """Whether it is asked a sample of each suite's cases instead of all."""
    timed: bool = True
    """Whether its latency is measured."""
    complete: bool = True
    """Whether it must answer all kinds of requests; if not, it is asked what it can, once."""
    made_of: str = ""
    """Arm whose answers are the likeliest drafts for its own, before base's."""
    same_as_base: str = ""
    """What it means if it computes what base does, for the message that refuses the run."""
    reported: bool = True
    """Whether its answers are results: shown, exported, and failures if they are missing."""
    comparison: ArmComparison | None = None
    """How it is compared; None for an arm without a say in the verdict."""

    def is_asked(self, kind: str, sample: int, kinds: Collection[str]) -> bool:
        """Return whether a kind of request is planned for the arm.

        Args:
            kind: A `CellKind`.
            sample: Index of the repetition, from 0.
            kinds: The kinds that the arm can answer.
        """
        if not self.complete:
            return kind in kinds and sample == 0
        return self.timed or kind != "latency"


_EXACT = ("float32", "float64")


def _base_again(arms: Mapping[str, Arm]) -> Arm | None:
    """Return base, to be asked again, where it computes here in an inexact number format."""
    from tunegate.harness.model import LocalArm

    base = arms["base"]
    local = isinstance(base, LocalArm) and isinstance(arms.get("tuned"), LocalArm)
    return base if local and base.identity.get("dtype") not in _EXACT else None


FURTHER_ARMS: Mapping[str, FurtherArm] = {
    arm.name: arm
    for arm in (
        FurtherArm(
            name=INCUMBENT,
            help="Model spec of the fine-tune that is shipped today (promoted: the last that "
            "`tunegate promote` recorded): SHIP then takes proof that tuned is no worse than it.",
            comparison=ArmComparison(
                field="standing",
                function="tunegate.harness.verdict.incumbent:compare",
                order=2,
                from_scores=True,
            ),
        ),
        FurtherArm(
            name=SHIPPED,
            help="Model spec of the artifact as it will run (merged, 4-bit, GGUF, served): SHIP "
            "then takes proof that it is equivalent to tuned.",
            made_of="tuned",
            same_as_base="the fine-tune was lost on the way to what ships",
            comparison=ArmComparison(
                field="parity",
                function="tunegate.harness.pipeline.divergence:compare",
                order=1,
            ),
        ),
        FurtherArm(
            name=RECORDED,
            help="What production answered, replay:FILE.jsonl: shown beside base and tuned, gates "
            "nothing.",
            backend="replay",
            complete=False,
        ),
        FurtherArm(name=BASE_AGAIN, derive=_base_again, sampled=True, timed=False, reported=False),
    )
}
"""Name → declaration, in the order of the options."""

ARM_OPTIONS = ("base", "tuned", *(name for name, arm in FURTHER_ARMS.items() if arm.help))
"""The arms that an option opens."""


@cache
def further_arm(name: str) -> FurtherArm:
    """Return the declaration of an arm; base and tuned have the defaults."""
    return FURTHER_ARMS.get(name) or FurtherArm(name=name)


def add_derived_arms(arms: Mapping[str, Arm]) -> dict[str, Arm]:
    """Return the opened arms, and those made from them, such as `base_again`."""
    made = {name: arm.derive(arms) for name, arm in FURTHER_ARMS.items() if arm.derive is not None}
    return {**arms, **{name: arm for name, arm in made.items() if arm is not None}}


def comparisons(arms: Collection[str]) -> dict[str, ArmComparison]:
    """Return those of the arms that are compared → how, in the order of their sentences."""
    found = {name: compared for name in arms if (compared := further_arm(name).comparison)}
    return dict(sorted(found.items(), key=lambda item: item[1].order))


def comparison_results(verdict: VerdictRecord) -> dict[str, DeploymentParity | IncumbentResult]:
    """Return arm → the result of its comparison in a verdict, in the order of their sentences."""
    fields = {name: compared.field for name, compared in comparisons(FURTHER_ARMS).items()}
    found = {name: getattr(verdict, field) for name, field in fields.items()}
    return {name: result for name, result in found.items() if result is not None}
