"""The metric contract: functions become metrics, options are checked, failures are unscored."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tunegate.harness.comparison.estimator import exact_mean
from tunegate.harness.contracts.metric import Metric, metric
from tunegate.harness.contracts.metric_loading import corpus_function, load_metric
from tunegate.harness.records.answers import CellKind, Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import MissingExtra, SuiteError, UnknownName
from tunegate.harness.records.scores import Score
from tunegate.harness.suite import load_suite

CASE = Case(id="a", prompt="p", expected="x")
ANSWER = Completion(text="x")


@pytest.fixture(name="own")
def _own(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return an importable module `own_metrics` for a user's functions."""
    module = ModuleType("own_metrics")
    monkeypatch.setitem(sys.modules, "own_metrics", module)
    return module


def loaded(use: str, **options: Any) -> Metric:
    """Load a metric as a suite does."""
    return load_metric(use, options, name="m", folder=Path(__file__).parent, where="s.toml:4")


def refused(use: str, **options: Any) -> list[str]:
    """Return the problems of a metric that does not load."""
    with pytest.raises(SuiteError) as caught:
        loaded(use, **options)
    return list(caught.value.problems)


def test_a_label_is_the_suites_or_that_of_a_metric_under_its_own_name() -> None:
    """Under another name it may measure something else; seven words are refused."""
    here = Path(__file__).parent
    own = load_metric("loops", {}, name="loops", folder=here, where="s.toml:4")

    assert own.label == "answers that loop"
    assert loaded("loops").label == ""
    assert loaded("loops", label="endless  answers").label == "endless answers"
    assert refused("loops", label="a b c d e f g") == [
        "s.toml:4: metric 'loops': label='a b c d e f g': write up to 6 words, such as 'valid JSON'"
    ]


def test_the_decorator_declares() -> None:
    """Name, range and direction stand in the metric; 0/1 scores have the range 0 to 1."""

    @metric(binary=True, higher_is_better=False, needs=CellKind.CHOICES, requires=("answer",))
    def loops(case: Case, completion: Completion) -> Score:
        return Score.of(1.0)

    assert (loops.name, loops.range, loops.bound) == ("loops", (0.0, 1.0), 1.0)
    assert (loops.binary, loops.higher_is_better) == (True, False)
    assert (loops.needs, loops.requires) == (CellKind.CHOICES, ("answer",))
    assert loops(CASE, ANSWER).value == 1.0


def test_a_plain_function_is_a_metric(own: ModuleType) -> None:
    """It reads the text, higher is better, its range is unknown; a bool is a score."""
    own.right = lambda case, completion: completion.text == case.expected
    found = loaded("own_metrics:right")

    assert (found.name, found.range, found.bound, found.higher_is_better) == ("m", None, None, True)
    assert found(CASE, ANSWER).value == 1.0
    assert found(CASE, Completion(text="y")).value == 0.0


def test_the_aggregate_of_a_metric_is_the_mean() -> None:
    """(1 + 2 + 6)/3 = 3."""
    assert exact_mean([1, 2, 6]) == 3


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (math.nan, "the metric returned nan, which is not a number"),
        (math.inf, "the metric returned inf, which is not a number"),
        (1e200, "the metric returned 1e+200, too large to be a measurement"),
        (None, "m failed: TypeError: float() argument must be"),
        ("high", "m failed: ValueError: could not convert string to float"),
        (Score.unscored("no idea"), "no idea"),
    ],
)
def test_what_is_no_score_is_unscored(own: ModuleType, result: Any, reason: str) -> None:
    """Never a silent 0: the case is unscored and says why."""
    own.odd = lambda case, completion: result
    score = loaded("own_metrics:odd")(CASE, ANSWER)

    assert score.value is None
    assert (score.reason or "").startswith(reason)


def test_an_exception_is_unscored_in_one_line(own: ModuleType) -> None:
    def fails(case: Case, completion: Completion) -> float:
        raise RuntimeError("half a \ud800 character\n" + "x" * 10_000)

    def rambles(case: Case, completion: Completion) -> float:
        raise RuntimeError("x" * 10_000)

    own.fails, own.rambles = fails, rambles
    assert loaded("own_metrics:fails")(CASE, ANSWER).reason == (
        "m failed: RuntimeError: half a \ufffd character"
    )
    assert len(loaded("own_metrics:rambles")(CASE, ANSWER).reason or "") < 400


def test_a_score_outside_the_declared_range_is_unscored(own: ModuleType) -> None:
    """It would break the statistics' bound; rounding at the end of the range does not count."""

    @metric(range=(0.0, 1.0))
    def share(case: Case, completion: Completion, *, value: float) -> Score:
        return Score.of(value)

    own.share = share
    assert loaded("own_metrics:share", value=1.5)(CASE, ANSWER).reason == (
        "m returned 1.5, outside its range of 0 to 1"
    )
    assert loaded("own_metrics:share", value=1 + 1e-15)(CASE, ANSWER).value is not None


