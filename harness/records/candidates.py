"""Record of a comparison of candidates, as `tunegate compare --json` prints it."""

from __future__ import annotations

import operator
from typing import Any

from pydantic import Field

from tunegate.harness.records.record import SCHEMA_VERSION, Number, Record, Text, is_none
from tunegate.harness.records.verdict import SuiteResult, Verdict


class CandidateEffect(Record):
    """One number that candidates are ranked by, with its interval."""

    suite: str
    """Name of the suite."""
    metric: str
    """Name of the metric within it."""
    tag: Text | None = Field(default=None, exclude_if=is_none)
    """Tag of the cases compared; absent for all cases."""
    estimate: Number
    """An improvement over base, or the share of a tolerance that is used up."""
    low: Number
    """Lower end of its interval; None if it is open."""
    high: Number
    """Upper end, likewise."""
    bound: Number
    """Bound that the interval must clear."""
    rate: bool = Field(default=False, exclude_if=operator.not_)
    """Whether scores are between 0 and 1, so that texts show percent and points."""


class Candidate(Record):
    """One run of a comparison: a fine-tune, judged as one of several."""

    letter: str
    """Its name in the comparison: `A` is the run named first; a strength is its number, `0.5`."""
    run_id: str
    """Name of the run."""
    folder: Text
    """Its folder, as the user wrote it."""
    spec: Text
    """Model spec of the fine-tune."""
    identity: dict[str, Any]
    """The run's record of it: hashes, number format, engine."""
    alone: Verdict
    """How its own run ended, with one candidate."""
    verdict: Verdict
    """How it ends as one of several; never better than alone."""
    sentence: Text
    """The sentence that decided it."""
    suites: tuple[SuiteResult, ...]
    """Its gates, at the error level left by the number of candidates."""
    gain: CandidateEffect | None
    """Improvement over base by the first goal that counts; None if no goal counts."""
    forgetting: CandidateEffect | None
    """Share of its tolerance that the worst guardrail has used up; None without guardrails."""
    beaten_by: tuple[str, ...] = ()
    """Letters of the candidates that dominate it: they gain no less and forget no more, by the
    estimates, and one of the two is strict."""
    notes: tuple[Text, ...] = ()
    """Notes on the candidate."""


class PairwiseComparison(Record):
    """Two candidates compared on identical cases, by one metric."""

    suite: str
    """Name of the suite."""
    metric: str
    """Name of the metric within it."""
    tag: Text | None = Field(default=None, exclude_if=is_none)
    """Tag of the cases compared; absent for all cases."""
    first: str
    """Letter of the candidate named first."""
    second: str
    """Letter of the other one."""
    first_level: Number
    """Level of the first; None if no case is scored for both."""
    second_level: Number
    """Level of the second, likewise."""
    delta: Number
    """second − first."""
    low: Number
    """Lower end of the delta's interval."""
    high: Number
    """Upper end, likewise."""
    confidence: float
    """Two-sided confidence of this one interval, taken by itself."""
    higher_is_better: bool
    """Whether a positive delta speaks for the second."""
    rate: bool = Field(default=False, exclude_if=operator.not_)
    """Whether scores are between 0 and 1, so that texts show percent and points."""
    n: int
    """Cases that are scored for both."""
    method: str
    """The interval used."""
    p_value: Number
    """One-sided p-value of the better one's lead, by Holm over all comparisons and directions."""
    better: str | None
    """Letter of the one that is proven better; None if neither is."""
    noise: Number = None
    """Mean |difference| between base and base asked again, where arithmetic is inexact."""
    advisory: bool = False
    """Whether the scores may not decide, since they are an uncalibrated judge's or a hint's."""


class ComparedSuite(Record):
    """A suite that all candidates were judged on."""

    name: str
    """Its name in suite.toml."""
    hash: str
    """SHA-256 of its definition, cases and files."""
    n_cases: int
    """Its cases."""
    attempts: int
    """Candidates judged on it when the newest of these runs was made."""


class CandidateComparison(Record):
    """Which of several fine-tunes of one base may ship, and why."""

    schema_version: int = SCHEMA_VERSION
    """Version of the format."""
    verdict: Verdict
    """The chosen candidate's verdict, which sets the exit code."""
    chosen: str
    """Letter of the candidate that the rule, or the user, chose."""
    by_user: bool
    """Whether the user named it."""
    sentence: Text
    """The conclusion, with the sentence that decided it."""
    of: int
    """Number of candidates that share the error of each gate."""
    base: dict[str, Any]
    """The first run's record of base."""
    suites: tuple[ComparedSuite, ...]
    """In the order of the first run."""
    candidates: tuple[Candidate, ...]
    """In the order their runs were named."""
    duels: tuple[PairwiseComparison, ...]
    """Every pair of candidates on every gated metric."""
    notes: tuple[Text, ...] = ()
    """Notes on the comparison as a whole."""
    strengths: tuple[float, ...] = Field(default=(), exclude_if=operator.not_)
    """Strength of the adapter in each candidate, if they are one fine-tune at several strengths."""

    def candidate(self, letter: str) -> Candidate:
        """Return the candidate of a letter."""
        return next(one for one in self.candidates if one.letter == letter)
