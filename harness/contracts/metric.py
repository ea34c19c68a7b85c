"""The metric contract: a function from (case, completion) to a Score.

A metric keeps no state. Its options are keyword-only arguments that suite.toml sets; the decorator
declares the properties that the statistics need:

    @metric(range=(0.0, 1.0))
    def exact_match(case, completion, *, ignore_case: bool = False) -> Score: ...

A plain function without the decorator works, too (`use = "pkg.mod:fn"`): it scores the text, higher
is better, and its range is unknown.

An arm's level is the mean of its scores. The level of a corpus metric (BLEU, macro-F1) is a
function of sums instead: its scores carry `counts`, and `corpus=` is the function of their sums.
The report still lists the scores of single cases.

    def precision(sums: Sequence[float]) -> float:
        found, said = sums
        return found / said if said else 0.0

    @metric(range=(0.0, 1.0), corpus=precision)
    def names(case, completion) -> Score: return Score.of(found / said, counts=(found, said))
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tunegate.harness.contracts.judge import Judge
from tunegate.harness.contracts.reasoning import no_answer_reason
from tunegate.harness.records.answers import CellKind, Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import BackendError, error_summary
from tunegate.harness.records.scores import Score

ScoreFunction = Callable[..., Score]
Check = Callable[[Mapping[str, Any], Sequence[Case]], Sequence[str]]
CorpusFunction = Callable[..., float]
"""Turns the sums of an arm's counts, and the options that it names, into the arm's level.

