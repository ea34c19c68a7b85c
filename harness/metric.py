"""The metric contract: a function from (case, completion) to a Score.

A metric keeps no state. Its options are keyword-only arguments that suite.toml sets, and what the
statistics need to know of it stands in the decorator:

    @metric(range=(0.0, 1.0))
    def exact_match(case, completion, *, ignore_case: bool = False) -> Score: ...

A plain function without the decorator works too (`use = "pkg.mod:fn"`): it reads the text, higher
is better, and its range is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness import lookup, options
from harness.records import Case, CellKind, Completion, Score

ScoreFunction = Callable[..., Score]
Check = Callable[[Mapping[str, Any], Sequence[Case]], Sequence[str]]


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean: the aggregate of every metric that declares no other."""
    return sum(values) / len(values)


@dataclass(frozen=True, slots=True)
class Metric:
    """A scoring function with what the statistics must know of it; calling it scores one case."""

    name: str
    """Its name in gates, verdict and report."""
    score: ScoreFunction
    needs: CellKind = CellKind.GENERATE
    """What the model is asked for it."""
    higher_is_better: bool = True
    range: tuple[float, float] | None = None
    """Smallest and largest possible value; None if unbounded."""
    binary: bool = False
    """Whether only 0 and 1 occur, which exact tests for proportions rest on."""
    aggregate: Callable[[Sequence[float]], float] = mean
    """Turns the scores of an arm into its number."""
    requires: tuple[str, ...] = ()
    """Fields a case must have, such as `expected`."""
    check: Check | None = None
    """Called once with the bound options and the cases when a suite is loaded; returns problems."""
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, case: Case, completion: Completion, **options: Any) -> Score:
        """Score one completion.

        An exception of the function, a result that is no number and one outside the declared range
        become an unscored case: none of them says anything about the model.
        """
        try:
            result = self.score(case, completion, **{**self.options, **options})
            score = result if isinstance(result, Score) else Score.of(float(result))
        except Exception as error:
            return Score.unscored(f"{self.name} failed: {_one_line(error)}")
        if self.range is None or score.value is None or _within(score.value, self.range):
            return score
        low, high = self.range
        return Score.unscored(
            f"{self.name} returned {score.value:g}, outside its range of {low:g} to {high:g}"
        )

    @property
    def bound(self) -> float | None:
        """Largest possible |difference| of two scores; None if unbounded."""
        return None if self.range is None else self.range[1] - self.range[0]


def metric(
    *,
    needs: CellKind = CellKind.GENERATE,
    higher_is_better: bool = True,
    range: tuple[float, float] | None = None,
    binary: bool = False,
    requires: tuple[str, ...] = (),
    check: Check | None = None,
) -> Callable[[ScoreFunction], Metric]:
    """Declare a scoring function as a metric; the arguments are the fields of `Metric`."""

    def declare(function: ScoreFunction) -> Metric:
        return Metric(
            name=function.__name__,
            score=function,
            needs=needs,
            higher_is_better=higher_is_better,
            range=(0.0, 1.0) if binary else range,
            binary=binary,
            requires=requires,
            check=check,
        )

    return declare


def load(use: str, settings: Mapping[str, Any], *, name: str, folder: Path, where: str) -> Metric:
    """Return the metric called `use` with its options checked and bound.

    Args:
        use: A name in `harness/metrics`, or `pkg.mod:fn`.
        settings: The other keys of the `[[metrics]]` table.
        name: What gates and reports call it.
        folder: The suite's folder: `Path` options are read relative to it.
        where: Place in the suite file, for messages.

    Raises:
        SuiteError: an option does not exist or has the wrong type, or `use` is no function of a
            case and a completion.
        UnknownName: nothing is called `use`.
    """
    found = lookup.find("harness.metrics", use, what="metric")
    base = found if isinstance(found, Metric) else Metric(name=name, score=found)
    place = f"{where}: metric {use!r}"
    bound = options.bind(base.score, settings, given=2, folder=folder, where=place)
    return replace(base, name=name, options=bound)


def _within(value: float, limits: tuple[float, float]) -> bool:
    slack = 1e-9 * (limits[1] - limits[0])
    return limits[0] - slack <= value <= limits[1] + slack


def _one_line(error: Exception) -> str:
    """Return the first line of an exception's message, cut to a length that fits a report."""
    line = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {line}"[:300]
