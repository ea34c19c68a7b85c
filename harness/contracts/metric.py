"""The metric contract: a function from (case, completion) to a Score.

A metric keeps no state. Its options are keyword-only arguments that suite.toml sets, and what the
statistics need to know of it is in the decorator:

    @metric(range=(0.0, 1.0))
    def exact_match(case, completion, *, ignore_case: bool = False) -> Score: ...

A plain function without the decorator works too (`use = "pkg.mod:fn"`): it reads the text, higher
is better, and its range is unknown.

An arm's level is the mean of its scores. A corpus metric (BLEU, macro-F1) is a function of sums
instead: its scores carry `counts`, and `corpus=` names the function of the summed counts. Scores of
single cases remain what the report lists.

    def precision(sums: Sequence[float]) -> float:
        found, said = sums
        return found / said if said else 0.0

    @metric(range=(0.0, 1.0), corpus=precision)
    def names(case, completion) -> Score: return Score.of(found / said, counts=(found, said))
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from tunegate.harness.contracts import lookup, options
from tunegate.harness.contracts.judge import Judge
from tunegate.harness.contracts.thoughts import no_answer_reason
from tunegate.harness.records.answers import CellKind, Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import (
    BackendError,
    SuiteError,
    UnknownName,
    error_summary,
    unknown_name_message,
)
from tunegate.harness.records.scores import LARGEST, Score

ScoreFunction = Callable[..., Score]
Check = Callable[[Mapping[str, Any], Sequence[Case]], Sequence[str]]
CorpusFunction = Callable[..., float]
"""From the sums of an arm's counts, and those of the metric's options that it names, to its level.

