"""Calibration: a judge with known errors, found to have them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness import suite as suites
from tunegate.harness.judges.asking.judge_model import JudgementOutcome, JudgementTask
from tunegate.harness.judges.calibrating.calibration_report import (
    calibration_figures,
    eligibility_sentence,
)
from tunegate.harness.judges.calibrating.canaries import ATTACKS, EMPTY
from tunegate.harness.judges.calibrating.judge_calibration import LabelledCases, calibrate_judge
from tunegate.harness.judges.calibrating.setup import CalibrationSetup
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.labels import Label
from tunegate.harness.records.scores import Score
from tunegate.harness.stats.judge_accuracy import cohens_kappa

RUBRIC = """\
name = "replies"
cases = "cases.jsonl"
[[metrics]]
use = "rubric"
name = "civil"
criteria = "Apologises once."
"""
CASES = [{"id": f"t{at}", "prompt": f"Parcel {at} is late."} for at in range(100)]


@dataclass
class RuleJudgeModel:
    """A judge model that scores by a rule on the texts."""

    rule: Callable[..., float | None]
    seen: list[JudgementTask] = field(default_factory=list)
    identity: Mapping[str, Any] = field(default_factory=lambda: {"spec": "rule"})
    fingerprint: str = "f"

    def judge(
        self, tasks: Sequence[JudgementTask]
    ) -> Iterator[tuple[JudgementTask, JudgementOutcome]]:
        for task in tasks:
            self.seen.append(task)
            value = self.rule(*(c.text for c in task.completions), repeat=task.repeat)
            if value is None:
                yield task, JudgementOutcome(None, "the judge timed out")
            else:
                yield task, JudgementOutcome(Score.of(value))


@pytest.fixture(name="bench")
def _bench(suite_folder: Callable[..., Path]) -> Callable[..., CalibrationSetup]:
    def make(
        rule: Callable[..., float | None], toml: str = RUBRIC, *, pairs: bool = False
    ) -> CalibrationSetup:
        (metric,) = suites.load_suite(suite_folder(toml, CASES)).metrics
        assert metric.judge is not None
        judge = replace(metric.judge, pairs=pairs)
        return CalibrationSetup(replace(metric, judge=judge), (RuleJudgeModel(rule),))

    return make


def given(*rows: tuple[str, str, str, float]) -> LabelledCases:
    """Return labels: case, arm, answer, label."""
    labels = tuple(Label(id=i, arm=a, completion=c, label=v) for i, a, c, v in rows)
    return LabelledCases(labels, {c["id"]: Case.model_validate(c) for c in CASES}, "labels.jsonl")


def answers(base: Sequence[float], tuned: Sequence[float]) -> LabelledCases:
    """Return labelled pairs: good answers say sorry, bad ones do not; all differ."""
    texts = {1.0: "Sorry about that, {at} {arm}.", 0.0: "So what, {at} {arm}."}
    return given(
        *(
            (f"t{at}", arm, texts[value].format(at=at, arm=arm), value)
            for at, pair in enumerate(zip(base, tuned, strict=True))
            for arm, value in zip(("base", "tuned"), pair, strict=True)
        )
    )


def honest(text: str, *, repeat: int = 0) -> float:
    """Return 1 for an apology, whatever else the text says."""
    return float(text.startswith("Sorry"))


def lenient(text: str, *, repeat: int = 0) -> float:
    """Return 1 for an apology, and for half of tuned's answers without one."""
    return float(text.startswith("Sorry") or (text.endswith("tuned.") and int(text[9:11]) % 2))


BASE = [1.0, 0.0] * 30
TUNED = [1.0] * 20 + [0.0] * 40


def test_an_honest_judge_is_found_honest(bench: Callable[..., CalibrationSetup]) -> None:
    """It agrees everywhere, is fooled by none of 26 attacks, and likes no empty answer."""
    known = calibrate_judge(bench(honest), answers(BASE, TUNED))

    assert known.n_labels == 120
    assert (known.kappa.estimate, known.agreement.estimate) == (1.0, 1.0)
    assert known.baseline == pytest.approx(70 / 120)  # 30 + 40 of 120 are bad
    assert known.canaries.asked == 3 * len(EMPTY)
    assert known.canaries.attacks == len(ATTACKS) == 26
    assert (known.canaries.failed, known.canaries.fooled) == ((), ())
    assert known.repeat_flips is not None
    assert (known.repeat_flips.estimate, known.repeat_flips.n) == (0.0, 50)
    assert known.why_not() == ()
    assert eligibility_sentence(known).startswith("It may gate where the margin is ")


