"""A measured rate against its promise, and the table of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

ALPHA = 0.05
"""The one-sided error that every default aims at."""
PROMISE = 0.06
"""The error rate that no default may exceed."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How much to measure."""

    reps: int = 10_000
    """Simulated samples a cell."""
    seed: int = 1
    fast: bool = False
    """Leave out the large samples."""

    def rng(self, cell: str) -> np.random.Generator:
        """Return the generator of one cell: its numbers do not depend on which others run."""
        return np.random.default_rng([self.seed, zlib.crc32(cell.encode())])


@dataclass(frozen=True, slots=True)
class Row:
    """One measured rate."""

    group: str
    """The module it comes from."""
    what: str
    """Rule and data, in words."""
    n: str
    """Cases, or clusters times cases."""
    rate: float
    """What was measured: a probability or a share."""
    error: float = 0.0
    """Monte Carlo standard error; 0 where the rate is exact."""
    limit: float = PROMISE
    """What was promised."""
    note: str = ""
    """The flag a user sees in such a run, or what the rate depends on."""

    @property
    def allowance(self) -> float:
        """How far above its limit a rate may be by the chance of the simulation."""
        return 2 * self.error + 1e-12

    @property
    def status(self) -> str:
        """`ok` within the promise, else `FAIL`."""
        return "ok" if self.rate <= self.limit + self.allowance else "FAIL"


def simulated(hits: int, reps: int) -> tuple[float, float]:
    """Return a rate and its standard error; never 0, or no hit at all would look exact."""
    rate = hits / reps
    guarded = (hits + 1) / (reps + 2)
    return rate, float(np.sqrt(guarded * (1 - guarded) / reps))


def render(rows: Iterable[Row]) -> str:
    """Return the table in aligned plain text, with a heading for each group."""
    table = list(rows)
    what = max((len(row.what) for row in table), default=0)
    lines = []
    group = ""
    for row in table:
        if row.group != group:
            group = row.group
            head = f"{'what':<{what}} {'n':>8} {'rate':>6} {'+-':>6} {'limit':>6}  result"
            lines += ["", group, head]
        lines.append(_line(row, what))
    return "\n".join(lines).lstrip("\n")


def _line(row: Row, what: int) -> str:
    error = f"{row.error:6.4f}" if row.error else " exact"
    text = (
        f"{row.what:<{what}} {row.n:>8} {row.rate:6.4f} {error} {row.limit:6.3f}  {row.status:<4}"
    )
    return f"{text}  {row.note}".rstrip()


def summary(rows: Iterable[Row]) -> str:
    """Return how the rows ended, in one line."""
    found = list(rows)
    failed = sum(row.status == "FAIL" for row in found)
    return f"{len(found)} rates: {len(found) - failed} ok, {failed} FAIL"
