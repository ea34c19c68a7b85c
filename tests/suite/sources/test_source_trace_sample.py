"""The draw from a stream: each stratum's share, whatever the order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tunegate.harness.suite.sources._replayed_call import ReplayedCall
from tunegate.harness.suite.sources._trace_sample import draw_calls, stratum_quotas

Counts = dict[tuple[str, ...], int]


def call(name: str, route: str) -> ReplayedCall:
    return ReplayedCall({"id": name}, None, {"route": route}, {}, name)


def test_shares_are_rounded_by_largest_remainder() -> None:
    """10 of 30, 15 and 5: 6, 3, 1. 10 of 5, 3 and 3: 4.55, 2.73, 2.73 → 4, 3, 3."""
    assert stratum_quotas({("a",): 30, ("b",): 15, ("c",): 5}, 10) == {
        ("a",): 6,
        ("b",): 3,
        ("c",): 1,
    }
    assert stratum_quotas({("a",): 5, ("b",): 3, ("c",): 3}, 10) == {
        ("a",): 4,
        ("b",): 3,
        ("c",): 3,
    }


def test_a_rare_stratum_gives_one_where_there_is_room() -> None:
    """One of a thousand is drawn too; with fewer places than strata the largest are."""
    assert stratum_quotas({("a",): 999, ("b",): 1}, 10) == {("a",): 9, ("b",): 1}
    assert stratum_quotas({("a",): 8, ("b",): 7, ("c",): 1}, 2) == {("a",): 1, ("b",): 1, ("c",): 0}


@given(
    st.dictionaries(st.tuples(st.text(max_size=2)), st.integers(1, 50), min_size=1, max_size=8),
    st.integers(0, 300),
)
def test_quotas_add_up_and_no_stratum_gives_more_than_it_has(counts: Counts, wanted: int) -> None:
    given_ = stratum_quotas(counts, wanted)

    assert sum(given_.values()) == min(wanted, sum(counts.values()))
    assert all(0 <= given_[key] <= counts[key] for key in counts)


def test_the_order_of_the_stream_does_not_matter() -> None:
    calls = [call(f"{n:03}", "ab"[n % 2]) for n in range(100)]

    forth = draw_calls(calls, 10, seed=3, by=["route"])
    back = draw_calls(calls[::-1], 10, seed=3, by=["route"])

    assert [c.where for c in forth] == [c.where for c in back[::-1]]
    assert [c.where for c in forth] == sorted(c.where for c in forth)
    assert sum(c.facets["route"] == "a" for c in forth) == 5