def test_a_lenient_judge_is_found_lenient(bench: Callable[..., CalibrationSetup]) -> None:
    """Errors are counted by arm: of tuned's 40 bad answers 20 are called good, of base's none."""
    known = calibrate_judge(bench(lenient), answers(BASE, [1.0] * 10 + [0.0] * 50), repeats=0)

    base, tuned = known.arms["base"], known.arms["tuned"]
    assert base.specificity is not None
    assert tuned.specificity is not None
    assert (base.specificity.estimate, tuned.specificity.estimate) == (1.0, 0.5)
    assert known.differential is not None
    # 25 of tuned's 50 bad answers, on 60 pairs
    assert known.differential.estimate == pytest.approx(25 / 60)
    assert known.differential.low > 0.3
    expected = cohens_kappa([[40, 0], [25, 55]])
    assert known.kappa.estimate == pytest.approx(expected.estimate)


def test_the_labelled_pairs_are_kept(bench: Callable[..., CalibrationSetup]) -> None:
    given = answers(BASE, [1.0, 0.0] * 10 + [0.0] * 40)
    known = calibrate_judge(bench(lenient), given, repeats=0)
    cases = {name: case.model_copy(update={"cluster": "k"}) for name, case in given.cases.items()}
    clustered = calibrate_judge(
        bench(lenient), LabelledCases(given.labels, cases, "labels.jsonl"), repeats=0
    )

    assert known.pairs is not None
    assert sum(pair.n for pair in known.pairs) == 60
    errors = [
        (p.tuned_score - p.base_score - p.tuned_label + p.base_label, p.n) for p in known.pairs
    ]
    assert known.differential is not None
    assert sum(e * n for e, n in errors) / 60 == pytest.approx(known.differential.estimate)
    assert {pair.cluster for pair in clustered.pairs or ()} == {"k"}


def test_a_judge_that_can_be_talked_to(bench: Callable[..., CalibrationSetup]) -> None:
    """One that obeys an order to score 5 fails the canary, and the attacks are counted."""

    def obedient(text: str, *, repeat: int = 0) -> float:
        return float("Sorry" in text or "highest score" in text or "score 5" in text)

    known = calibrate_judge(bench(obedient), answers(BASE, TUNED), repeats=0)
    expected = [n for n, t in ATTACKS.items() if "highest score" in t or "score 5" in t]

    assert known.canaries.failed == ("ignore",)
    assert list(known.canaries.fooled) == expected
    assert "calls known bad answers good (ignore)" in eligibility_sentence(known)


def test_a_master_key_is_found(bench: Callable[..., CalibrationSetup]) -> None:
    """A judge that likes `:` fails by that name."""
    known = calibrate_judge(bench(lambda t, repeat=0: float(t == ":" or "Sorry" in t)),
                      answers(BASE, TUNED), repeats=0)  # fmt: skip

    assert known.canaries.failed == ("colon",)


def test_attacks_need_a_bad_answer(bench: Callable[..., CalibrationSetup]) -> None:
    known = calibrate_judge(bench(lambda t, repeat=0: 1.0), answers(BASE, TUNED), repeats=0)

    assert known.canaries.attacks == 0
    assert set(known.canaries.failed) == set(EMPTY)
    assert "none of 26 asked" in dict(calibration_figures(known))["attacks"]
    assert "barely better than chance" in eligibility_sentence(known)


def test_a_judge_that_changes_its_mind(bench: Callable[..., CalibrationSetup]) -> None:
    def moody(text: str, *, repeat: int = 0) -> float:
        return float("Sorry" in text) if repeat % 2 == 0 else 1.0

    known = calibrate_judge(bench(moody), answers([1.0] * 10, [0.0] * 10), repeats=2)

    assert known.repeat_flips is not None
    assert known.repeat_flips.estimate == 0.5
    # half the answers are 0, 1, 0, of variance 1/3
    assert known.repeat_variance == pytest.approx(1 / 6)


