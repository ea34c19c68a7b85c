"""The machine that trains: processor, GPUs and peak memory."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from tunegate.harness.records.record import Record, Text


class HardwareInfo(Record):
    """Hardware of the training."""

    cpu: Text
    """Name of the processor."""
    cores: int
    """Cores that this process may use."""
    threads: int
    """Threads of torch."""
    memory_bytes: int | None
    """Main memory of the machine; None where the system does not report it."""
    gpus: tuple[Text, ...] = ()
    """Names of the GPUs."""
    gpu_memory_bytes: tuple[int, ...] = ()
    """Memory of each."""


def current_hardware() -> HardwareInfo:
    """Return the machine that this process runs on."""
    import torch

    gpus = range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    properties = [torch.cuda.get_device_properties(i) for i in gpus]
    return HardwareInfo(
        cpu=_cpu(),
        cores=_cores(),
        threads=torch.get_num_threads(),
        memory_bytes=_memory(),
        gpus=tuple(gpu.name for gpu in properties),
        gpu_memory_bytes=tuple(int(gpu.total_memory) for gpu in properties),
    )


def peak_memory() -> int:
    """Return the most main memory that this process ever held, in bytes.

    Linux's VmHWM starts over with each program; `ru_maxrss` starts with what the parent had.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB


def peak_cuda_memory() -> int | None:
    """Return the most memory that torch had allocated on any one GPU; None without a GPU."""
    import torch

    if not torch.cuda.is_available():
        return None
    return max(torch.cuda.max_memory_allocated(i) for i in range(torch.cuda.device_count()))


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None
