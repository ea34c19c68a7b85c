"""Plausibility of an arm's answers: what a gain rests on if an arm did not work.

The scores do not show it: an empty answer, an error message with HTTP 200 and the answer to the
next question all count as wrong. Answers of a model differ with their prompts. So an arm is
described by what many of its answers share, with ids and numbers taken out, that the other arm's
answers and the right answers do not share, and that earns nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from statistics import median

from tunegate.harness.contracts.further_arm import ARMS, PROMPTED, further_arm
from tunegate.harness.decision.answer_facts.alignment import (
    are_unrelated,
    misaligned,
    of_other_cases,
    permuted_labels,
)
from tunegate.harness.decision.answer_facts.answer_shapes import (
    MACHINE_KINDS,
    READ,
    WORD,
    Shape,
    has_digit,
    holds_prompt,
    plain_words,
    shapes_of,
    starts_with_error,
)
from tunegate.harness.decision.answer_facts.arm_answers import MOST_EMPTY, ArmAnswers, prompt_of
from tunegate.harness.decision.score_table import ScoreTable
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.telemetry.export.redaction import scrub_text

FEWEST = 10
"""Prompts below which nothing is checked."""
ONE_TEXT = 0.8
"""Share of the prompts above which one wrong text as the answer looks broken."""
NO_POINTS = 0.1
"""Mean score, as a share of the metric's range, up to which answers earn nothing."""
LITTLE = 0.25
"""Points that count as nothing, as a share of the other arm's on the same cases."""
LESS = 0.9
"""The same for answers that no model should give: they only have to cost something."""
STRIKING = {"error": 0.3, "garbled": 0.3, "marks": 0.8, "echo": 0.8}
"""Kind → share of answers from which an arm looks broken; small models do echo at times."""
TOLD = 0.05
"""Smallest share of such answers that is reported; fewer than three never are."""
SHARED = 0.5
"""Smallest share of answers with one beginning, end, length or shape that is reported."""
_USUAL = 0.05
"""A shape is usual in the suite if this share of the right answers has it."""
_TEMPLATE_WORDS = 4
"""Words besides ids that make a shape a template."""
_IDS = 0.9
"""From this share of different texts in one shape, its variable parts are ids, not answers."""


_OF_BASE = ("base", PROMPTED)
"""Arms that are base, whose answers `[base] expect` is about."""

_CasesOf = list[tuple[Shape, list[str]]]
"""Shapes with the cases whose answers have them, the most frequent first."""


@dataclass(frozen=True, slots=True)
class Oddity:
    """Something striking about an arm's answers."""

    arm: str
    form: str
    """The name that `[base] expect` gives if it is meant; "" if it cannot be meant."""
    text: str
    caps: bool = False
    """Whether nothing ships over it."""

    @property
    def sentence(self) -> str:
        """The oddity in words, with the way to say that it is meant."""
        if not self.caps:
            return self.text
        meant = self.arm in _OF_BASE and self.form
        remedy = f'; if that is meant: [base] expect = "{self.form}" in suite.toml' if meant else ""
        return f"{self.arm} looks broken: {self.text}{remedy}"


def oddities(table: ScoreTable, arms: Iterable[str] = ARMS) -> Iterator[Oddity]:
    """Yield what is striking about the answers of arms, at most one oddity that caps for each.

    An oddity that `[base] expect` names is reported, and does not cap.
    """
    for arm in arms:
        answers = table.answers.arms.get(arm)
        if answers is None or max(len(answers.texts), len(answers.picks)) < FEWEST:
            continue
        candidates = [_as_expected(table, odd) for odd in _oddities(table, arm, answers)]
        yield from sorted(candidates, key=lambda odd: not odd.caps)[:1]


def _as_expected(table: ScoreTable, odd: Oddity) -> Oddity:
    """Return an oddity that does not cap if the suite says that it is meant."""
    if odd.arm not in _OF_BASE or not odd.form or odd.form not in table.suite.base_expects:
        return odd
    return replace(odd, text=f"{odd.arm}: {odd.text} ([base] expects it)", caps=False)