It must return a number for any sums that cases can have, those of a single one included, and needs
no library that a reader of a finished run may lack: the verdict is computed from stored counts.
"""
Aggregate = Literal["corpus", "mean"]
_REFERENCES = ("expected", "expected_calls", "choices")
"""Fields of a case that define a right answer."""
CONTENT_GAP = (
    "no gate that counts judges what the answers say, so that fluent nonsense would pass, and "
    "replayed traffic does not ship without one: gate resemblance to the recorded answers (as "
    "`tunegate replay` writes it), expected answers, or a calibrated judge such as pairwise"
)
"""A gap of a suite of replayed traffic, and its remedy."""
Signature = Callable[["Metric", Sequence[Case]], str]
LABEL_WORDS = 6
"""Words of a label at most: a headline has 25 for everything."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A scoring function with what the statistics must know of it; calling it scores one case."""

    name: str
    """Its name in gates, verdict and report."""
    score: ScoreFunction
    label: str = ""
    """What it measures in a few words, for headlines; empty takes the name's own words."""
    needs: CellKind = CellKind.GENERATE
    """The kind of request that it needs."""
    higher_is_better: bool = True
    range: tuple[float, float] | None = None
    """Smallest and largest possible value; None if unbounded."""
    binary: bool = False
    """Whether only 0 and 1 occur, which exact tests for proportions rest on."""
    corpus: CorpusFunction | None = None
    """Turns the summed counts of an arm into its level; None takes the mean of the scores."""
    aggregate: Aggregate = "corpus"
    """Which of the two is taken where both are possible and the suite chooses none."""
    heaviest: float | CorpusFunction = 6.0
    """How many cases of mean weight a single one may weigh in the corpus function, in an answer
    that no case showed: 1 where an answer's counts cannot grow with its length. A function returns
    it from the summed counts of an arm."""
    signature: Signature | None = None
    """Returns how exactly the numbers are made (versions, settings), for the record of a run."""
    requires: tuple[str, ...] = ()
    """Fields a case must have, such as `expected`."""
    check: Check | None = None
    """Called once with the bound options and the cases when a suite is loaded; returns problems.
    Where the corpus function makes the level, the options hold `aggregate` as `corpus`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    indicative: bool = False
    """Whether it is a hint for people, whose gates never reach the verdict."""
    judge: Judge | None = None
    """The judge that scores it, in a stage of its own; None where `score` does."""
    episodes: bool = False
    """Whether it scores episodes, which suites with the key `episode` play."""
    over_samples: Callable[[Sequence[float]], float] | None = None
    """Turns the scores of a case's samples into that of the case; None takes their mean."""
    least_samples: int = 1
    """Samples of a case that it cannot do without."""
    adapt: Callable[[Metric], Metric] | None = None
    """Returns the metric, its options bound, with the fields that they decide, such as `binary`."""
    judges_content: bool = False
    """Whether it compares an answer's content with a reference from its options; one of a case's
    own fields needs no declaration (`judges_content_of`)."""
    silent_without: str | None = None
    """A part of its scores. Where it is 0 in every score of base, base lacks the behaviour that the
    metric guards, and the metric and its gates are left out."""

    def __call__(self, case: Case, completion: Completion, **options: Any) -> Score:
        """Score one completion.

        An exception of the function, a result that is no number, one outside the declared range
        and one without the counts of a corpus metric become an unscored case: none of them is
        evidence about the model.

        Raises:
            BackendError: the function tried to end the process, or the test that it runs in.
        """
        try:
            result = self.score(case, completion, **{**self.options, **options})
            score = result if isinstance(result, Score) else Score.of(float(result))
            score = _with_reason(score, completion)
        except Exception as error:
            return Score.unscored(f"{self.name} failed: {error_summary(error)}")
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit, or pytest's skip and fail
            raise BackendError(
                f"metric {self.name!r} tried to end the run on case {case.id!r} "
                f"({error_summary(error)}); a metric returns a score, or raises an Exception where "
                "it has none"
            ) from error
        if self.corpus is not None and score.value is not None and not score.counts:
            return Score.unscored(f"{self.name} returned no counts, which its level is made of")
        if self.range is None or score.value is None or _within(score.value, self.range):
            return score
        low, high = self.range
        return Score.unscored(
            f"{self.name} returned {score.value:g}, outside its range of {low:g} to {high:g}"
        )

    @property
    def is_bundled(self) -> bool:
        """Whether its function is one of tunegate's own."""
        module = getattr(self.score, "__module__", None) or ""
        return module.partition(".")[0] == "tunegate"

    @property
    def needs_prompt_only(self) -> bool:
        """Whether it scores each answer to a prompt of which nothing else is known."""
        if self.requires or self.corpus is not None or self.needs is not CellKind.GENERATE:
            return False
        if self.episodes:
            return False
        bare = Case(id="bare", prompt="?")
        return self.check is None or not self.check(self.options, [bare])

    def judges_content_of(self, cases: Sequence[Case]) -> bool:
        """Return whether it separates an answer from a fluent one to another prompt, on all cases.

        Form alone (length, loops, JSON, a refusal) does not, nor does an empty reference, such
        as an empty list of calls. Judges and metrics of others are taken to.
        """
        if self.judges_content or self.judge is not None or not self.is_bundled:
            return True
        if self.needs in (CellKind.CHOICES, CellKind.ANSWER, CellKind.RECORDED):
            return True
        named = [name for name in self.requires if name in _REFERENCES]
        return bool(named) and all(getattr(case, name) for case in cases for name in named)

    @property
    def bound(self) -> float | None:
        """Largest possible |difference| of two scores; None if unbounded."""
        return None if self.range is None else self.range[1] - self.range[0]

    @property
    def corpus_options(self) -> dict[str, Any] | None:
        """The options that the corpus function names, defaults included; None without one."""
        if self.corpus is None:
            return None
        known = inspect.signature(self.score).parameters
        named = list(inspect.signature(self.corpus).parameters)[1:]
        return {n: self.options.get(n, known[n].default) for n in named if n in known}


def refuse_other_score(used: Metric, first: float | None, again: float | None, place: str) -> None:
    """Compare two scores of the same answer, `place`; None is unscored.

    Raises:
        BackendError: they differ by more than inexact arithmetic may.
    """
    if first is None or again is None:
        alike = first is again
    else:
        alike = abs(first - again) <= 1e-6 * (used.bound or max(abs(first), 1.0))
    if not alike:
        shown = ["no score" if one is None else f"{one:.6g}" for one in (first, again)]
        raise BackendError(
            f"metric {used.name!r} returned {shown[0]} and then {shown[1]} for the same {place}; a "
            "metric must be a function of the case and the answer alone: remove its state, or seed "
            "its chance by them"
        )


