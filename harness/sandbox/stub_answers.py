"""Tests that pass on stubs, and so cannot fail: one answer raises, the other returns None."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tunegate.harness.sandbox.chosen import usable_sandbox
from tunegate.harness.sandbox.contract import Limits, Sandbox, SandboxFailed
from tunegate.harness.sandbox.process import Exceeded
from tunegate.harness.sandbox.run_tests import (
    MESSAGE_BYTES,
    refuse_broken,
    shared_folder,
    start_inside,
)

_A_CASE_S = 16
"""Seconds that the tests of a case may take on both stubs, with something to spare."""


@dataclass(frozen=True, slots=True)
class StubResult:
    """Which tests of a case pass on each stub."""

    raising: tuple[bool, ...]
    returning_none: tuple[bool, ...]


def run_stubs(cases: Sequence[tuple[Sequence[str], Sequence[str]]]) -> list[StubResult]:
    """Run the tests of many cases on the stubs, as many sandboxes at once as there are cores.

    Args:
        cases: Tests in Python, and the names that they may take from an answer.

    Raises:
        SandboxFailed: there is no sandbox, or it did not work.
    """
    sandbox = usable_sandbox()
    count = os.cpu_count() or 1
    with ThreadPoolExecutor(max_workers=count) as pool:
        parts = pool.map(
            lambda part: _run_part(sandbox, part), [cases[i::count] for i in range(count)]
        )
        parts = [iter(part) for part in parts]
        return [next(parts[i % count]) for i in range(len(cases))]


def _run_part(
    sandbox: Sandbox, cases: Sequence[tuple[Sequence[str], Sequence[str]]]
) -> list[StubResult]:
    if not cases:
        return []
    limits = Limits(cpu_s=_A_CASE_S * len(cases), output_bytes=MESSAGE_BYTES)
    with (
        shared_folder({"cases.json": json.dumps(cases)}) as folder,
        start_inside(sandbox, "stubs", folder, limits) as process,
    ):
        found = []
        try:
            for _ in cases:
                line = process.read_line()
                if not line.endswith(b"\n"):
                    refuse_broken(process, code := process.exit_code())
                    raise SandboxFailed(f"tests on stubs ended with exit code {code}")
                raising, none = json.loads(line[1:])
                found.append(StubResult(tuple(raising), tuple(none)))
        except Exceeded as error:
            raise SandboxFailed(f"tests on stubs took too much {error}") from error
    return found
