"""Versions of the packages that a verdict's numbers depend on."""

from __future__ import annotations

import platform
from collections.abc import Iterable

_PACKAGES = ("tunegate", "torch", "transformers", "peft", "numpy", "scipy")


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a verdict's numbers depend on."""
    return {"python": platform.python_version(), **installed_versions(_PACKAGES)}


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    from importlib import metadata  # 10 ms, which `tunegate --help` need not take

    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
