"""Gate kinds by name: built-in ones and those of installed packages.

A kind is a module of `harness/gates` that holds an instance under the module's name, or an object
in the entry-point group `tunegate.gates`. Records hold the name alone.

Example:
    >>> gate_kind("gain").is_goal, gate_kind("floor").reads_level
    (True, True)
"""

from __future__ import annotations

from functools import cache
from typing import ClassVar

from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.contracts import lookup
from tunegate.harness.gates.contract.gate_kind import GateKind, KeySchemas
from tunegate.harness.gates.contract.outcome import DecisionContext, GateOutcome
from tunegate.harness.gates.contract.words import GateWords
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.gate_results import GateResult
from tunegate.harness.records.manifest import Gate

PACKAGE = "tunegate.harness.gates"
"""Package of the built-in kinds."""
GROUP = "tunegate.gates"
"""Entry-point group of the kinds of other packages."""


class UnknownGateKind(GateKind):
    """A kind that a stored run names and that is not installed: shown as stored, never decided."""

    summary = "unknown"
    schema: ClassVar[KeySchemas] = {}
    words = GateWords(label="{bound}")

    def __init__(self, name: str, problem: str = "") -> None:
        """Keep the name, and why an installed kind cannot be loaded."""
        self.name = name
        self.problem = problem or (
            f"the gate kind {name!r} is not installed; install the package that provides it in the "
            f"entry-point group {GROUP!r}"
        )

    def decide(self, gate: Gate, pairs: Pairs, context: DecisionContext) -> GateOutcome:
        """Raise a UsageError."""
        raise UsageError(f"{gate.where or gate.id}: {self.problem}")

    def value(self, result: GateResult) -> float | None:
        """Return whatever the kind stored."""
        found = (result.estimate, result.share, result.delta)
        return next((value for value in found if value is not None), None)

    def reference(self, result: GateResult) -> float | None:
        """Return None: only the kind knows its axis."""
        return None

    boundary = reference


@cache
def gate_kind(name: str) -> GateKind:
    """Return the kind of that name; one that cannot be loaded is an `UnknownGateKind`.

    Raises:
        UsageError: it is built in, and an installed package registers the same name.
    """
    try:
        return _load(name)
    except UsageError as error:
        if name in lookup.module_names(PACKAGE):
            raise
        installed = name in lookup.available_names(PACKAGE)
        return UnknownGateKind(name, str(error) if installed else "")


@cache
def gate_kinds() -> tuple[GateKind, ...]:
    """Return all kinds in their order, built-in and installed.

    An installed kind that cannot be used is left out with a warning, so only suites that use it are
    refused.

    Raises:
        UsageError: a package registers the name of a built-in kind.
    """
    kinds = filter(None, map(_load_or_warn, lookup.available_names(PACKAGE)))
    return tuple(sorted(kinds, key=lambda kind: (kind.order, kind.name)))


def _load_or_warn(name: str) -> GateKind | None:
    try:
        return _load(name)
    except UsageError as error:
        if name in lookup.module_names(PACKAGE):
            raise
        return lookup.warn(f"{error}; it is left out")


def _load(name: str) -> GateKind:
    kind = lookup.find_object(PACKAGE, name, what="gate kind")
    if not isinstance(kind, GateKind) or kind.name != name:
        raise UsageError(
            f"gate kind {name!r}: the entry point of {GROUP!r} must name a GateKind whose name is "
            f"{name!r}; upgrade or uninstall the package"
        )
    return kind
