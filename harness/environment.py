"""The libraries that tunegate is installed beside: what they offer, and what was tested together.

Versions of Transformers and TRL differ in what they have. Code asks here for a feature, by the
module that brings it; no other place compares versions.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from tunegate.harness.errors import UsageError
from tunegate.harness.records.manifest import installed_versions


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
    """What to do without it."""


FEATURES = {
    "gguf": LibraryFeature(
        "transformers.integrations.gguf",
        "transformers",
        ">=5.17",
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
