"""The environment: features of installed libraries, combinations that were tested, free memory.

Versions of Transformers and TRL differ in what they have. Code asks here for a feature, by the
module that brings it; no other place compares versions.
"""

from __future__ import annotations

import importlib.util
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.versions import installed_versions


@dataclass(frozen=True, slots=True)
class LibraryFeature:
    """Something that only some versions of a library have."""

    module: str
    """The module that is there with the feature, and is not without it."""
    package: str
    """The package that has it."""
    versions: str
    """Its versions that do, for people."""
    instead: str
    """The remedy if it is missing."""


CONTROL_GROUP = Path("/sys/fs/cgroup")
"""Where Linux tells of the control group of this process, within a container."""
FEATURES = {
    "gguf": LibraryFeature(
        "transformers.integrations.gguf",
        "transformers",
        ">=5.18",
        "pip install 'tunegate[gguf]'",
    ),
    "ppo": LibraryFeature(
        "trl.experimental.ppo",
        "trl",
        "<1.13",
        "train by `tunegate train rloo` or `train grpo` with `--reward_model FOLDER`, or install "
        "'tunegate[ppo]' in an environment of its own",
    ),
}
"""Features that code asks for."""


def in_ci() -> bool:
    """Return whether a CI service runs this process: all of them set `CI`."""
    return os.environ.get("CI", "").strip().lower() not in ("", "0", "false")


@cache
def cache_name() -> str:
    """Return the name under which Transformers' models take and return their cache of keys and
    values: `cache` from 5.24 on, `past_key_values` before.
    """
    from transformers.modeling_outputs import CausalLMOutputWithPast

    names = {one.name for one in fields(CausalLMOutputWithPast)}
    return "cache" if "cache" in names else "past_key_values"


def cache_name_of(output: Any) -> str:
    """Return the name of the cache in a model's output; the model takes it under the same name.

    Models with running states had `cache_params` before Transformers 5.24.
    """
    held = getattr(type(output), "__dataclass_fields__", {})
    return next((name for name in ("cache", "past_key_values", "cache_params") if name in held), "")


def available_memory() -> int:
    """Return the memory that can be had, in bytes: Linux gives its file cache up for it.

    A limit of the control group counts (cgroup v2, as containers have it). Where the system tells
    nothing, it is taken for a quarter of all; 0 if that is not told either.
    """
    told = _numbers(Path("/proc/meminfo")).get("MemAvailable:")
    if told is not None:
        free = told * 1024
    elif hasattr(os, "sysconf"):
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    else:
        return 0
    try:
        limit = int((CONTROL_GROUP / "memory.max").read_text(encoding="utf-8"))
        used = int((CONTROL_GROUP / "memory.current").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # no such group, or `max`: no limit
        return free
    cached = _numbers(CONTROL_GROUP / "memory.stat").get("inactive_file", 0)
    return max(0, min(free, limit - used + cached))


def return_freed_memory() -> None:
    """Give memory that was freed back to the system, where the C library keeps it.

    glibc keeps freed blocks below others that are in use; larger ones that come later find no place
    in between. Elsewhere it does nothing.

    Source: https://man7.org/linux/man-pages/man3/malloc_trim.3.html
    """
    import ctypes

    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return
    trim(ctypes.c_size_t(0))


def _numbers(file: Path) -> dict[str, int]:
    """Return name → number of a file of the system with a name and a number in each line."""
    try:
        lines = [line.split() for line in file.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return {}
    return {line[0]: int(line[1]) for line in lines if len(line) > 1 and line[1].isdigit()}


def has_feature(name: str) -> bool:
    """Return whether the installed library has one of `FEATURES`; imports the module's parents."""
    try:
        return importlib.util.find_spec(FEATURES[name].module) is not None
    except ModuleNotFoundError:
        return False


def require_feature(name: str, where: str) -> None:
    """Refuse what the installed library cannot do.

    Args:
        name: one of `FEATURES`.
        where: what needs it, for the message.

    Raises:
        UsageError: the library lacks the feature; with the versions that have it.
    """
    if has_feature(name):
        return
    feature = FEATURES[name]
    found = installed_versions((feature.package,)).get(feature.package, "none")
    raise UsageError(
        f"{where}: needs {feature.package}{feature.versions}, installed is {found}; "
        f"{feature.instead}"
    )


STACK = (
    *("torch", "transformers", "peft", "trl", "accelerate", "datasets", "huggingface-hub"),
    *("bitsandbytes", "pydantic"),
)
"""Packages whose versions make a combination."""
NEIGHBOURS = (
    *("vllm", "sglang", "unsloth", "axolotl", "ms-swift", "llamafactory", "torchtune", "verl"),
    *("lighteval", "deepeval", "inspect-ai"),
)
"""Trainers, servers and evaluation tools that people have in the same environment."""
_TESTED = Path(__file__).with_name("tested_stacks.toml")
_LOADS = ("torch", "transformers")
"""Packages of every local model."""


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
    """The known facts about the installed versions together."""

    TESTED = "tested"
    """One of the tested stacks has all of them."""
    BETWEEN = "between tested ends"
    """Each was tested, or is between tested versions, but no stack has all of them."""
    UNTESTED = "untested"
    """One of them is older or newer than all tested ones, or was never tested."""


def explain_combination(
    installed: Mapping[str, str], stacks: Sequence[StackRecord]
) -> tuple[CombinationStatus, str] | None:
    """Return whether the installed versions were tested together, and a sentence about them.

    Versions are compared by their first two numbers. None where no model can be computed, for
    then nothing depends on the combination.

    Args:
        installed: package, or `python`, → version.
        stacks: what was tested.
    """
    if not all(name in installed for name in _LOADS):
        return None
    for stack in stacks:
        if all(_is_same(installed[name], stack.versions.get(name)) for name in installed):
            known = ", ".join(f"{name} {installed[name]}" for name in installed)
            return (
                CombinationStatus.TESTED,
                f"major and minor versions of the stack {stack.name!r} ({stack.date}): {known}",
            )
    beyond = [text for name in installed if (text := _beyond(name, installed[name], stacks))]
    if beyond:
        return CombinationStatus.UNTESTED, ", ".join(beyond)
    return CombinationStatus.BETWEEN, _nearest(installed, stacks)


def _is_same(version: str, tested: str | None) -> bool:
    return tested is not None and _minor(version) == _minor(tested)


def _nearest(installed: Mapping[str, str], stacks: Sequence[StackRecord]) -> str:
    """Return in words how the installed versions differ from the stack with most of them."""
    differing = {
        stack.name: [
            f"{name} {version} (there: {stack.versions.get(name, 'none')})"
            for name, version in installed.items()
            if not _is_same(version, stack.versions.get(name))
        ]
        for stack in stacks
    }
    name = min(differing, key=lambda one: len(differing[one]))
    return (
        "each version alone is within the tested range, all together were not run; nearest "
        f"stack {name!r} differs in {', '.join(differing[name])}"
    )


def _beyond(name: str, version: str, stacks: Sequence[StackRecord]) -> str:
    """Return in words that a version is older or newer than all tested ones; else nothing."""
    tested = sorted({_minor(stack.versions[name]) for stack in stacks if name in stack.versions})
    if not tested:
        return f"{name} {version} (no version of it was tested)"
    if tested[0] <= _minor(version) <= tested[-1]:
        return ""
    first, last = (".".join(map(str, one)) for one in (tested[0], tested[-1]))
    return f"{name} {version} (tested: {first} to {last})"


def _minor(version: str) -> tuple[int, ...]:
    from packaging.version import Version

    return Version(version).release[:2]
