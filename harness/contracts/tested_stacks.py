"""Tested stacks: combinations of library versions in which `make matrix` passed."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

STACK = (
    *("torch", "transformers", "peft", "trl", "accelerate", "datasets", "huggingface-hub"),
    *("bitsandbytes", "pydantic"),
)
"""Packages whose versions make up a combination."""
NEIGHBOURS = (
    *("vllm", "sglang", "unsloth", "axolotl", "ms-swift", "llamafactory", "torchtune", "verl"),
    *("lighteval", "deepeval", "inspect-ai"),
)
"""Trainers, servers and evaluation tools that people have in the same environment."""
_TESTED = Path(__file__).with_name("tested_stacks.toml")
_LOADS = ("torch", "transformers")
"""Packages that every local model needs."""


@dataclass(frozen=True, slots=True)
class StackRecord:
    """A combination of packages in which `make matrix` passed."""

    name: str
    date: str
    versions: Mapping[str, str]
    """Package, or `python`, → version."""


def tested_stacks() -> tuple[StackRecord, ...]:
    """Return the combinations that were tested with this release of tunegate."""
    stacks = tomllib.loads(_TESTED.read_text(encoding="utf-8"))
    return tuple(StackRecord(name, table.pop("date"), table) for name, table in stacks.items())


class CombinationStatus(StrEnum):
    """Whether the installed versions were tested together."""

    TESTED = "tested"
    """One of the tested stacks has all of them."""
    BETWEEN = "between tested ends"
    """Each was tested, or is between tested versions, but no stack has all of them."""
    UNTESTED = "untested"
    """One of them is older or newer than all tested ones, or was never tested."""


def explain_combination(
    installed: Mapping[str, str], stacks: Sequence[StackRecord]
) -> tuple[CombinationStatus, str] | None:
    """Return whether the installed versions were tested together, with a sentence about them.

    Versions are compared by their first two numbers. None if no local model can run here.

    Args:
        installed: Package, or `python`, → version.
        stacks: The tested combinations.
    """
    if not all(name in installed for name in _LOADS):
        return None
    for stack in stacks:
        if all(_is_same(installed[name], stack.versions.get(name)) for name in installed):
            versions = ", ".join(f"{name} {installed[name]}" for name in installed)
            return (
                CombinationStatus.TESTED,
                f"major and minor versions of the stack {stack.name!r} ({stack.date}): {versions}",
            )
    beyond = [text for name in installed if (text := _beyond(name, installed[name], stacks))]
    if beyond:
        return CombinationStatus.UNTESTED, ", ".join(beyond)
    return CombinationStatus.BETWEEN, _nearest(installed, stacks)


def _is_same(version: str, tested: str | None) -> bool:
    return tested is not None and _minor(version) == _minor(tested)


def _nearest(installed: Mapping[str, str], stacks: Sequence[StackRecord]) -> str:
    """Return how the installed versions differ from the most similar stack."""
    differing = {
        stack.name: [
            f"{name} {version} (there: {stack.versions.get(name, 'none')})"
            for name, version in installed.items()
            if not _is_same(version, stack.versions.get(name))
        ]
        for stack in stacks
    }
    name = min(differing, key=lambda stack_name: len(differing[stack_name]))
    return (
        "each version alone is within the tested range, all together were not run; nearest "
        f"stack {name!r} differs in {', '.join(differing[name])}"
    )


def _beyond(name: str, version: str, stacks: Sequence[StackRecord]) -> str:
    """Return that a version is older or newer than all tested ones; "" if it is not."""
    tested = sorted({_minor(stack.versions[name]) for stack in stacks if name in stack.versions})
    if not tested:
        return f"{name} {version} (no version of it was tested)"
    if tested[0] <= _minor(version) <= tested[-1]:
        return ""
    first, last = (".".join(map(str, parts)) for parts in (tested[0], tested[-1]))
    return f"{name} {version} (tested: {first} to {last})"


def _minor(version: str) -> tuple[int, ...]:
    from packaging.version import Version

    return Version(version).release[:2]
