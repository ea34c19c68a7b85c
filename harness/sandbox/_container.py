"""Containers of Docker and Podman, which take the same options."""

from __future__ import annotations

import math
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tunegate.harness.sandbox.contract import BEGIN, Invocation, Limits, read_version

_FILES = "/program"


@dataclass
class Container:
    """One container a program, without network, with a read-only system."""

    name: str
    image: str = "python:3.11-slim"

    def problem(self) -> str | None:
        """Run one container."""
        return self._problem

    @cached_property
    def _problem(self) -> str | None:
        if shutil.which(self.name) is None:
            return f"{self.name} is not installed"
        image_id = read_version(self.name, "image", "inspect", "--format", "{{.Id}}", self.image)
        if image_id is None:
            return (
                f"{self.name} has no image {self.image!r}, or cannot be reached: "
                f"`{self.name} pull {self.image}`, or name one: --sandbox {self.name}:IMAGE"
            )
        return None

    def version(self) -> str:
        """Return version and image."""
        version = read_version(self.name, "--version") or self.name
        return f"{version}, {self.image}"

    def python(self) -> str:
        """Return the image's interpreter."""
        return "python3"

    def folder(self, host: Path) -> str:
        """Return the same folder for all programs."""
        return _FILES

    def invoke(self, command: Sequence[str], host: Path, limits: Limits) -> Invocation:
        """Return the command line of `run`, and that of `kill`."""
        container = f"tunegate-{uuid.uuid4().hex}"
        memory = f"{limits.memory_mb}m"
        argv = (
            *(self.name, "run", "--rm", "--interactive", "--name", container, "--network", "none"),
            *("--read-only", "--tmpfs", f"/tmp:size={limits.disk_mb}m,mode=1777"),
            *("--memory", memory, "--memory-swap", memory, "--shm-size", f"{limits.disk_mb}m"),
            *("--pids-limit", str(limits.processes), "--cpus", "1", "--cap-drop", "ALL"),
            *("--security-opt", "no-new-privileges", "--user", "65534:65534"),
            *("--ulimit", f"cpu={math.ceil(limits.cpu_s)}", "--ulimit", "core=0"),
            *("--env", "HOME=/tmp", "--env", "PYTHONHASHSEED=0", "--workdir", "/tmp"),
            *("--volume", f"{host}:{_FILES}:ro", self.image, *BEGIN, *command),
        )
        return Invocation(argv, end=(self.name, "kill", container))