def _oddities(table: ScoreTable, arm: str, answers: ArmAnswers) -> Iterator[Oddity]:
    if answers.empty > MOST_EMPTY * len(answers.texts):
        what = f"{answers.empty} of its {len(answers.texts)} answers are empty"
        yield Oddity(arm, "empty", f"{what}; look at how it was asked, and at its log", caps=True)
    shapes = _by_shape(answers)
    yield from _one_text(table, arm, answers, shapes)
    if permuted := permuted_labels(answers):
        # Of two labels, a model may mean the other one, such as one that agrees with its user.
        why = permuted.text if permuted.several else f"{arm}: {permuted.text}"
        yield Oddity(arm, "permuted labels", why, caps=permuted.several)
    for why, proven in misaligned(answers):
        yield Oddity(arm, "", why if proven else f"{arm}: {why}", caps=proven)
    if others := of_other_cases(answers):
        yield Oddity(arm, "answers of other cases", others, caps=True)
    yield from _shared_shapes(table, arm, answers, shapes)
    if are_unrelated(answers):
        yield Oddity(
            arm,
            "",
            f"the answers of {arm} have no more words of their own prompt than of another; are "
            "they of other cases?",
        )


def _one_text(
    table: ScoreTable, arm: str, answers: ArmAnswers, shapes: _CasesOf
) -> Iterator[Oddity]:
    """Yield that one text, or one template with ids, answers most prompts and is wrong."""
    n = len(answers.texts)
    same = Counter(answers.texts.values()).most_common(1)
    if same and same[0][1] > ONE_TEXT * n:
        cases = [case for case, text in answers.texts.items() if text == same[0][0]]
        text = answers.heads[cases[0]]
        if text and not _is_label(table, text) and _earns_nothing(table, arm, cases):
            why = (
                f"{text!r} is its answer to {len(cases)} of {n} prompts, and wrong; is it an error "
                "message?"
            )
            yield Oddity(arm, text, why, caps=True)
        return
    whole = [(text, cases) for (kind, text), cases in shapes if kind == "shape"]
    for shape, cases in whole[:1]:
        different = len({answers.texts[case] for case in cases})
        words = sum(not has_digit(word) for word in WORD.findall(shape))
        ids = words >= _TEMPLATE_WORDS and different >= _IDS * len(cases)
        # Where right answers have numbers, numbers in a template may be answers.
        numbers = any(has_digit(t) for c in table.cases.values() for t in c.expected_texts())
        if len(cases) > ONE_TEXT * n and ids and not numbers and _earns_nothing(table, arm, cases):
            why = (
                f"{len(cases)} of its {n} answers are `{shape}`, and wrong; is it an error message?"
            )
            yield Oddity(arm, shape, why, caps=True)


def _shared_shapes(
    table: ScoreTable, arm: str, answers: ArmAnswers, shapes: _CasesOf
) -> Iterator[Oddity]:
    """Yield the shape of an arm's answers that the other arm's and the right ones do not have."""
    other = table.answers.arms.get(_other(arm), ArmAnswers())
    others = Counter(chain.from_iterable(other.shapes.values()))
    usual = _usual_shapes(table)
    n, of = len(answers.texts), max(1, len(other.texts))
    shared: list[Oddity] = []
    expects = table.suite.base_expects if arm in _OF_BASE else ()
    for shape, all_cases in shapes:
        kind, text = shape
        cases = [
            case
            for case in all_cases
            if answers.heads[case] not in expects and answers.shapes[case][0][1] not in expects
        ]
        share = len(cases) / n
        machine = kind in MACHINE_KINDS
        if share < (TOLD if machine else SHARED) or len(cases) < 3:
            continue
        if 2 * others[shape] / of > share or usual[shape]:
            continue
        if not _earns_nothing(table, arm, cases, LESS if machine else LITTLE):
            continue
        odd = _as_oddity(arm, answers, shape, cases, (others[shape], other))
        if odd.caps:
            yield odd
        elif machine:
            shared.insert(0, odd)
        elif kind == "length" or len(WORD.findall(text.replace("#", ""))) >= 3:
            shared.append(odd)
        elif kind == "shape" and len({answers.texts[case] for case in cases}) == 1:
            shared += [odd] * (not _is_label(table, text))
    yield from shared[:1]