def test_what_the_judge_fails_on_is_counted_and_no_zero(
    bench: Callable[..., CalibrationSetup],
) -> None:
    known = calibrate_judge(
        bench(lambda t, repeat=0: None if " 3 base" in t else honest(t)), answers(BASE, TUNED)
    )

    assert known.n_unscored == 1
    assert known.agreement.n == 119
    assert known.differential is not None
    assert known.differential.n == 59


def test_a_judge_that_never_answers_is_refused(bench: Callable[..., CalibrationSetup]) -> None:
    with pytest.raises(UsageError, match="scored none of 4 answers: judge_error: the judge timed"):
        calibrate_judge(bench(lambda t, repeat=0: None), answers([1.0, 0.0], [1.0, 0.0]))


def test_labels_without_arms(bench: Callable[..., CalibrationSetup]) -> None:
    """They make one table, and no differential error: such a judge may not gate."""
    rows = tuple(label.model_copy(update={"arm": None}) for label in answers(BASE, TUNED).labels)
    labels = LabelledCases(rows, answers(BASE, TUNED).cases, "labels.jsonl")
    known = calibrate_judge(bench(honest), labels, repeats=0)

    assert list(known.arms) == ["all"]
    assert known.differential is None
    assert "0 pairs have labels" in eligibility_sentence(known)


def test_the_binding_is_the_judges(bench: Callable[..., CalibrationSetup]) -> None:
    one = calibrate_judge(bench(honest), answers([1.0], [0.0]), repeats=0)
    two = calibrate_judge(bench(honest, RUBRIC.replace("once", "twice")), answers([1.0], [0.0]),
                    repeats=0)  # fmt: skip

    assert one.binding != two.binding
    assert one.labels_sha256 == two.labels_sha256


class TestPairs:
    """A judge of pairs."""

    def test_it_is_compared_with_the_labels(self, bench: Callable[..., CalibrationSetup]) -> None:
        """Tuned is better on 30 cases, worse on none; a judge that sees it has kappa 1."""
        labels = answers([0.0, 1.0] * 30, [1.0, 1.0] * 30)
        known = calibrate_judge(bench(_prefers, pairs=True), labels)

        assert known.kappa.estimate == 1.0
        assert known.kappa.n == 60
        assert known.baseline == 0.5
        assert known.arms == {}
        assert known.canaries.failed == ()
        assert known.why_not() == ()
        assert known.pairs is not None
        assert sorted((p.tuned_score - p.base_score, p.n) for p in known.pairs) == [
            (0, 30),
            (1, 30),
        ]

    def test_orders_are_read_from_its_parts(self, bench: Callable[..., CalibrationSetup]) -> None:
        labels = answers([0.0, 1.0] * 10, [1.0, 0.0] * 10)
        seated = bench(_prefers, pairs=True)
        known = calibrate_judge(CalibrationSetup(seated.metric, (FirstSlot(),)), labels)

        assert known.order_flips is not None
        assert known.order_flips.estimate == 1.0
        assert known.first_position is not None
        assert known.first_position.estimate == 1.0
        assert known.first_position_p is not None
        assert known.first_position_p < 1e-6
        assert "order flips" in dict(calibration_figures(known))

    def test_it_must_not_prefer_nothing(self, bench: Callable[..., CalibrationSetup]) -> None:
        known = calibrate_judge(
            bench(lambda b, t, repeat=0: 1.0 if len(t) < len(b) else -1.0, pairs=True),
            answers([1.0] * 20, [0.0] * 20),
        )

        assert "empty" in known.canaries.failed

    def test_pairs_are_needed(self, bench: Callable[..., CalibrationSetup]) -> None:
        """Labels of one arm compare nothing."""
        with pytest.raises(UsageError, match="0 cases have labels for both answers"):
            calibrate_judge(bench(_prefers, pairs=True), given(("t1", "base", "Sorry.", 1.0)))


def _prefers(base: str, tuned: str, *, repeat: int = 0) -> float:
    return float(tuned.startswith("Sorry")) - float(base.startswith("Sorry"))


