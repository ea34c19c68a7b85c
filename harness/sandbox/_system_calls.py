"""The system calls that no program in bubblewrap may make, as a filter for seccomp(2).

Namespaces of its own would give a program file systems without a limit. Memory that belongs to no
process escapes the limit of memory.
"""

from __future__ import annotations

import platform
import struct
from dataclasses import dataclass

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
"""Instructions of Berkeley Packet Filters (linux/bpf_common.h)."""
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
"""Offsets in `struct seccomp_data` (linux/seccomp.h)."""
_ALLOW, _NOT_PERMITTED, _NOT_THERE = 0x7FFF0000, 0x00050001, 0x00050026
_NEW_NAMESPACES = 0x7E020000
"""The flags CLONE_NEW… (linux/sched.h)."""
_OTHER_ABI = 0x40000000
"""Numbers of x32 on x86-64."""


@dataclass(frozen=True)
class _Machine:
    audit: int
    clone: int
    refused: tuple[int, ...]


_CLONE3 = 435
_MACHINES = {
    # memfd_create, memfd_secret, shmget, msgget, semget, unshare, setns, ptrace, process_vm_readv,
    # process_vm_writev, bpf, perf_event_open, userfaultfd, io_uring_setup, keyctl, add_key,
    # request_key
    "x86_64": _Machine(
        0xC000003E,
        56,
        (319, 447, 29, 68, 64, 272, 308, 101, 310, 311, 321, 298, 323, 425, 250, 248, 249),
    ),
    "aarch64": _Machine(
        0xC00000B7,
        220,
        (279, 447, 194, 186, 190, 97, 268, 117, 270, 271, 280, 241, 282, 425, 219, 217, 218),
    ),
}


def system_call_filter() -> bytes | None:
    """Return the filter for this machine; None for one whose numbers are not known here."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return None
    steps = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_EQUAL, machine.audit, 1, 0),
        _step(_RETURN, _NOT_PERMITTED),
        _step(_LOAD, _NUMBER),
        _step(_AT_LEAST, _OTHER_ABI, 0, 1),
        _step(_RETURN, _NOT_PERMITTED),
        _step(_EQUAL, _CLONE3, 0, 1),
        _step(_RETURN, _NOT_THERE),  # the C library goes on with clone, whose flags can be read
    ]
    for number in machine.refused:
        steps += [_step(_EQUAL, number, 0, 1), _step(_RETURN, _NOT_PERMITTED)]
    steps += [
        _step(_EQUAL, machine.clone, 0, 3),
        _step(_LOAD, _FIRST_ARGUMENT),
        _step(_ANY_BIT, _NEW_NAMESPACES, 0, 1),
        _step(_RETURN, _NOT_PERMITTED),
        _step(_RETURN, _ALLOW),
    ]
    return b"".join(steps)


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
