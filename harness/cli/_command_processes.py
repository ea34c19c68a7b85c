"""Commands of tunegate in processes of their own that do not import the libraries again.

A process takes about ten seconds to import torch, Transformers and TRL. On Linux a server of
`multiprocessing` imports them once and each command is a fork of it: its memory comes back when it
ends, and nothing of one command is left for the next.

Elsewhere each process begins anew. Forks of a process that has loaded system libraries are not safe
on macOS and do not exist on Windows; and a driver of an accelerator that was asked by an import,
if only how many devices there are, fails in forks.

Source: https://docs.python.org/3/library/multiprocessing.html#contexts-and-start-methods
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunegate.harness.records.manifest import installed_versions

_PRELOADED = "tunegate.harness.cli._preloaded_libraries"
_ACCELERATORS = ("nvidia*", "kfd", "dxg", "accel*", "davinci*")
"""Device files of NVIDIA, AMD, WSL, Gaudi or TPU, and Ascend."""


def run_command(*args: str) -> int:
    """Run `tunegate` with some arguments in a process of its own and return its exit code."""
    return run_function(_run_tunegate, args)


def run_function(function: Callable[..., object], *args: object) -> int:
    """Call a function of a module in a process of its own and return that process's exit code.

    It is what the function gives to `sys.exit`, else 0; negative where a signal ended the process.
    """
    forked = can_fork()
    context: Any = multiprocessing.get_context("forkserver" if forked else "spawn")
    if forked:
        context.set_forkserver_preload([_PRELOADED])
    process = context.Process(target=function, args=args)
    process.start()
    process.join()
    return int(process.exitcode)


def can_fork(devices: Path = Path("/dev")) -> bool:
    """Return whether a process may be forked after it has imported torch.

    Args:
        devices: The folder of device files.
    """
    # A build for Intel's GPUs, whose device file is that of any graphics card.
    torch = installed_versions(("torch",)).get("torch", "")
    if sys.platform != "linux" or torch.endswith("+xpu"):
        return False
    patterns = () if torch.endswith("+cpu") else _ACCELERATORS
    return not any(any(devices.glob(pattern)) for pattern in patterns)


def _run_tunegate(args: tuple[str, ...]) -> None:
    from tunegate.harness.cli import main

    sys.argv = ["tunegate", *args]
    main()
