"""A draw of calls from a stream of any length, each stratum by its share.

Every call has a number that follows from the seed and its id; a stratum keeps those with the
smallest, at most as many as are wanted in all. So memory holds the draw and not the stream, the
order of the files does not matter, and a smaller draw of one stratum is part of a larger.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.records import sha256
from harness.sources._replayed import Replayed


@dataclass(slots=True)
class _Stratum:
    count: int = 0
    kept: list[tuple[int, int, Replayed]] = field(default_factory=list)
    """A heap whose top has the largest number: (−number, −place, call)."""


def drawn(
    calls: Iterable[Replayed], wanted: int, *, seed: int, by: Sequence[str] = ()
) -> list[Replayed]:
    """Return `wanted` calls in the order of the stream; all of them if there are fewer.

    Args:
        calls: The stream.
        wanted: How many.
        seed: Seed of the draw.
        by: Facets whose values make the strata. Each stratum gives its share of the calls, rounded
            by largest remainder, and one at least as long as there are enough.
    """
    strata: dict[tuple[str, ...], _Stratum] = {}
    for place, call in enumerate(calls):
        stratum = strata.setdefault(tuple(call.facets.get(name, "") for name in by), _Stratum())
        stratum.count += 1
        number = int(sha256([seed, call.row["id"]])[:16], 16)
        entry = (-number, -place, call)
        if len(stratum.kept) < wanted:
            heapq.heappush(stratum.kept, entry)
        elif entry[:2] > stratum.kept[0][:2]:
            heapq.heapreplace(stratum.kept, entry)
    shares = quotas({key: stratum.count for key, stratum in strata.items()}, wanted)
    taken = [
        entry
        for key, stratum in strata.items()
        for entry in heapq.nlargest(shares[key], stratum.kept, key=lambda entry: entry[:2])
    ]
    return [call for _, _, call in sorted(taken, key=lambda entry: -entry[1])]


def quotas(counts: Mapping[tuple[str, ...], int], wanted: int) -> dict[tuple[str, ...], int]:
    """Return how many each stratum gives."""
    total = sum(counts.values())
    wanted = min(wanted, total)
    if not wanted:
        return dict.fromkeys(counts, 0)
    exact = {key: wanted * count / total for key, count in counts.items()}
    least = 1 if wanted >= len(counts) else 0
    given = {key: max(int(share), least) for key, share in exact.items()}
    # The largest remainder gets what is left; where the least took too much, the largest give.
    while sum(given.values()) < wanted:
        open_ = [key for key in counts if given[key] < counts[key]]
        given[max(open_, key=lambda key: exact[key] - given[key])] += 1
    while sum(given.values()) > wanted:
        rich = [key for key in counts if given[key] > least]
        given[min(rich, key=lambda key: exact[key] - given[key])] -= 1
    return given
