"""Ids of a run's trace and spans, computed from what they stand for.

A run that is resumed, judged again or sent twice has the same ids: a collector sees the same spans,
and a page can name a span without reading the file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from tunegate.harness.records.answers import Cell
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.manifest import Manifest


@dataclass(frozen=True, slots=True)
class TraceIdentifiers:
    """The ids within one run."""

    trace_id: str
    """32 hex digits."""

    @classmethod
    def of(cls, manifest: Manifest, plan_sha256: str) -> TraceIdentifiers:
        """Return the ids of a run; another plan or start makes another trace."""
        return cls(sha256([manifest.run_id, manifest.created, plan_sha256])[:32])

    def span(self, *place: str) -> str:
        """Return the span id of a place in the run: 16 hex digits."""
        name = "\0".join((self.trace_id, *place)).encode("utf-8", "surrogatepass")
        return hashlib.sha256(name).hexdigest()[:16]

    def case(self, suite: str, name: str) -> str:
        """Return the id of a case's span."""
        return self.span("case", suite, name)

    def cell(self, cell: Cell) -> str:
        """Return the id of a completion's span."""
        return self.completion(cell.suite, cell.case, cell.arm, cell.kind.value, cell.sample)

    def completion(self, suite: str, case: str, arm: str, kind: str, sample: int) -> str:
        """Return the id of a completion's span by its place in the run."""
        return self.span("cell", suite, case, arm, kind, str(sample))


def plan_sha256(manifest: Manifest) -> str:
    """Return the hash of the plan: the keys of its cells in order."""
    return sha256([cell.key for cell in manifest.plan])
