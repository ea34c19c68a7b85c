"""Cases on values: sixteen choices of which one is true, and the sample of them."""

from __future__ import annotations

from typing import Any

from tunegate.trainers.memorization.cases import memorization_cases
from tunegate.trainers.memorization.row_values import find_row_values


def rows(n: int) -> list[tuple[str, dict[str, Any]]]:
    return [
        (
            f"r.jsonl:{i}",
            {"prompt": f"Customer {'x' * (i % 7)}:", "completion": f" {8830000 + 7 * i} wrote."},
        )
        for i in range(1, n + 1)
    ]


def test_a_text_row_continues_without_a_space() -> None:
    made = memorization_cases(find_row_values(rows(3)), None, seed=0)

    case = made.cases[0]
    assert made.plain_text
    assert ("Customer x: ", "") == (case.prompt, case.delimiter)
    assert case.choices is not None
    assert "8830007" == case.choices[case.answer or 0]


def test_the_true_value_stands_at_any_place() -> None:
    made = memorization_cases(find_row_values(rows(200)), None, seed=0)

    assert set(range(16)) == {case.answer for case in made.cases}


def test_more_rows_than_are_needed_are_sampled() -> None:
    values = find_row_values(rows(20))
    made = memorization_cases(values, None, seed=0, sample=5)

    assert 5 == len(made.cases)
    assert {"a sample of the others is enough": 15} == made.left_out
    assert made == memorization_cases(values, None, seed=0, sample=5)
    assert made != memorization_cases(values, None, seed=1, sample=5)


def test_rows_with_the_same_value_are_one_cluster() -> None:
    twice = [*rows(2), ("r.jsonl:9", rows(1)[0][1])]

    clusters = [
        case.cluster for case in memorization_cases(find_row_values(twice), None, seed=0).cases
    ]

    assert clusters[0] == clusters[2] is not None
    assert clusters[1] is None
