"""The cases that carry a verdict: three that are typical of those that gained or lost on its gate.

They show at a glance what a gain rests on: the answers of a broken base, such as error messages,
marks of a template or the answers to other cases, look wrong to any reader.

The data choose them. The middle half of the gain, or loss, lies on cases that are sorted by the
answer of the arm that did worse; those at a sixth, a half and five sixths are shown. So a beginning
that more than a third of these answers share is among them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from tunegate.harness.contracts.quantity import format_scores
from tunegate.harness.decision.verdict.run_sentence import headline_gate
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.gates.contract.sentences import cases_against
from tunegate.harness.records.gate_results import GateResult, GateStatus
from tunegate.harness.records.hidden_text import escape_hidden
from tunegate.harness.records.verdict import Verdict
from tunegate.harness.records.wording import count_noun
from tunegate.harness.telemetry.export.redaction import scrub_text
from tunegate.reports.case_detail import compare_choices, turn_text
from tunegate.reports.case_view import BASE, TUNED, CaseView, PairScore
from tunegate.reports.data import ReportData, once_per_report

SHOWN = 3
"""Cases that are shown at most."""
READ = 600
"""Cases whose answers are read; of more, these are spread evenly over the plan."""
LONGEST = 20_000
"""Characters of a text that are looked at: half from its beginning, half from its end."""
ON_PAGE, ON_A_LINE = 200, 70
"""Characters of a text on the page, and on a line of a terminal."""
OFFENSIVE = frozenset({"refusal", "safety", "toxicity"})
"""Metrics of suites whose texts may be offensive.

