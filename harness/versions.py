"""The versions that numbers depend on."""

from __future__ import annotations

import platform
from importlib import metadata

_PACKAGES = ("tunegate", "torch", "transformers", "peft", "numpy", "scipy", "statsmodels")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
