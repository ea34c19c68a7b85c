"""The sandbox that this process uses: bubblewrap, unless a command names another."""

from __future__ import annotations

import importlib
from dataclasses import replace

from tunegate.harness.records.errors import UsageError, unknown_name_message
from tunegate.harness.sandbox._container import Container
from tunegate.harness.sandbox.bubblewrap import SANDBOX as DEFAULT
from tunegate.harness.sandbox.contract import Sandbox, SandboxFailed

NAMES = ("bubblewrap", "docker", "podman", "none")
_chosen: Sandbox = DEFAULT


def choose_sandbox(spec: str) -> None:
    """Have the programs of this process run in a sandbox: its name, or `docker:IMAGE`."""
    global _chosen
    _chosen = find_sandbox(spec)


def find_sandbox(spec: str) -> Sandbox:
    """Return the sandbox that a spec names."""
    name, colon, image = spec.partition(":")
    if name not in NAMES:
        raise UsageError(unknown_name_message(name, NAMES, what="sandbox"))
    sandbox: Sandbox = importlib.import_module(f"{__package__}.{name}").SANDBOX
    if not colon:
        return sandbox
    if not isinstance(sandbox, Container) or not image:
        raise UsageError(f"--sandbox {spec}: write {name}, or docker:IMAGE")
    return replace(sandbox, image=image)


def is_same_sandbox(version: str | None) -> bool:
    """Return whether the sandbox of that version can be used here."""
    return version is not None and not _chosen.problem() and _chosen.version() == version


def usable_sandbox() -> Sandbox:
    """Return the chosen sandbox."""
    if problem := _chosen.problem():
        raise SandboxFailed(f"programs in answers need a sandbox: {problem}")
    return _chosen