Such texts open on a click. A log or a comment, which has no clicks, leaves them out.
"""

Scored = Sequence[tuple[CaseView, PairScore]]


@dataclass(frozen=True, slots=True)
class TypicalCase:
    """One case with its answers; a text is None where the run has none."""

    view: CaseView
    score: PairScore
    asked: str
    expected: str
    base: str | None
    tuned: str | None

    @property
    def name(self) -> str:
        """Its id, for a log or a comment."""
        return published(self.view.name, ON_PAGE)

    @property
    def scores(self) -> str:
        """Both scores: `0 → 100 %`."""
        base, tuned = (row.value if row else None for row in (self.score.base, self.score.tuned))
        return format_scores(base, tuned, rate=self.score.metric.rate)


@dataclass(frozen=True, slots=True)
class TypicalCases:
    """The cases that carry a verdict."""

    title: str
    """What they are typical of."""
    offensive: bool
    """Whether the suite has a metric that is `OFFENSIVE`."""
    reference: str
    """The arm that tuned is compared with."""
    cases: tuple[TypicalCase, ...]

    @property
    def silent(self) -> str:
        """What is said where the run has no text of either arm; else empty."""
        texts = [text for case in self.cases for text in (case.base, case.tuned)]
        if any(text is not None for text in texts):
            return ""
        return "The run holds scores and no answers, so no case shows what the verdict rests on"

    @property
    def closed(self) -> str:
        """What is said in place of the texts where nothing opens; empty if they are shown."""
        if self.silent or not self.offensive:
            return self.silent
        names = ", ".join(case.name for case in self.cases)
        return f"{self.title}: {names}; texts that may be offensive are in the report"


def typical_lines(data: ReportData) -> list[str]:
    """Return a title and a line a case for a terminal."""
    typical = typical_cases(data)
    if typical is None:
        return []
    if typical.closed:
        return [typical.closed]
    lines = [f"{typical.title}:"]
    for case in typical.cases:
        base, tuned = (published(text, ON_A_LINE) for text in (case.base, case.tuned))
        lines.append(f"  {case.name} ({case.scores}): {typical.reference}: {base} | tuned: {tuned}")
    return lines


@once_per_report  # page, summary, comment and terminal show them
def typical_cases(data: ReportData) -> TypicalCases | None:
    """Return the cases that carry the verdict of a run; None without a gate that scored any."""
    verdict = data.run.verdict
    headline = headline_gate(verdict.verdict, verdict.suites)
    if headline is None or verdict.verdict in (Verdict.ERROR, Verdict.NOT_COMPARABLE):
        return None
    suite, gate = headline
    words, worse_arm, scored = _cases_of(data, suite.name, gate)
    if not scored:
        return None
    metrics = [m for s in data.run.manifest.suites if s.name == suite.name for m in s.metrics]
    count, reference = count_noun(len(scored), "case"), gate.against or BASE
    chosen = _choose(scored, reference if worse_arm == BASE else worse_arm)
    return TypicalCases(
        title=f"Typical of {count} {words} on {gate.subject} of {suite.name}",
        offensive=any(metric.use in OFFENSIVE for metric in metrics),
        reference=reference,
        cases=tuple(_shown(view, score, reference) for view, score in chosen),
    )


def _cases_of(data: ReportData, suite: str, gate: GateResult) -> tuple[str, str, Scored]:
    """Return the cases that a gate's outcome rests on: in words, whose answer is worse, the cases.

    A goal, or a guardrail that holds, rests on the cases that moved as the mean did; a guardrail
    that does not hold, on those that speak against it, and first on those of them that lost.
    """
    kind = gate_kind(gate.kind)
    scored = [
        (view, score)
        for view, score in data.gate_scores(suite, gate)
        if score.change is not None and not view.left_out
        if view.case.counts_for(gate.tag)
    ]
    gained = [pair for pair in scored if (pair[1].change or 0) > 0]
    lost = [pair for pair in scored if (pair[1].change or 0) < 0]
    improved = (gate.delta or 0) * (1 if gate.higher_is_better else -1) > 0
    everything = ("with a score" if gained or lost else "with equal scores", TUNED, scored)
    up, down = ("that gained", BASE, gained), ("that lost", TUNED, lost)
    if kind.is_goal or gate.status is GateStatus.PASS:
        groups = [up, down] if improved else [down, up]
    else:
        contrary = [pair for pair in scored if _contradicts(gate, pair[1])]
        against = (cases_against(gate), TUNED, contrary)
        fell = [pair for pair in lost if _contradicts(gate, pair[1])]
        worst = (cases_against(gate, lost=True), TUNED, [] if improved else fell)
        groups = [worst, against, down]
    return next((group for group in groups if group[2]), everything)


def _contradicts(gate: GateResult, score: PairScore) -> bool:
    base, tuned = (row.value if row else None for row in (score.base, score.tuned))
    kind = gate_kind(gate.kind)
    return tuned is not None and kind.contradiction(gate, base, tuned) > 0


def _choose(scored: Scored, worse_arm: str) -> Scored:
    """Return the typical ones of some cases, by size of the change and by the worse answer."""
    sizes = sorted(abs(score.change or 0) for _, score in scored)
    sums = [*accumulate(sizes)]
    low, high = (sizes[bisect_left(sums, share * sums[-1])] for share in (0.25, 0.75))
    middle = [pair for pair in scored if low <= abs(pair[1].change or 0) <= high]
    middle = middle if len(middle) >= SHOWN else [*scored]
    middle = middle[:: (len(middle) - 1) // READ + 1]
    middle.sort(key=lambda pair: _one_line(_answer(pair[0], worse_arm) or "").casefold())
    places = ((2 * at + 1) * len(middle) // (2 * SHOWN) for at in range(SHOWN))
    return [middle[place] for place in dict.fromkeys(places)]


def _shown(view: CaseView, score: PairScore, reference: str) -> TypicalCase:
    case = view.case
    right = [] if case.answer is None else [choice.text for choice in compare_choices(view)]
    expected = right[case.answer or 0] if right else " / ".join(case.expected_texts())
    prompt = turn_text(case.input_messages()[-1])
    answers = (_answer(view, arm) for arm in (reference, TUNED))
    return TypicalCase(view, score, prompt, "" if view.is_code else expected, *answers)


def _answer(view: CaseView, arm: str) -> str | None:
    """Return what an arm wrote, or the choice that it holds most likely; None without either."""
    text = view.text(arm)
    if text is not None or arm not in (BASE, TUNED):
        return text
    at = (BASE, TUNED).index(arm)
    return next((choice.text for choice in compare_choices(view) if choice.picked[at]), None)


def excerpt(text: str | None, limit: int) -> str:
    """Return a text on one line, its middle left out beyond `limit` characters.

    The end stays, for that is where marks of a template are.
    """
    if text is None:
        return "–"
    line = _one_line(text) or "(empty)"
    end = limit // 4
    return line if len(line) <= limit else _shorten(line, limit - end - 3, end)


def published(text: str | None, limit: int) -> str:
    """Return the excerpt of a text that goes to a log or a comment, where others read it.

    Personal data and secrets are masked, and hidden characters written out.
    """
    return escape_hidden(excerpt(None if text is None else scrub_text(_cut(text)), limit))


def _one_line(text: str) -> str:
    return " ".join(_cut(text).split())


def _cut(text: str) -> str:
    half = LONGEST // 2
    return text if len(text) <= LONGEST else _shorten(text, half, half)


def _shorten(text: str, begin: int, end: int) -> str:
    return f"{text[:begin].rstrip()} … {text[-end:].lstrip()}"
