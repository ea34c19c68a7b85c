"""Further arm: the contract of every arm of a run other than base and tuned, and lookup by name.

An arm is a file of `harness/run/further_arms`, in which a `FurtherArm` has the file's name.
Options, planning, the runner, the checks, early stopping, the verdict and the reports read its
declaration. If it affects the verdict, its `ArmComparison` names the function that compares it.

pytest imports this module and all declarations at start-up for the options, so they import nothing
but the standard library.

Example:
    >>> further_arm("recorded").backend
    'replay'
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tunegate.harness.contracts import lookup
from tunegate.harness.records.errors import UsageError

if TYPE_CHECKING:
    from tunegate.harness.contracts.model import Arm
    from tunegate.harness.records.verdict import ArmResult, VerdictRecord

ROOM = "tunegate.harness.run.further_arms"

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

    function: str
    """`module:function`; it is called with a `ScoredRun` and returns an `ArmResult`."""
    order: int
    """Position of its sentence in the run's sentence."""
    result: str = "tunegate.harness.records.verdict:ArmResult"
    """`module:class` of the result, which is in verdict.json under the arm's name."""
    from_scores: bool = False
    """Whether scores suffice, so that a stored run can be compared again without its models."""
    again: str = ""
    """`module:function` that compares a stored run again where scores do not suffice; it is called
    with a `ScoredRun` and the stored result, of which it keeps what took the models."""

    def compare_again(self, run: Any, stored: Any) -> Any:
        """Return the result for a stored `ScoredRun`, given the stored one."""
        if self.from_scores:
            return self.compare(run)
        known = self.read(stored)
        if not self.again:
            return known
        module, _, name = self.again.partition(":")
        return getattr(import_module(module), name)(run, known)

    def compare(self, run: Any) -> Any:
        """Return the result for a `ScoredRun`."""
        return _import_object(self.function)(run)

    def result_type(self) -> type[ArmResult]:
        """Return the class of the result."""
        found: type[ArmResult] = _import_object(self.result)
        return found

    def read(self, found: ArmResult) -> ArmResult:
        """Return a result with the fields of its class, as one from a file has none of its own.

        Raises:
            UsageError: the file holds something else.
        """
        kind = self.result_type()
        if isinstance(found, kind):
            return found
        try:
            return kind.model_validate(found.model_dump())
        except ValueError as error:
            from tunegate.harness.records.files import record_problem

            raise UsageError(f"verdict.json: further_arms: {record_problem(kind, error)}") from None


def _import_object(place: str) -> Any:
    """Return the object that `module:name` names."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


@dataclass(frozen=True, kw_only=True)
class FurtherArm:
    """Properties of an arm; the defaults are those of base and tuned."""

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
    """Explanation, in the refusal, of an arm that computes the same as base."""
    reported: bool = True
    """Whether its answers are results: shown, exported, and failures if they are missing."""
    comparison: ArmComparison | None = None
    """How it is compared; None for an arm that the verdict does not depend on."""

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


@cache
def further_arms() -> Mapping[str, FurtherArm]:
    """Return name → declaration, in the order of the options."""
    return {name: getattr(module, name) for name, module in lookup.ordered_modules(ROOM).items()}


def arm_options() -> tuple[str, ...]:
    """Return the arms that an option opens."""
    return ("base", "tuned", *(name for name, arm in further_arms().items() if arm.help))


@cache
def further_arm(name: str) -> FurtherArm:
    """Return the declaration of an arm; base and tuned have the defaults."""
    return further_arms().get(name) or FurtherArm(name=name)


def add_derived_arms(arms: Mapping[str, Arm]) -> dict[str, Arm]:
    """Return the opened arms, and those made from them, such as `base_again`."""
    made = {
        name: arm.derive(arms) for name, arm in further_arms().items() if arm.derive is not None
    }
    return {**arms, **{name: arm for name, arm in made.items() if arm is not None}}


def comparisons(arms: Collection[str]) -> dict[str, ArmComparison]:
    """Return those of the arms that are compared → how, in the order of their sentences."""
    found = {name: compared for name in arms if (compared := further_arm(name).comparison)}
    return dict(sorted(found.items(), key=lambda item: item[1].order))


def comparison_results(verdict: VerdictRecord) -> dict[str, ArmResult]:
    """Return arm → the result of its comparison in a verdict, in the order of their sentences.

    A result of an arm that is not declared here comes last, with the fields that it has.

    Raises:
        UsageError: verdict.json holds no result of its arm's class.
    """
    found = verdict.further_arms
    known = {
        name: how.read(found[name])
        for name, how in comparisons(further_arms()).items()
        if name in found
    }
    return {**known, **{name: result for name, result in found.items() if name not in known}}
