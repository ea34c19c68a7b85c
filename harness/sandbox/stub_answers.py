"""Tests that pass on stubs, and so cannot fail: answers that raise, or return None or []."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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

STUBS = ("raises", "returns None", "returns []")
"""What the stubs of `inside/stubs.py` do. Only [] passes `for word in words(): assert word`."""
_RECIPE = 2
"""Changes when the same tests could pass on other stubs."""
_A_CASE_S = 24
"""Seconds that the tests of a case may take on all stubs, with something to spare."""
_A_SANDBOX = 32
"""Cases of a sandbox, after which progress is shown and results are kept."""
TestedCase = tuple[Sequence[str], Sequence[str]]
"""Tests in Python, and the names that they may take from an answer."""
StubResult = dict[str, tuple[bool, ...]]
"""What a stub does → which tests of the case pass on it."""


def run_stubs(cases: Sequence[TestedCase], *, memory_mb: int = 1024) -> list[StubResult]:
    """Run the tests of many cases on the stubs, as many sandboxes at once as there are cores."""
    sandbox, session = usable_sandbox(), current_session()
    recipe = ["stubs", _RECIPE, sandbox.version(), sandbox.python()]
    keys = [sha256([*recipe, *case]) for case in cases]
    known = session.read(keys)
    new = {key: case for key, case in zip(keys, cases, strict=True) if key not in known}
    count = os.cpu_count() or 1
    number = min(len(new), max(count, math.ceil(len(new) / _A_SANDBOX)))
    parts = [dict(list(new.items())[start::number]) for start in range(number)]
    done = 0
    with ThreadPoolExecutor(max_workers=count) as pool:
        try:
            for part in pool.map(partial(_run_part, sandbox, memory_mb), parts):
                for key, outcome in part.items():
                    session.write(key, outcome)
                known |= part
                done += len(part)
                session.report(done, len(new), "checking that tests can fail")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            end_all()
            raise
    return [_by_stub(known[key].tests) for key in keys]


def _by_stub(passed: tuple[bool, ...]) -> StubResult:
    count = len(passed) // len(STUBS)
    return {stub: passed[n * count : (n + 1) * count] for n, stub in enumerate(STUBS)}


def _run_part(
    sandbox: Sandbox, memory_mb: int, cases: Mapping[str, TestedCase]
) -> dict[str, Outcome]:
    """Return the outcome of each key's case: its tests on the first stub, then on the others."""
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
                passed = itertools.chain(*json.loads(line[1:]))
                results[key] = Outcome(end=End.FAILED, tests=tuple(passed))
        except Exceeded as error:
            raise SandboxFailed(f"tests on stubs took too much {error}") from error
    return results
