"""Why a record is refused, in words, and many such problems as one."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tunegate.harness.records.problems import summarize_problems, validation_problem
from tunegate.harness.records.record import Record


class Parcel(Record):
    """A record with a record in it."""

    street: str
    weight: float = 1.0
    inner: Parcel | None = None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, "the key 'street' is missing"),
        ({"stret": "A"}, "unknown key 'stret'; did you mean 'street'?"),
        ({"street": "A", "colour": 1}, "unknown key 'colour'; there are: street, weight, inner"),
        ({"street": "A", "mass": 1}, "unknown key 'mass'; call it 'weight'"),
        ({"street": "A", "weight": "heavy"}, 'weight: "heavy": Input should be a valid number'),
        ({"street": "A", "inner": {}}, "inner: the key 'street' is missing"),
        (
            {"street": "A", "inner": {"street": "B", "x": 1}},
            "inner: unknown key 'x'; remove it",
        ),
        ({"street": 1, "weight": []}, "street: 1: Input should be a valid string; weight: []: "),
    ],
)
def test_a_problem_says_what_is_allowed(value: Any, said: str) -> None:
    """The key, the value, and the names there are; a misspelt key is not called missing, too."""
    with pytest.raises(ValidationError) as caught:
        Parcel.model_validate(value)

    problem = validation_problem(Parcel, caught.value, other_names={"mass": "weight"})
    assert problem.startswith(said)


def test_a_long_value_is_cut() -> None:
    with pytest.raises(ValidationError) as caught:
        Parcel.model_validate({"street": "A", "weight": "x" * 2_000_000})

    assert len(validation_problem(Parcel, caught.value)) < 200


def test_of_many_unknown_keys_three_are_named() -> None:
    """A line with 20,000 of them is refused in one that can be read."""
    with pytest.raises(ValidationError) as caught:
        Parcel.model_validate({"street": "A", **{f"x{n}": n for n in range(20_000)}})

    assert validation_problem(Parcel, caught.value).count("unknown key") == 3


def test_many_problems_of_a_kind_are_one() -> None:
    """Up to five are listed; of more the first and their number; other kinds stay apart."""
    few = [f"f:{n}: unknown key 'a'" for n in range(5)]
    many = [f"f:{n}: unknown key 'a{n}'" for n in range(300)]

    assert summarize_problems(few) == few
    assert summarize_problems([*many, "f:7: no text"]) == [
        "f:0: unknown key 'a0' (299 more rows like it)",
        "f:7: no text",
    ]
