"""Free memory, and memory given back."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.contracts import free_memory


def test_free_memory_is_what_the_system_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux counts what it can give up, in kibibytes, and a container what is left of its limit;
    a system that tells nothing has a quarter of its memory, or none.
    """
    real = Path.read_text
    told = {"/proc/meminfo": "MemTotal: 16000 kB\nMemAvailable:    2048 kB\n"}

    def read(path: Path, *_: Any, **__: Any) -> str:
        return told[str(path)] if str(path) in told else real(path)

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(free_memory, "CONTROL_GROUP", tmp_path)
    assert free_memory.available_memory() == 2048 * 1024

    for name, text in {
        "memory.max": "max\n",
        "memory.current": "900000\n",
        "memory.stat": "anon 500000\ninactive_file 300000\n",
    }.items():
        (tmp_path / name).write_text(text)
    assert free_memory.available_memory() == 2048 * 1024
    (tmp_path / "memory.max").write_text("1000000\n")
    assert free_memory.available_memory() == 1_000_000 - 900_000 + 300_000
    (tmp_path / "memory.max").unlink()

    told["/proc/meminfo"] = "MemTotal: 16000 kB\n"
    pages = {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr("os.sysconf", pages.get)
    assert free_memory.available_memory() == 1_024_000
    monkeypatch.delattr("os.sysconf")
    assert free_memory.available_memory() == 0


FRAGMENTED = """
import ctypes
from tunegate.harness.contracts.free_memory import return_freed_memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
blocks = [libc.malloc(ctypes.c_size_t(100_000)) for _ in range(2_000)]
for block in blocks:
    ctypes.memset(block, 1, 100_000)
for block in blocks[:-1]:  # the last one keeps the others below it
    libc.free(ctypes.c_void_p(block))
held = resident()
return_freed_memory()
print(held - resident())
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"),
    reason="this C library keeps nothing",
)
def test_freed_memory_below_other_blocks_goes_back_to_the_system() -> None:
    """Of 200 MB that glibc keeps below one block in use, nearly all."""
    done = subprocess.run(
        [sys.executable, "-c", FRAGMENTED], capture_output=True, text=True, check=True, timeout=60
    )

    assert int(done.stdout) > 150_000_000
