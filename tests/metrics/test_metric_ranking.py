"""ndcg, mrr and recall, against scikit-learn and against all orders of tied candidates."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator, Sequence
from itertools import pairwise, permutations

import pytest

from tunegate.harness.contracts.metric import Metric
from tunegate.harness.metrics.mrr import mrr
from tunegate.harness.metrics.ndcg import ndcg
from tunegate.harness.metrics.recall import recall
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case

Ranking = tuple[Case, tuple[float, ...], int]


def make_case(right: int, wrong: int, grades: Sequence[float] | None = None) -> Case:
    return Case(
        id="q",
        prompt="query",
        positive=tuple(f"right {i}" for i in range(right)),
        negative=tuple(f"wrong {i}" for i in range(wrong)),
        grades=None if grades is None else tuple(grades),
    )


def score(metric: Metric, case: Case, scores: Sequence[float], k: int = 10) -> float:
    found = metric.score(case, Completion(candidate_scores=tuple(scores)), k=k).value
    assert found is not None
    return found


def rankings(count: int, most: int) -> Iterator[Ranking]:
    """Yield random rankings, many of them with ties and grades."""
    draw = random.Random(5)
    for _ in range(count):
        right, wrong = draw.randint(1, 3), draw.randint(1, most)
        grades = [float(draw.randint(1, 4)) for _ in range(right)] if draw.random() < 0.5 else None
        levels = draw.choice([1, 2, 3, 10_000])
        scores = tuple(float(draw.randrange(levels)) for _ in range(right + wrong))
        yield make_case(right, wrong, grades), scores, draw.choice([1, 2, 3, 10])


def test_ndcg_is_that_of_scikit_learn_with_ties_and_grades() -> None:
    ndcg_score = pytest.importorskip("sklearn.metrics").ndcg_score
    for case, scores, k in rankings(300, 20):
        relevance = [*(case.grades or [1.0] * len(case.positive or ()))]
        relevance += [0.0] * len(case.negative or ())

        wanted = ndcg_score([relevance], [scores], k=k)
        assert score(ndcg, case, scores, k) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("metric", [ndcg, mrr, recall], ids=lambda used: used.name)
def test_tied_candidates_count_as_the_mean_of_their_orders(metric: Metric) -> None:
    for case, scores, k in rankings(60, 3):
        places = range(len(scores))
        values = [
            score(metric, case, [-float(order.index(at)) for at in places], k)
            for order in permutations(places)
            if all(scores[a] >= scores[b] for a, b in pairwise(order))
        ]

        assert score(metric, case, scores, k) == pytest.approx(statistics.fmean(values), abs=1e-12)


@pytest.mark.parametrize(
    ("scores", "k", "values"),
    [
        # places of the relevant ones: 1 and 4; 2 and 3; 3 and 4
        ((9, 1, 8, 7), 3, (1 / (1 + 0.6309), 1, 0.5)),
        ((5, 4, 9, 1), 3, ((0.6309 + 0.5) / (1 + 0.6309), 0.5, 1)),
        ((2, 1, 9, 8), 3, (0.5 / (1 + 0.6309), 1 / 3, 0.5)),
        ((2, 1, 9, 8), 2, (0, 0, 0)),
    ],
)
def test_scores_by_hand(
    scores: Sequence[float], k: int, values: tuple[float, float, float]
) -> None:
    found = [score(metric, make_case(2, 2), scores, k) for metric in (ndcg, mrr, recall)]

    assert found == pytest.approx(values, abs=1e-4)


def test_rounding_takes_no_ndcg_above_1() -> None:
    assert score(ndcg, make_case(3, 20, [3, 3, 3]), [1.0] * 3 + [0.0] * 20, k=3) == 1.0


def test_equal_scores_gain_nothing_by_the_order_in_the_file() -> None:
    """Of sentence-transformers 6.2, RerankingEvaluator says MRR = 1 here, and the other one 0.1."""
    case = make_case(1, 9)

    assert score(mrr, case, [0.5] * 10) == pytest.approx(sum(1 / n for n in range(1, 11)) / 10)
    assert score(recall, case, [0.5] * 10, k=3) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("metric", "case", "k", "problem"),
    [
        (ndcg, make_case(1, 3), 0, "k=0: must be 1 or more"),
        (recall, make_case(1, 3), 4, "no case has more than 4 candidates"),
        (ndcg, make_case(2, 3, [1.0]), 10, "write a number above 0 for each of its 2 `positive`"),
        (mrr, make_case(1, 3, [0.0]), 10, "has grades=[0.0]"),
        (
            mrr,
            Case(id="q", prompt="p", positive=("a", "b"), negative=("b",)),
            10,
            "has 'b' in `positive` and in `negative`",
        ),
    ],
)
def test_cases_and_options_that_mean_nothing_are_refused(
    metric: Metric, case: Case, k: int, problem: str
) -> None:
    assert metric.check is not None
    [found] = metric.check({"k": k}, [case])

    assert problem in found


def test_scores_of_other_candidates_are_unscored() -> None:
    found = ndcg.score(make_case(1, 3), Completion(candidate_scores=(1.0, 2.0)))

    assert (found.value, found.reason) == (None, "2 scores for 4 candidates")
