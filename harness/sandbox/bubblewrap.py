"""bubblewrap: namespaces of Linux, without a daemon (https://github.com/containers/bubblewrap)."""

from __future__ import annotations

import math
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from tunegate.harness.sandbox._system_calls import system_call_filter
from tunegate.harness.sandbox.contract import (
    BEGIN,
    FILE,
    Invocation,
    Limits,
    SandboxFailed,
    read_version,
)
from tunegate.harness.sandbox.process import Exceeded, SandboxedProcess

INSTALL = "`apt install bubblewrap` (or `dnf`, `pacman`) installs it"
_FILES = "/program"
_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
}
_FIRST_UID = 2_000_000_000
"""User ids that nobody has. As root each sandbox takes its own, which counts its own processes."""


class Bubblewrap:
    """Programs see a read-only system, a small /tmp, and neither network nor other processes."""

    name = "bubblewrap"

    def problem(self) -> str | None:
        """Start one program in it."""
        return _problem()

    def version(self) -> str:
        """Return what `bwrap --version` prints."""
        return read_version("bwrap", "--version") or self.name

    def python(self) -> str:
        """Return the interpreter that runs tunegate, outside its virtual environment."""
        return os.path.realpath(sys.executable)

    def folder(self, host: Path) -> str:
        """Return the same folder for all programs."""
        return _FILES

    def invoke(self, command: Sequence[str], host: Path, limits: Limits) -> Invocation:
        """Return bwrap's command line."""
        program = os.path.realpath(shutil.which(command[0]) or command[0])
        refused = system_call_filter()
        argv = [
            *_namespaces(),
            *(("--seccomp", FILE) if refused else ()),
            *_system(Path(program)),
            *("--proc", "/proc", "--dev", "/dev"),
            *(_tmpfs("/tmp", limits) + _tmpfs("/dev/shm", limits)),
            *("--ro-bind", str(host), _FILES),
            *("--remount-ro", "/dev", "--remount-ro", "/"),
            *("--chdir", "/tmp", "--clearenv"),
        ]
        for name, value in _ENVIRONMENT.items():
            argv += ["--setenv", name, value]
        return Invocation((*argv, *_limited(limits), *BEGIN, program, *command[1:]), refused)


def _namespaces() -> Iterator[str]:
    yield from ("bwrap", "--die-with-parent", "--new-session", "--unshare-ipc", "--unshare-pid")
    yield from ("--unshare-net", "--unshare-uts", "--unshare-cgroup-try")
    if _is_root():
        # The limit on processes does not count root's, so the program gets a user of its own.
        yield from ("--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
    else:
        yield from ("--unshare-user", "--uid", "65534", "--gid", "65534")


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def _system(program: Path) -> Iterator[str]:
    yield from ("--ro-bind", "/usr", "/usr")
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        place = Path("/", name)
        if place.is_symlink():
            yield from ("--symlink", str(place.readlink()), str(place))
        elif place.exists():
            yield from ("--ro-bind", str(place), str(place))
    yield from ("--perms", "0755", "--dir", "/etc")
    for name in ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime"):
        yield from ("--ro-bind-try", name, name)
    if not program.is_relative_to("/usr"):  # an interpreter of its own: its folder alone
        prefix = program.parent.parent
        if Path.home().is_relative_to(prefix) or prefix == Path.home() / ".local":
            raise SandboxFailed(f"{program} is beside your own files, which it must not show")
        for parent in reversed(prefix.parents[:-1]):
            yield from ("--perms", "0755", "--dir", str(parent))
        yield from ("--ro-bind", str(prefix), str(prefix))


def _tmpfs(place: str, limits: Limits) -> tuple[str, ...]:
    return ("--size", str(limits.disk_mb * 2**20), "--perms", "1777", "--tmpfs", place)


def _limited(limits: Limits) -> tuple[str, ...]:
    """Return the command that sets the limits of each process; the host watches their sum."""
    own_user: tuple[str, ...] = ()
    if _is_root():
        uid = str(_FIRST_UID + secrets.randbelow(100_000_000))
        own_user = (
            *("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"),
            *("--inh-caps=-all", "--no-new-privs"),
        )
    return (
        *own_user,
        "prlimit",
        f"--cpu={math.ceil(limits.cpu_s)}",
        f"--data={limits.memory_mb * 2**20}",
        f"--nproc={limits.processes}",
        f"--fsize={limits.disk_mb * 2**20}",
        "--nofile=256",
        "--core=0",
        "--",
    )


@cache
def _problem() -> str | None:
    if not sys.platform.startswith("linux"):
        return "bubblewrap is for Linux; name another sandbox: `--sandbox docker`"
    for tool in ("bwrap", "prlimit", "setpriv"):
        if shutil.which(tool) is None:
            package = INSTALL if tool == "bwrap" else "install util-linux"
            return (
                f"{tool} is not installed: {package}, or name another sandbox: `--sandbox docker`"
            )
    limits = Limits()
    try:
        started = Bubblewrap().invoke(["true"], Path("/usr"), limits)
        with SandboxedProcess(started, limits) as process:
            process.read_all()
            code = process.exit_code()
    except (SandboxFailed, Exceeded) as error:
        return f"bubblewrap does not start: {error}"
    if code:
        message = process.error.decode(errors="replace").strip() or f"exit code {code}"
        return (
            f"bubblewrap does not start ({message.splitlines()[-1]}): this machine or container "
            "does not let it make namespaces (see `tunegate help code`), or name another sandbox: "
            "`--sandbox docker`"
        )
    return None


SANDBOX = Bubblewrap()