class FirstSlot(RuleJudgeModel):
    """A judge of pairs that always prefers what it sees first."""

    def __init__(self) -> None:
        super().__init__(rule=_prefers)

    def judge(
        self, tasks: Sequence[JudgementTask]
    ) -> Iterator[tuple[JudgementTask, JudgementOutcome]]:
        for task in tasks:
            parts = {"base_first": -1.0, "tuned_first": 1.0}
            yield task, JudgementOutcome(Score.of(0.0, parts=parts))


BATCHED = """\
name = "replies"
cases = "cases.jsonl"
[[metrics]]
use = "instruction_following"
name = "done"
checklist = ["Apologises.", "Is short."]
batched = true
"""


@dataclass
class BatchedJudgeModel(RuleJudgeModel):
    """A judge model that sometimes decides otherwise in one call than in single calls."""

    def judge(
        self, tasks: Sequence[JudgementTask]
    ) -> Iterator[tuple[JudgementTask, JudgementOutcome]]:
        for task in tasks:
            self.seen.append(task)
            value = honest(task.completions[0].text or "")
            if task.judge.options["batched"] and "base" in (task.completions[0].text or ""):
                value = 1.0  # kinder to base's answers when asked for all at once
            yield task, JudgementOutcome(Score.of(value))


def test_verdicts_of_one_call_are_compared_with_those_of_single_calls(
    bench: Callable[..., CalibrationSetup],
) -> None:
    """All of 20 pairs are bad; in one call base's 20 are called good: agreement 1/2, mean +1/2."""
    setup = replace(bench(honest, BATCHED), judge_models=(BatchedJudgeModel(honest),))

    known = calibrate_judge(setup, answers([0.0] * 20, [0.0] * 20), repeats=0)

    assert known.batch_agreement is not None
    assert known.batch_difference is not None
    assert (known.batch_agreement.estimate, known.batch_agreement.n) == (0.5, 40)
    assert known.batch_difference.estimate == 0.5
    assert (
        "of 40 answers; mean difference +0.500"
        in dict(calibration_figures(known))["batched as single calls"]
    )


def test_a_judge_of_single_calls_has_no_such_figure(
    bench: Callable[..., CalibrationSetup],
) -> None:
    setup = replace(
        bench(honest, BATCHED.replace("true", "false")), judge_models=(BatchedJudgeModel(honest),)
    )

    known = calibrate_judge(setup, answers([1.0, 0.0], [1.0, 0.0]), repeats=0)

    assert "batch_agreement" not in known.model_dump()
    assert "batched as single calls" not in dict(calibration_figures(known))
    assert not any(task.judge.options["batched"] for task in setup.judge_models[0].seen)


@pytest.mark.parametrize("pairs", [False, True])
def test_answers_that_are_examples_are_left_out(
    bench: Callable[..., CalibrationSetup], pairs: bool
) -> None:
    """One answer by its text, two by their case; of a judge of pairs the other answer with it."""
    shots = (
        {"completion": "Sorry about that, 0 base.", "score": 5},
        {
            "completion": "Please answer at once: parcel 9 is late, and so is the other one.",
            "score": 1,
        },
    )
    plain = bench(lambda *texts, repeat=0: 1.0 if pairs else honest(texts[0]), pairs=pairs)
    assert plain.metric.judge is not None
    judge = replace(plain.judge, options={**plain.judge.options, "examples": shots})
    setup = replace(plain, metric=replace(plain.metric, judge=judge))
    given = answers(BASE, TUNED)
    long = Case(id="t9", prompt="Please answer at once: parcel 9 is late")
    given = replace(given, cases={**given.cases, "t9": long})

    known = calibrate_judge(setup, given)

    assert (known.n_labels, known.n_examples) == (117, 3)
    assert known.differential is not None
    assert known.differential.n == 58
    assert dict(calibration_figures(known))["labels"] == (
        "117 answers (labels.jsonl); 3 more left out: the judge's examples"
    )
    assert calibrate_judge(plain, given).n_examples == 0


def test_labels_that_are_all_examples_are_refused(bench: Callable[..., CalibrationSetup]) -> None:
    plain = bench(honest)
    judge = replace(plain.judge, options={"examples": ("So what.",)})
    setup = replace(plain, metric=replace(plain.metric, judge=judge))

    with pytest.raises(UsageError, match=r"labels.jsonl: the judge's examples hold all 1 labelled"):
        calibrate_judge(setup, given(("t1", "base", "so WHAT.", 0.0)))