def _as_oddity(
    arm: str,
    answers: ArmAnswers,
    shape: Shape,
    cases: Collection[str],
    against: tuple[int, ArmAnswers],
) -> Oddity:
    """Return a shape in words, with how the arms' answers differ."""
    kind, text = shape
    (others, other), n = against, len(answers.texts)
    what = {
        "start": f"start with `{text}`",
        "end": f"end with `{text}`",
        "shape": f"are `{text}`",
        "length": f"are exactly {text} characters long",
        "garbled": "have broken characters",
        "marks": "have marks of a chat template",
        "inside": f"hold {text}",
        "echo": "repeat the prompt",
        "error": "are error messages",
    }[kind]
    case = next(iter(cases))
    example = answers.heads[case]
    if answers.lengths[case] > len(example):  # half an address would not be masked
        example = example.rpartition(" ")[0] or example
    example = scrub_text(example)
    quoted = f", such as {example!r}," if kind in MACHINE_KINDS else ""
    sizes = [
        f"{name} {len(set(of.texts.values()))} different, median {median(of.lengths.values()):.0f} "
        "characters"
        for name, of in ((arm, answers), (_other(arm), other))
        if of.lengths
    ]
    caps = kind in STRIKING and len(cases) >= STRIKING[kind] * n
    subject = (
        f"{len(cases)} of its {n} answers" if caps else f"{len(cases)} of {n} answers of {arm}"
    )
    earned = "score lower" if kind in STRIKING else "earn nothing"
    return Oddity(
        arm,
        MACHINE_KINDS.get(kind, text),
        f"{subject} {what}{quoted} and {earned}; {_other(arm)}: {others} ({'; '.join(sizes)})",
        caps=caps,
    )


def _by_shape(answers: ArmAnswers) -> _CasesOf:
    """Return each shape that several answers have with its cases, the most frequent first.

    An error message counts if others are the same but for ids, or begin with the same error: a
    model's sentence about a timeout is neither.
    """
    counts = Counter(chain.from_iterable(answers.shapes.values()))
    least = max(3, TOLD * len(answers.texts))
    cases_of: dict[Shape, list[str]] = {shape: [] for shape, n in counts.items() if n >= least}
    for case, shapes in answers.shapes.items():
        for shape in shapes:
            if shape not in cases_of:
                continue
            whole, start = shapes[:2]
            repeats = whole in cases_of or (
                start in cases_of and starts_with_error(answers.heads[case])
            )
            if shape[0] != "error" or repeats:
                cases_of[shape].append(case)
    return sorted(cases_of.items(), key=lambda item: -len(item[1]))


def _usual_shapes(table: ScoreTable) -> Counter[Shape]:
    """Return the shapes that right answers have, and how many; rare ones have 0."""
    counts: Counter[Shape] = Counter()
    cases = [case for case in table.cases.values() if case.expected_texts()][:READ]
    for case in cases:
        right, prompt = case.expected_texts()[0].strip(), prompt_of(case)
        counts.update(shapes_of(right, prompt))
        # Where a right answer is the prompt with some words changed, a poor one changes none.
        if holds_prompt(right, prompt, share=0.5):
            counts["echo", ""] += 1
    return Counter(
        {shape: count for shape, count in counts.items() if count >= _USUAL * len(cases)}
    )


def _is_label(table: ScoreTable, text: str) -> bool:
    """Return whether a text is, or contains, one of the few answers that the suite expects.

    If the suite expects only one answer, any text may be the other label.
    """
    words = _spaced(text)
    answers = [(*case.expected_texts(), *(case.choices or ())) for case in table.cases.values()]
    labels = {_spaced(answer) for several in answers for answer in several} - {"  "}
    closed = 2 * len(labels) <= len(table.cases)
    return (
        len(labels) == 1 or words in labels or (closed and any(label in words for label in labels))
    )


def _spaced(text: str) -> str:
    return f" {plain_words(text)} "


def _earns_nothing(
    table: ScoreTable, arm: str, cases: Collection[str], most: float = LITTLE
) -> bool:
    """Return whether answers have next to no points, or at most a share of the other arm's."""
    compared = {g.metric for g in table.suite.gates if not gate_kind(g.kind).reads_level}
    for metric in table.suite.metrics:
        if metric.name not in compared or metric.range is None:
            continue
        low, high = metric.range
        worst = low if metric.higher_is_better else high
        arm_values, other_values = (
            [v for case in cases if (v := table.value(metric.name, case, of)) is not None]
            for of in (arm, _other(arm))
        )
        points, others = (
            abs(sum(v) / len(v) - worst) if v else 0.0 for v in (arm_values, other_values)
        )
        if arm_values and points <= max(NO_POINTS * (high - low), most * others):
            return True
    return False


def _other(arm: str) -> str:
    """Return the arm that an arm's answers are compared with."""
    return "tuned" if arm == "base" or further_arm(arm).reference else "base"