def precision(sums: Sequence[float], *, floor: float, steps: int = 9) -> float:
    """Return a corpus value: found of said, at least `floor`."""
    found, said = sums
    return max(floor, found / said if said else 0.0)


@metric(binary=True, corpus=precision)
def names(
    case: Case, completion: Completion, *, floor: float = 0.1, word: str = "x", many: bool = True
) -> Score:
    """Score 1 for the word, with counts unless told otherwise."""
    found = completion.text == word
    return Score.of(float(found), counts=(float(found), 1.0) if many else None)


def test_a_metric_declares_its_corpus_function(own: ModuleType) -> None:
    own.names = names
    made = loaded("own_metrics:names", floor=0.2, word="y")

    assert (made.corpus, made.binary, made.range) == (precision, False, (0.0, 1.0))
    assert made.corpus_options == {"floor": 0.2}
    assert loaded("own_metrics:names").corpus_options == {"floor": 0.1}
    assert made(CASE, Completion(text="y")).counts == (1.0, 1.0)


def test_the_corpus_function_is_found_again(own: ModuleType) -> None:
    """By `use`, with the options that a manifest holds: 1 of 4, and the floor where it is lower."""
    own.names = names

    assert corpus_function("own_metrics:names", {"floor": 0.1})([1.0, 4.0]) == 0.25
    assert corpus_function("own_metrics:names", {"floor": 0.3})([1.0, 4.0]) == 0.3
    with pytest.raises(UnknownName, match="metric 'exact_match' has no corpus function"):
        corpus_function("exact_match", {})


def test_the_mean_can_be_asked_for_instead(own: ModuleType) -> None:
    """`aggregate = "mean"` leaves an ordinary metric, exact tests and all."""
    own.names = names
    made = loaded("own_metrics:names", aggregate="mean")

    assert (made.corpus, made.corpus_options, made.binary) == (None, None, True)
    assert loaded("own_metrics:names", aggregate="corpus").corpus is precision
    assert refused("own_metrics:names", aggregate="median") == [
        "s.toml:4: metric 'own_metrics:names': aggregate='median': write 'corpus' or 'mean'"
    ]
    assert "unknown option 'aggregate'" in refused("exact_match", aggregate="mean")[0]


def test_the_mean_may_be_a_metrics_default(own: ModuleType) -> None:
    """Accuracy beside macro-F1: the corpus value is asked for, and a check is told of it."""
    own.names = replace(names, aggregate="mean")

    assert loaded("own_metrics:names").corpus is None
    assert loaded("own_metrics:names", aggregate="corpus").corpus is precision


def test_a_corpus_score_without_counts_is_unscored(own: ModuleType) -> None:
    """Its level could not be made of it; as a mean it needs none."""
    own.names = names
    score = loaded("own_metrics:names", many=False)(CASE, ANSWER)

    assert score.value is None
    assert score.reason == "m returned no counts, which its level needs"
    assert loaded("own_metrics:names", many=False, aggregate="mean")(CASE, ANSWER).value == 1.0


def test_the_record_says_how_numbers_are_made(own: ModuleType, suite_folder: Any) -> None:
    def signature(used: Metric, cases: Sequence[Case]) -> str:
        return f"word:{used.options['word']}|n:{len(cases)}"

    own.names = replace(names, signature=signature)
    toml = (
        'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "own_metrics:names"\nword = "y"\n'
        '[[metrics]]\nuse = "exact_match"\n'
    )
    folder = suite_folder(toml, [{"id": "a", "prompt": "p", "expected": "y"}])
    corpus, plain = load_suite(folder).record().metrics

    assert (corpus.corpus, corpus.signature, corpus.binary) == ({"floor": 0.1}, "word:y|n:1", False)
    assert (plain.corpus, plain.signature, plain.binary) == (None, None, True)


def test_zero_tolerance_is_for_single_cases(own: ModuleType, suite_folder: Any) -> None:
    own.names = names
    toml = (
        'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "own_metrics:names"\n{}'
        '[[gates]]\nmetric = "names"\nfloor = 0.5\nfloor_mode = "zero_tolerance"\n'
    )
    cases = [{"id": "a", "prompt": "p"}]
    with pytest.raises(SuiteError, match=r"suite\.toml:7: floor_mode = zero_tolerance asks every"):
        load_suite(suite_folder(toml.format(""), cases))
    assert load_suite(suite_folder(toml.format('aggregate = "mean"\n'), cases)).gates


def test_a_check_may_raise_what_the_user_is_told(own: ModuleType, suite_folder: Any) -> None:
    def check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
        raise MissingExtra("the metric names", "metrics")

    own.names = replace(names, check=check)
    toml = 'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "own_metrics:names"\n'
    with pytest.raises(SuiteError) as caught:
        load_suite(suite_folder(toml, [{"id": "a", "prompt": "p"}]))
    (problem,) = caught.value.problems
    assert problem.endswith(
        "suite.toml:4: the metric names needs packages that are not installed: "
        "pip install 'tunegate[metrics]'"
    )


