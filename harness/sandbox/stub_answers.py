"""Tests that pass on stubs, and so cannot fail: one answer raises, the other returns None."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from tunegate.harness.records.hashing import sha256
from tunegate.harness.sandbox.chosen import usable_sandbox
from tunegate.harness.sandbox.contract import Limits, Sandbox, SandboxFailed
from tunegate.harness.sandbox.execution_outcome import End, Outcome
from tunegate.harness.sandbox.jobs import current_session
from tunegate.harness.sandbox.process import Exceeded, end_all
from tunegate.harness.sandbox.run_tests import (
    MESSAGE_BYTES,
    refuse_broken,
    shared_folder,
    start_inside,
)

_RECIPE = 1
"""Changes when the same tests could pass on other stubs."""
_A_CASE_S = 16
"""Seconds that the tests of a case may take on both stubs, with something to spare."""
TestedCase = tuple[Sequence[str], Sequence[str]]
"""Tests in Python, and the names that they may take from an answer."""


@dataclass(frozen=True, slots=True)
class StubResult:
    """Which tests of a case pass on each stub."""

    raising: tuple[bool, ...]
    returning_none: tuple[bool, ...]


def run_stubs(cases: Sequence[TestedCase], *, memory_mb: int = 1024) -> list[StubResult]:
    """Run the tests of many cases on the stubs, as many sandboxes at once as there are cores."""
    sandbox, session = usable_sandbox(), current_session()
    recipe = ["stubs", _RECIPE, sandbox.version(), sandbox.python()]
    keys = [sha256([*recipe, *case]) for case in cases]
    results = session.read(keys)
    new = {key: case for key, case in zip(keys, cases, strict=True) if key not in results}
    count = os.cpu_count() or 1
    parts = [dict(list(new.items())[start::count]) for start in range(count)]
    with ThreadPoolExecutor(max_workers=count) as pool:
        try:
            for part in pool.map(partial(_run_part, sandbox, memory_mb), parts):
                results |= part
        except BaseException:
            end_all()
            raise
    for key in new:
        session.write(key, results[key])
    halves = [results[key].tests for key in keys]
    return [StubResult(h[: len(h) // 2], h[len(h) // 2 :]) for h in halves]


def _run_part(
    sandbox: Sandbox, memory_mb: int, cases: Mapping[str, TestedCase]
) -> dict[str, Outcome]:
    """Return the outcome of each key's case: its tests on the raising stub, then on the other."""
    if not cases:
        return {}
    cpu_s = float(_A_CASE_S * len(cases))
    limits = Limits(cpu_s=cpu_s, memory_mb=memory_mb, output_bytes=MESSAGE_BYTES)
    with (
        shared_folder({"cases.json": json.dumps(list(cases.values()))}) as folder,
        start_inside(sandbox, "stubs", folder, limits) as process,
    ):
        results = {}
        try:
            for key in cases:
                line = process.read_line()
                if not line.endswith(b"\n"):
                    refuse_broken(process, code := process.exit_code())
                    raise SandboxFailed(f"tests on stubs ended with exit code {code}")
                raising, none = json.loads(line[1:])
                results[key] = Outcome(end=End.FAILED, tests=(*raising, *none))
        except Exceeded as error:
            raise SandboxFailed(f"tests on stubs took too much {error}") from error
    return results
