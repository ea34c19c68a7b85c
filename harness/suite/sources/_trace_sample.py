"""Sample of calls from a stream of any length, stratified in proportion.

Each call has a number derived from the seed and its id, and a stratum keeps the calls with the
smallest numbers. So memory holds the sample and not the stream, the order of files does not matter,
and a smaller sample of one stratum is part of a larger one.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tunegate.harness.records.hashing import sha256
from tunegate.harness.suite.sources._replayed_call import ReplayedCall


@dataclass(slots=True)
class _CallStratum:
    count: int = 0
    kept: list[tuple[int, int, ReplayedCall]] = field(default_factory=list)
    """A heap whose top has the largest number: (−number, −place, call)."""


def draw_calls(
    calls: Iterable[ReplayedCall], wanted: int, *, seed: int, by: Sequence[str] = ()
) -> list[ReplayedCall]:
    """Draw `wanted` calls, in the order of the stream; all of them if there are fewer.

    The facets in `by` make the strata. Each stratum gives its share of the calls, rounded by
    largest remainder, and at least one as long as there are enough.
    """
    strata: dict[tuple[str, ...], _CallStratum] = {}
    for place, call in enumerate(calls):
        stratum = strata.setdefault(tuple(call.facets.get(name, "") for name in by), _CallStratum())
        stratum.count += 1
        number = int(sha256([seed, call.row["id"]])[:16], 16)
        entry = (-number, -place, call)
        if len(stratum.kept) < wanted:
            heapq.heappush(stratum.kept, entry)
        elif entry[:2] > stratum.kept[0][:2]:
            heapq.heapreplace(stratum.kept, entry)
    shares = stratum_quotas({key: stratum.count for key, stratum in strata.items()}, wanted)
    taken = [
        entry
        for key, stratum in strata.items()
        for entry in heapq.nlargest(shares[key], stratum.kept, key=lambda entry: entry[:2])
    ]
    return [call for _, _, call in sorted(taken, key=lambda entry: -entry[1])]


def stratum_quotas(
    counts: Mapping[tuple[str, ...], int], wanted: int
) -> dict[tuple[str, ...], int]:
    """Return the number of calls from each stratum."""
    total = sum(counts.values())
    wanted = min(wanted, total)
    if not wanted:
        return dict.fromkeys(counts, 0)
    exact = {key: wanted * count / total for key, count in counts.items()}
    least = 1 if wanted >= len(counts) else 0
    given = {key: max(int(share), least) for key, share in exact.items()}
    # largest remainders get what is left; if the minimum took too much, the largest give back
    while sum(given.values()) < wanted:
        open_ = [key for key in counts if given[key] < counts[key]]
        given[max(open_, key=lambda key: exact[key] - given[key])] += 1
    while sum(given.values()) > wanted:
        rich = [key for key in counts if given[key] > least]
        given[min(rich, key=lambda key: exact[key] - given[key])] -= 1
    return given
