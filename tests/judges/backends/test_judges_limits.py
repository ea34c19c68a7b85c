"""Limits in a judge's spec: read, checked, and no part of who the judge is."""

from __future__ import annotations

import pytest

from tunegate.harness.judges.backends._limits import USUAL, split_limits
from tunegate.harness.judges.backends.server import server
from tunegate.harness.records.errors import ModelError, UsageError


@pytest.mark.parametrize(
    ("target", "left", "changed"),
    [
        ("openai/gpt-4o", "openai/gpt-4o", {}),
        ("openai/gpt-4o?concurrency=4", "openai/gpt-4o", {"concurrency": 4}),
        (
            "http://h/v1?rpm=30&deadline=2.5#m",
            "http://h/v1#m",
            {"requests_per_minute": 30.0, "deadline_s": 2.5},
        ),
        ("m?tpm=1e5&attempts=2", "m", {"tokens_per_minute": 1e5, "attempts": 2}),
    ],
)
def test_limits_are_taken_out_of_the_spec(
    target: str, left: str, changed: dict[str, float]
) -> None:
    """What is not named is as usual: 16 at once, 120 seconds, no rate."""
    place = split_limits("server", target)

    names = ("concurrency", "deadline_s", "attempts", "requests_per_minute", "tokens_per_minute")
    assert place.target == left
    assert {n: getattr(place.limits, n) for n in names} == {
        **{n: getattr(USUAL, n) for n in names},
        **changed,
    }


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("m?conurrency=4", "did you mean 'concurrency'"),
        ("m?rpm=many", "rpm='many' is not a number"),
        ("m?concurrency=2.5", "concurrency='2.5' is not a number"),
        ("m?", "unknown setting ''"),
    ],
)
def test_a_wrong_setting_is_told(target: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        split_limits("litellm", target)


def test_a_limit_out_of_range_is_told() -> None:
    with pytest.raises(UsageError, match="concurrency=0 must be"):
        split_limits("litellm", "m?concurrency=0")


def test_limits_are_no_part_of_the_judge() -> None:
    plain, gentle = server("http://h/v1#m"), server("http://h/v1?concurrency=2#m")

    assert gentle.limits.concurrency == 2
    assert gentle.fingerprint == plain.fingerprint
    assert gentle.identity == plain.identity