def metric(  # noqa: PLR0913  # each is a field of Metric, named where it is set
    *,
    label: str = "",
    needs: CellKind = CellKind.GENERATE,
    higher_is_better: bool = True,
    range: tuple[float, float] | None = None,
    binary: bool = False,
    requires: tuple[str, ...] = (),
    check: Check | None = None,
    corpus: CorpusFunction | None = None,
    aggregate: Aggregate = "corpus",
    heaviest: float | CorpusFunction = 6.0,
    signature: Signature | None = None,
    indicative: bool = False,
    episodes: bool = False,
    adapt: Callable[[Metric], Metric] | None = None,
    judges_content: bool = False,
    silent_without: str | None = None,
) -> Callable[[ScoreFunction], Metric]:
    """Declare a scoring function as a metric; the arguments are the fields of `Metric`."""

    def declare(function: ScoreFunction) -> Metric:
        return Metric(
            name=function.__name__,
            score=function,
            label=label,
            needs=needs,
            higher_is_better=higher_is_better,
            range=(0.0, 1.0) if binary else range,
            binary=binary,
            requires=requires,
            check=check,
            corpus=corpus,
            aggregate=aggregate,
            heaviest=heaviest,
            signature=signature,
            indicative=indicative,
            episodes=episodes,
            adapt=adapt,
            judges_content=judges_content,
            silent_without=silent_without,
        )

    return declare


def load_metric(
    use: str, settings: Mapping[str, Any], *, name: str, folder: Path, where: str
) -> Metric:
    """Return the metric called `use` with its options checked and bound.

    Args:
        use: A name in `harness/metrics` or `harness/judges`, or `pkg.mod:fn`.
        settings: The other keys of the `[[metrics]]` table. `range` bounds the scores of a metric
            that declares no bounds, and `label` names it in headlines. A metric with a corpus
            function knows `aggregate` too: `mean` takes the mean of its scores, `corpus` the
            function's value.
        name: What gates and reports call it.
        folder: The suite's folder: `Path` options are read relative to it.
        where: Place in the suite file, for messages.

    Raises:
        SuiteError: an option does not exist or has the wrong type, or `use` is no function of a
            case and a completion.
        UnknownName: nothing is called `use`.
    """
    found = _find(use)
    place = f"{where}: metric {use!r}"
    given = dict(settings)
    limits, label = _own_range(given, found, place), _own_label(given, found, place)
    if isinstance(found, Judge):
        count = 3 if found.pairs else 2
        bound = options.bind_options(found.steps, given, given=count, folder=folder, where=place)
        return replace(_metric_of_judge(replace(found, options=bound), name), label=label)
    base = found if isinstance(found, Metric) else Metric(name=name, score=found)
    corpus = base.corpus
    if corpus is not None and _aggregate(given, base.aggregate, place) == "mean":
        corpus = None
    bound = options.bind_options(base.score, given, given=2, folder=folder, where=place)
    # Exact tests count successes, of which a corpus value knows nothing.
    binary = base.binary and corpus is None
    limits = base.range if limits is None else limits
    # A metric that goes by another name measures something that its own words may not say.
    label = label or (base.label if name == base.name else "")
    own = replace(
        base, name=name, label=label, options=bound, corpus=corpus, binary=binary, range=limits
    )
    return own if base.adapt is None else base.adapt(own)


def _find(use: str) -> Any:
    """Return the metric, function or judge called `use`."""
    judges, metrics = (
        lookup.available_names("tunegate.harness.judges"),
        lookup.available_names("tunegate.harness.metrics"),
    )
    if use in judges and use in metrics:
        raise UnknownName(
            f"{use!r} is a metric and a judge; write one of them as 'package.module:function'"
        )
    if ":" in use or use in metrics:
        found = lookup.find_object("tunegate.harness.metrics", use, what="metric")
        if ":" in use:
            _OF_SUITES[use] = found
        return found
    if use in judges:
        return lookup.find_object("tunegate.harness.judges", use, what="judge")
    raise UnknownName(unknown_name_message(use, tuple(sorted({*judges, *metrics})), what="metric"))


_OF_SUITES: dict[str, Any] = {}
"""`pkg.mod:fn` → the user's own metric, of the suites that this process has loaded."""


def _recorded_metric(use: str) -> Any:
    """Return the metric that a record names; code is imported for a suite, never for a record.

    Raises:
        UnknownName: nothing is called `use`, or it is code of a suite that was not loaded.
    """
    if ":" not in use:
        return lookup.find_object("tunegate.harness.metrics", use, what="metric")
    if use not in _OF_SUITES:
        raise UnknownName(
            f"metric {use!r} is code of a suite, which is not run because a record names it; name "
            "the suite with --suite DIR"
        )
    return _OF_SUITES[use]


