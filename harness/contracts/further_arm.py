"""Further arm: the contract of every arm of a run other than base and tuned.

An arm is a file of `harness/run/further_arms` with a `FurtherArm` of the same name. If it affects
the verdict, its `ArmComparison` names the function that compares it. pytest imports all of them at
start-up, so they import only the standard library.

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

ARMS = ("base", "tuned")
"""The arms that every verdict is about."""
BASE_AGAIN = "base_again"
"""Base, asked a sample of its requests again, which measures the noise."""
INCUMBENT = "incumbent"
"""The fine-tune in production today, which tuned is to replace."""
SHIPPED = "shipped"
"""The deployment artifact made from tuned."""
RECORDED = "recorded"
"""The answers that production gave."""
PROMPTED = "prompted"
"""Base with the best prompt: without a training."""
TEACHER = "teacher"
"""The model that tuned is to replace, of any family."""


@dataclass(frozen=True, kw_only=True)
class ArmComparison:
    """How a further arm is compared once all arms are scored; the verdict can only get worse.

    Compared arms and tuned are asked all cases, even of a suite that ends early.
    """

    function: str
    """`module:function`; it is called with a `ScoredRun` and returns an `ArmResult`."""
    order: int
    """Position of its sentence in the run's sentence."""
    result: str = "tunegate.harness.records.verdict:ArmResult"
    """`module:class` of the result in verdict.json."""
    from_scores: bool = False
    """Whether a stored run can be compared again from its scores alone."""
    again: str = ""
    """Otherwise, `module:function` that compares a stored run again; it is called with a
    `ScoredRun` and the stored result, from which it takes what needed the models."""

    def compare_again(self, run: Any, stored: Any) -> Any:
        """Return the result for a stored `ScoredRun`, given the stored one."""
        if self.from_scores:
            return self.compare(run)
        result = self.read(stored)
        return _import_object(self.again)(run, result) if self.again else result

    def compare(self, run: Any) -> Any:
        """Return the result for a `ScoredRun`."""
        return _import_object(self.function)(run)

    def result_type(self) -> type[ArmResult]:
        """Return the class of the result."""
        found: type[ArmResult] = _import_object(self.result)
        return found

    def read(self, result: ArmResult) -> ArmResult:
        """Return a result from a file as an instance of its class.

        Raises:
            UsageError: the file has something else.
        """
        kind = self.result_type()
        if isinstance(result, kind):
            return result
        try:
            return kind.model_validate(result.model_dump())
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
    """Returns the arm made from the opened ones, or None if the run needs none."""
    reference: bool = False
    """Whether suites may give it a prompt of its own, in a table of its name, and gates may compare
    tuned with it (`against`)."""
    needs_prompt: bool = False
    """Whether it is asked only in suites that give it a prompt."""
    other_model: bool = False
    """Whether it may be of another family: neither its tokenizer and chat template nor its
    configuration are compared with base's."""
    sampled: bool = False
    """Whether it is asked a sample of each suite's cases instead of all."""
    timed: bool = True
    """Whether its latency is measured."""
    complete: bool = True
    """Whether it must answer all kinds of requests; if not, it is asked those it can, once."""
    made_of: str = ""
    """Arm whose answers are better drafts for its own than base's."""
    same_as_base: str = ""
    """Why it may compute the same as base, for the refusal."""
    reported: bool = True
    """Whether its answers are results: shown, exported, and failures if they are missing."""
    comparison: ArmComparison | None = None
    """How it is compared; None if the verdict does not depend on it."""

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


def reference_arms() -> tuple[str, ...]:
    """Return the arms that gates may compare tuned with, besides base."""
    return tuple(name for name, arm in further_arms().items() if arm.reference)


def add_derived_arms(arms: Mapping[str, Arm], prompts: Collection[str] = ()) -> dict[str, Arm]:
    """Return the opened arms with those made from them, such as `base_again`.

    `prompts` are the arms that a suite gives a prompt of their own.
    """
    derived = {
        name: arm.derive(arms)
        for name, arm in further_arms().items()
        if arm.derive is not None and (name in prompts or not arm.needs_prompt)
    }
    return {**arms, **{name: arm for name, arm in derived.items() if arm is not None}}


def comparisons(arms: Collection[str]) -> dict[str, ArmComparison]:
    """Return arm → comparison, of arms that have one, in the order of their sentences."""
    found = {name: compared for name in arms if (compared := further_arm(name).comparison)}
    return dict(sorted(found.items(), key=lambda item: item[1].order))


def comparison_results(verdict: VerdictRecord) -> dict[str, ArmResult]:
    """Return arm → result of its comparison, in the order of their sentences; unknown arms last.

    Raises:
        UsageError: a result is not of its arm's class.
    """
    results = verdict.further_arms
    parsed = {
        name: how.read(results[name])
        for name, how in comparisons(further_arms()).items()
        if name in results
    }
    return {**parsed, **{name: result for name, result in results.items() if name not in parsed}}