It must return a number for any sums, even of a single case. It must not import optional libraries:
the verdict of a finished run is computed from stored counts.
"""
Aggregate = Literal["corpus", "mean"]
_REFERENCES = ("expected", "expected_calls", "choices", "positive")
"""Fields of a case that define a right answer."""
CONTENT_GAP = (
    "no gate that counts judges what the answers say, so that fluent nonsense would pass: gate a "
    "calibrated judge such as pairwise, expected answers or, on replayed traffic, resemblance to "
    "the recorded answers (as `tunegate replay` writes it)"
)
"""A gap of a suite with `replay = true`, and its remedy."""
HINT = "it is a hint for people, not a measurement: gate a calibrated judge instead"
"""Why gates on an indicative metric are advisory."""
Signature = Callable[["Metric", Sequence[Case]], str]


@dataclass(frozen=True, slots=True)
class Metric:
    """A scoring function with the properties that the statistics need; calling it scores a case."""

    name: str
    """Its name in gates, verdict and report."""
    score: ScoreFunction
    label: str = ""
    """What it measures, in a few words, for headlines; empty uses the name."""
    needs: CellKind = CellKind.GENERATE
    """The kind of request that it needs."""
    higher_is_better: bool = True
    range: tuple[float, float] | None = None
    """Smallest and largest possible value; None if unbounded."""
    binary: bool = False
    """Whether the only scores are 0 and 1, as exact tests for proportions require."""
    corpus: CorpusFunction | None = None
    """Turns the summed counts of an arm into its level; None takes the mean of the scores."""
    aggregate: Aggregate = "corpus"
    """Which of the two a suite uses by default, if both are possible."""
    heaviest: float | CorpusFunction = 6.0
    """How many average cases a single unseen case may weigh in the corpus function; 1 if counts
    cannot grow with an answer's length. A function computes it from the summed counts of an arm."""
    signature: Signature | None = None
    """Returns the exact definition of the numbers (versions, settings), for the record of a run."""
    requires: tuple[str, ...] = ()
    """Fields a case must have, such as `expected`."""
    check: Check | None = None
    """Called with the bound options and the cases when a suite is loaded; returns problems."""
    dry_run: Check | None = None
    """As `check`, but called by `suite check` and before a run asks: it may run programs in the
    sandbox. Raises SandboxFailed if that does not work."""
    caveats: Check | None = None
    """As `check`; returns notes on cases whose scores mean little."""
    options: Mapping[str, Any] = field(default_factory=dict)
    indicative: bool = False
    """Whether it is only a hint for people: its gates are advisory."""
    judge: Judge | None = None
    """The judge that scores it; None if `score` does."""
    votes: bool = False
    """Whether people score it, by votes on pairs of answers after the run."""
    training_rows: bool = False
    """Whether its cases are training rows on purpose: it measures what tuned remembers of them."""
    episodes: bool = False
    """Whether it scores episodes."""
    level_only: str = ""
    """Why gates may read its level and not the arms' difference; empty if they may read both."""
    probabilities: bool = False
    """Whether it needs the probabilities of a classifier's labels."""
    over_samples: Callable[[Sequence[float]], float] | None = None
    """Turns the scores of a case's samples into the case's score; None takes their mean."""
    least_samples: int = 1
    """Samples of a case that it needs."""
    adapt: Callable[[Metric], Metric] | None = None
    """Returns the metric with the fields that its bound options decide, such as `binary`."""
    judges_content: bool = False
    """Whether it compares an answer's content with a reference from its options; a reference in
    the case needs no declaration (`judges_content_of`)."""
    job: Callable[..., Any] | None = None
    """Takes what `score` takes; returns the `TestJob` that scoring runs in a sandbox, or None. The
    jobs of many answers run side by side."""
    only_if_base_has: str | None = None
    """A part of its scores. If it is 0 in every score of base, base lacks the behavior that the
    metric guards, and the metric's gates are left out."""

    def __call__(self, case: Case, completion: Completion, **options: Any) -> Score:
        """Score one completion.

        An exception, a result that is not a number or outside the range, and missing counts leave
        the case unscored: they are no evidence about the model.

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
                f"({error_summary(error)}); a metric returns a score, or raises an Exception if it "
                "has no score"
            ) from error
        if self.corpus is not None and score.value is not None and not score.counts:
            return Score.unscored(f"{self.name} returned no counts, which its level needs")
        if self.range is None or score.value is None or _within(score.value, self.range):
            return score
        low, high = self.range
        return Score.unscored(
            f"{self.name} returned {score.value:g}, outside its range of {low:g} to {high:g}"
        )

    @property
    def is_bundled(self) -> bool:
        """Whether its function is part of tunegate."""
        module = getattr(self.score, "__module__", None) or ""
        return module.partition(".")[0] == "tunegate"

    @property
    def compares_pairs(self) -> bool:
        """Whether it compares base's answer with tuned's instead of scoring each alone."""
        return self.votes or (self.judge is not None and self.judge.pairs)

    @property
    def needs_prompt_only(self) -> bool:
        """Whether it can score answers to a prompt without any reference."""
        if self.votes or self.requires or self.corpus is not None or self.episodes:
            return False
        if self.needs is not CellKind.GENERATE:
            return False
        bare = Case(id="bare", prompt="?")
        return self.check is None or not self.check(self.options, [bare])

    def judges_content_of(self, cases: Sequence[Case]) -> bool:
        """Return whether, on all cases, it tells an answer from a fluent one to another prompt.

        Form (length, loops, JSON, refusals) and empty references do not. Judges and other people's
        metrics are trusted to.
        """
        if self.judges_content or self.votes or self.judge is not None or not self.is_bundled:
            return True
        if self.needs in (CellKind.CHOICES, CellKind.ANSWER, CellKind.RECORDED):
            return True
        named = [name for name in self.requires if name in _REFERENCES]
        return bool(named) and all(getattr(case, name) for case in cases for name in named)

    @property
    def bound(self) -> float | None:
        """Largest possible |difference| between two scores; None if unbounded."""
        return None if self.range is None else self.range[1] - self.range[0]

    @property
    def corpus_options(self) -> dict[str, Any] | None:
        """The options that the corpus function names, including defaults; None without one."""
        if self.corpus is None:
            return None
        parameters = inspect.signature(self.score).parameters
        named = list(inspect.signature(self.corpus).parameters)[1:]
        return {n: self.options.get(n, parameters[n].default) for n in named if n in parameters}


def refuse_other_score(used: Metric, first: float | None, again: float | None, place: str) -> None:
    """Raise BackendError if two scores of one answer differ by more than inexact arithmetic may.

    Args:
        used: The metric.
        first: Its first score; None is unscored.
        again: Its second score.
        place: The answer, for the message.
    """
    if first is None or again is None:
        alike = first is again
    else:
        alike = abs(first - again) <= 1e-6 * (used.bound or max(abs(first), 1.0))
    if not alike:
        shown = ["no score" if score is None else f"{score:.6g}" for score in (first, again)]
        raise BackendError(
            f"metric {used.name!r} returned {shown[0]} and then {shown[1]} for the same {place}; a "
            "metric must depend only on the case and the answer: remove its state, or seed its "
            "random numbers by them"
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
    dry_run: Check | None = None,
    caveats: Check | None = None,
    corpus: CorpusFunction | None = None,
    aggregate: Aggregate = "corpus",
    heaviest: float | CorpusFunction = 6.0,
    signature: Signature | None = None,
    indicative: bool = False,
    votes: bool = False,
    training_rows: bool = False,
    episodes: bool = False,
    level_only: str = "",
    probabilities: bool = False,
    adapt: Callable[[Metric], Metric] | None = None,
    judges_content: bool = False,
    only_if_base_has: str | None = None,
    job: Callable[..., Any] | None = None,
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
            dry_run=dry_run,
            caveats=caveats,
            corpus=corpus,
            aggregate=aggregate,
            heaviest=heaviest,
            signature=signature,
            indicative=indicative,
            votes=votes,
            training_rows=training_rows,
            episodes=episodes,
            level_only=level_only,
            probabilities=probabilities,
            adapt=adapt,
            judges_content=judges_content,
            only_if_base_has=only_if_base_has,
            job=job,
        )

    return declare


def _with_reason(score: Score, completion: Completion) -> Score:
    """Return the score of an answer that never came with that as its reason."""
    missing = no_answer_reason(completion)
    if missing is None or score.value is None or score.reason is not None:
        return score
    return score.model_copy(update={"reason": missing})


def _within(value: float, limits: tuple[float, float]) -> bool:
    slack = 1e-9 * (limits[1] - limits[0])
    return limits[0] - slack <= value <= limits[1] + slack