def test_an_unscored_score_must_say_why() -> None:
    with pytest.raises(ValueError, match="needs a reason"):
        Score()


def test_options_are_checked_by_their_annotations(own: ModuleType) -> None:
    """Right types pass (1 for 1.0, an array for a tuple), wrong ones are named with their value."""

    @metric()
    def picky(
        case: Case,
        completion: Completion,
        *,
        weight: float = 1.0,
        words: tuple[str, ...] = (),
        strict: bool = False,
        count: int = 1,
    ) -> Score:
        return Score.of(weight)

    own.picky = picky
    assert loaded("own_metrics:picky", weight=2, words=["a", "b"]).options == {
        "weight": 2.0, "words": ("a", "b"),
    }  # fmt: skip
    assert refused("own_metrics:picky", strict=1, count="2", wieght=1.0) == [
        "s.toml:4: metric 'own_metrics:picky': strict=1: Input should be a valid boolean",
        "s.toml:4: metric 'own_metrics:picky': count='2': Input should be a valid integer",
        "s.toml:4: metric 'own_metrics:picky': unknown option 'wieght'; did you mean 'weight'?",
    ]


def test_options_without_a_default_are_required(own: ModuleType) -> None:
    """A missing one is asked for at load, not at the first case."""

    @metric()
    def needy(case: Case, completion: Completion, *, word: str) -> Score:
        return Score.of(1.0)

    own.needy = needy
    assert refused("own_metrics:needy") == [
        "s.toml:4: metric 'own_metrics:needy' needs the option 'word'"
    ]


def test_paths_must_exist_beside_the_suite(own: ModuleType) -> None:
    """A path option arrives whole, or is refused by name, even with NUL in it."""

    @metric()
    def reads(case: Case, completion: Completion, *, file: Path | None = None) -> Score:
        return Score.of(1.0)

    own.reads = reads
    here = Path(__file__)
    assert loaded("own_metrics:reads", file=here.name).options == {"file": here}
    for missing in ("nowhere.txt", "a\0b", "."):
        assert "no such file" in refused("own_metrics:reads", file=missing)[0]


def test_plain_options_need_no_star(own: ModuleType) -> None:
    def longer(case, completion, than=3):  # type: ignore[no-untyped-def]  # a user's own
        return len(completion.text) > than

    own.longer = longer
    assert loaded("own_metrics:longer", than=0)(CASE, ANSWER).value == 1.0


def test_annotations_that_cannot_be_read_are_no_obstacle(own: ModuleType) -> None:
    def hidden(case: Nowhere, completion: Nowhere, *, n: Nowhere = 1) -> float:  # type: ignore[name-defined]  # noqa: F821  # the point of the test
        return float(n)

    own.hidden = hidden
    assert loaded("own_metrics:hidden", n=2)(CASE, ANSWER).value == 2.0


@pytest.mark.parametrize("attribute", ["text", "nothing", "one"])
def test_what_is_no_metric_function_is_refused(own: ModuleType, attribute: str) -> None:
    own.text, own.nothing, own.one = "x", lambda: 1.0, lambda completion: 1.0

    assert refused(f"own_metrics:{attribute}") == [
        f"s.toml:4: metric 'own_metrics:{attribute}' must be a function of 2 arguments and, after "
        "them, options by name"
    ]


def test_a_check_speaks_at_load(own: ModuleType, suite_folder: Any) -> None:
    """It sees the bound options and the cases; its problems carry the metric's line."""
    seen: list[Any] = []

    def check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
        seen.append((dict(options), [case.id for case in cases]))
        return ["the moon is full"]

    @metric(check=check)
    def moody(case: Case, completion: Completion, *, mood: str = "") -> Score:
        return Score.of(1.0)

    own.moody = moody
    toml = 'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "own_metrics:moody"\nmood = "x"\n'
    folder = suite_folder(toml, [{"id": "a", "prompt": "p"}])
    with pytest.raises(SuiteError, match=r"suite\.toml:4: the moon is full"):
        load_suite(folder)
    assert seen == [({"mood": "x"}, ["a"])]


def test_a_check_that_fails_is_the_metrics_problem(own: ModuleType, suite_folder: Any) -> None:
    def check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
        raise KeyError("oops")

    @metric(check=check, requires=("expcted",))
    def broken(case: Case, completion: Completion) -> Score:
        return Score.of(1.0)

    own.broken = broken
    toml = 'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "own_metrics:broken"\n'
    with pytest.raises(SuiteError) as caught:
        load_suite(suite_folder(toml, [{"id": "a", "prompt": "p"}]))
    assert "case 'a' has no 'expcted'" in caught.value.problems[0]
    assert "the check of metric 'broken' failed: KeyError: 'oops'" in caught.value.problems[1]


def test_unknown_metrics_are_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="unknown metric 'exact_mach'; did you mean"):
        loaded("exact_mach")
