"""The JSON schema of suite.toml, with the keys of the installed gate kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from tunegate.harness.contracts.further_arm import reference_arms
from tunegate.harness.contracts.json_schema import read_schema, validator_of
from tunegate.harness.contracts.lookup import module_names
from tunegate.harness.gates.contract.gate_kind import GateKind
from tunegate.harness.gates.contract.registry import PACKAGE, gate_kinds
from tunegate.harness.records.defaults import CONFIDENCE
from tunegate.harness.records.errors import UsageError
from tunegate.harness.suite.arm_prompt import prompt_schema
from tunegate.harness.suite.variants import variants_schema

COMMON_KEYS = ("metric", "tag", "every", "against", "confidence")
"""Keys that each `[[gates]]` table may have, whatever its kind."""


@cache
def suite_validator() -> Any:
    """Return the validator of suite.toml."""
    return validator_of(suite_schema())


def suite_schema() -> dict[str, Any]:
    """Return the schema of suite.toml."""
    schema = read_schema("suite")
    _complete_gates(schema["properties"]["gates"]["items"])
    tables = {name: prompt_schema() for name in reference_arms()} | {"variants": variants_schema()}
    schema["properties"] = {**schema["properties"], **tables}
    return schema


def _complete_gates(table: dict[str, Any]) -> None:
    """Add the keys of all gate kinds to the schema of a `[[gates]]` table."""
    kinds = gate_kinds()
    _check_kinds(kinds)
    keys = {key: form for kind in kinds for key, form in kind.schema.items()}
    against = {
        "enum": list(reference_arms()),
        "description": "Further arm that tuned is compared with, in place of base.",
    }
    table["properties"]["against"] = against
    common = {key: table["properties"][key] for key in COMMON_KEYS}
    error = f"{100 * (1 - CONFIDENCE) / 2:.3g} % one-sided"
    described = f"Two-sided confidence of the interval; {CONFIDENCE:.2f} tests at {error}."
    last = {"confidence": {**common.pop("confidence"), "description": described}}
    table["properties"] = {**common, **keys, **last}
    table["anyOf"] = [{"required": [key]} for kind in kinds for key in kind.keys_of_margin]


def _check_kinds(kinds: Sequence[GateKind]) -> None:
    """Refuse incomplete kinds, and two kinds that use the same key.

    Kinds may share a refining key that has the same schema.
    """
    owners: dict[str, GateKind] = {}
    built_in = module_names(PACKAGE)
    # built-in kinds first: the other package has to change
    for kind in sorted(kinds, key=lambda k: k.name not in built_in):
        if fault := _fault(kind):
            raise UsageError(f"gate kind {kind.name!r}: {fault}; upgrade or uninstall the package")
        for key in kind.schema:
            other = owners.setdefault(key, kind)
            shared = (
                kind.schema[key] == other.schema[key]
                and key not in kind.keys_of_margin
                and key not in other.keys_of_margin
            )
            if key in COMMON_KEYS or not (other is kind or shared):
                owner = "every gate" if key in COMMON_KEYS else f"the gate kind {other.name!r}"
                raise UsageError(
                    f"gate kind {kind.name!r}: its key {key!r} is also a key of {owner}; rename "
                    f"the key, or uninstall the package that provides {kind.name!r}"
                )


def _fault(kind: GateKind) -> str:
    """Return what a kind lacks for the schema and the reference, or ""."""
    schema, summary = getattr(kind, "schema", None), getattr(kind, "summary", None)
    if not isinstance(schema, Mapping) or not all(isinstance(s, Mapping) for s in schema.values()):
        return "`schema` must map each key of a [[gates]] table to its JSON schema"
    if not set(kind.keys_of_margin) <= set(schema):
        return f"`schema` must have the margin's key {kind.keys_of_margin[0]!r}"
    if not all(isinstance(s.get("description"), str) for s in schema.values()):
        return "each key in `schema` must have a description"
    if not isinstance(summary, str) or not summary:
        return "`summary` must be a sentence on when the gate passes"
    return ""
