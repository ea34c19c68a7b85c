"""Features of installed libraries.

Versions of Transformers and TRL differ in what they have. Code asks here for a feature, by the
module that brings it, instead of comparing versions.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.versions import installed_versions


@dataclass(frozen=True, slots=True)
class LibraryFeature:
    """Something that only some versions of a library have."""

    module: str
    """A module that exists only with the feature."""
    package: str
    versions: str
    """The package's versions with the feature, for people."""
    instead: str
    """The remedy if it is missing."""


FEATURES = {
    "gguf": LibraryFeature(
        "transformers.integrations.gguf",
        "transformers",
        ">=5.18",
        "pip install 'tunegate[gguf]'",
    ),
    "rank": LibraryFeature(
        "sentence_transformers.multi_vector_encoder",
        "sentence-transformers",
        ">=6",  # earlier ones run code in a folder without asking
        "pip install 'tunegate[rank]'",
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
    """Return whether a CI service runs this process; they all set `CI`."""
    return os.environ.get("CI", "").strip().lower() not in ("", "0", "false")


@cache
def cache_name() -> str:
    """Return Transformers' name of the key-value cache: `past_key_values`, from 5.24 on `cache`."""
    from transformers.modeling_outputs import CausalLMOutputWithPast

    names = {field.name for field in fields(CausalLMOutputWithPast)}
    return "cache" if "cache" in names else "past_key_values"


def cache_name_of(output: Any) -> str:
    """Return the name of the cache in a model's input and output.

    It is `cache_params` for models with running states before Transformers 5.24.
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
    """Raise UsageError if the installed library lacks one of `FEATURES`; `where` needs it."""
    if has_feature(name):
        return
    feature = FEATURES[name]
    version = installed_versions((feature.package,)).get(feature.package, "none")
    raise UsageError(
        f"{where}: needs {feature.package}{feature.versions}, installed is {version}; "
        f"{feature.instead}"
    )