def _metric_of_judge(judge: Judge, name: str) -> Metric:
    """Return a judge as the metric it is to gates, verdict and report."""
    return Metric(
        name=name,
        score=_unjudged_score,
        higher_is_better=judge.higher_is_better,
        range=judge.range,
        requires=judge.requires,
        check=judge.problems,
        options=judge.options,
        judge=judge,
    )


def _unjudged_score(case: Case, completion: Completion, **options: Any) -> Score:
    """Leave a case unscored that no judge has seen."""
    return Score.unscored("no judge was asked")


def heaviest_case(use: str, *sums: Sequence[float]) -> float:
    """Return how many mean cases a case of the metric `use` may weigh; see `Metric.heaviest`.

    Args:
        use: The metric.
        sums: The summed counts of each arm; without them a function of the counts is not asked.

    Raises:
        UnknownName: nothing is called `use`.
    """
    found = _recorded_metric(use)
    weight = getattr(found, "heaviest", 1.0)
    if not callable(weight):
        return float(weight)
    return max((float(weight(counts)) for counts in sums), default=1.0)


def corpus_function(use: str, given: Mapping[str, Any]) -> Callable[[Sequence[float]], float]:
    """Return the corpus function of the metric `use` with its options, as a manifest has them.

    Raises:
        UnknownName: nothing is called `use`, or it has no corpus function.
    """
    found = _recorded_metric(use)
    if not isinstance(found, Metric) or found.corpus is None:
        raise UnknownName(f"metric {use!r} has no corpus function, which this run was judged by")
    return partial(found.corpus, **given)


def _own_range(
    settings: dict[str, Any], found: Metric | Judge | ScoreFunction, place: str
) -> tuple[float, float] | None:
    """Take `range` out of the settings, unless the function itself has an option of that name."""
    if not _is_free("range", settings, found):
        return None
    given = settings.pop("range")
    written = f"{place}: range={given}"
    declared = found.range if isinstance(found, Metric | Judge) else None
    if declared is not None:
        low, high = declared
        raise SuiteError([f"{written}: its scores are between {low:g} and {high:g}; remove range"])
    numbers = isinstance(given, list) and all(type(end) in (int, float) for end in given)
    if not numbers or len(given) != 2 or not -LARGEST <= given[0] < given[1] <= LARGEST:
        raise SuiteError([f"{written}: write the least and the largest score, such as [0, 400]"])
    return float(given[0]), float(given[1])


def _own_label(settings: dict[str, Any], found: Metric | Judge | ScoreFunction, place: str) -> str:
    """Take `label` out of the settings, unless the function itself has an option of that name."""
    if not _is_free("label", settings, found):
        return ""
    given = settings.pop("label")
    if not isinstance(given, str) or not given.strip() or len(given.split()) > LABEL_WORDS:
        raise SuiteError(
            [f"{place}: label={given!r}: write up to {LABEL_WORDS} words, such as 'valid JSON'"]
        )
    return " ".join(given.split())


def _is_free(key: str, settings: Mapping[str, Any], found: Metric | Judge | ScoreFunction) -> bool:
    """Return whether a setting is given that the function itself does not take."""
    function = found.steps if isinstance(found, Judge) else getattr(found, "score", found)
    return key in settings and key not in inspect.signature(function).parameters


def _aggregate(settings: dict[str, Any], default: str, place: str) -> str:
    """Take `aggregate` out of the settings of a metric with a corpus function."""
    value = settings.pop("aggregate", default)
    if value not in ("corpus", "mean"):
        raise SuiteError([f"{place}: aggregate={value!r}: write 'corpus' or 'mean'"])
    return str(value)


def _with_reason(score: Score, completion: Completion) -> Score:
    """Return a score of an answer that never came, with that as its reason unless it has one."""
    missing = no_answer_reason(completion)
    if missing is None or score.value is None or score.reason is not None:
        return score
    return score.model_copy(update={"reason": missing})


def _within(value: float, limits: tuple[float, float]) -> bool:
    slack = 1e-9 * (limits[1] - limits[0])
    return limits[0] - slack <= value <= limits[1] + slack
