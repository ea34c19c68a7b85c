"""Likely causes of a loss: planted in answers and training records, and found by their rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scipy.stats import hypergeom

from tests.decided_suites import metric_record
from tunegate.harness.contracts.further_arm import BASE_AGAIN
from tunegate.harness.decision.answer_facts.answer_counts import AnswerCounts
from tunegate.harness.decision.answer_facts.form_shift import FormShift
from tunegate.harness.decision.score_table import ScoreTable
from tunegate.harness.decision.verdict.likely_causes import _chance_of, find_causes, has_one_form
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.command_line import NO_ADDOPTS, PYTEST_QUIETLY
from tunegate.harness.records.gate_results import GateReason, GateResult, GateStatus
from tunegate.harness.records.manifest import Manifest, SuiteRecord
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.training_card import TrainingSummary

N = 40
ADAPTER = {
    "tuned": {"spec": "out/a", "backend": "hf", "adapter_config": {"peft_type": "LORA"}},
}


def gate(kind: str = "tolerance", status: GateStatus = GateStatus.FAIL, **more: Any) -> GateResult:
    fields: dict[str, Any] = {
        "id": f"m {kind}", "metric": "m", "kind": kind, "margin": 0.05, "status": status,
        "higher_is_better": True, "n": N, "confidence": 0.95, "method": "", "sentence": "",
        "reason": GateReason.REGRESSED,
    }  # fmt: skip
    return GateResult.model_construct(**{**GateResult.model_construct().__dict__, **fields, **more})


def suite(answers: AnswerCounts | None = None, lost: int = 10, tags: int = 0) -> ScoreTable:
    """Return a suite of N cases of which tuned lost the first; the first `tags` are tagged."""
    cases = {
        f"c{i}": Case(id=f"c{i}", prompt="p", tags=("refund",) if i < tags else ("other",))
        for i in range(N)
    }
    values = {}
    for i, name in enumerate(cases):
        for arm, value in (("base", 1.0), ("tuned", float(i >= lost))):
            values["m", name, arm] = ScoreRow(
                suite="s", metric="m", case=name, arm=arm, value=value
            )
    record = SuiteRecord.model_construct(
        name="s", path="suites/s", metrics=(metric_record(),), gates=(), n_cases=N
    )
    planned = frozenset((CellKind.GENERATE, name) for name in cases)
    return ScoreTable(record, cases, values, planned, answers=answers or AnswerCounts())


def manifest(**changes: Any) -> Manifest:
    given: dict[str, Any] = {
        "arms": {"tuned": {"spec": "out/a"}}, "suites": (), "training": None, "draft": False,
        "command": (),
    }  # fmt: skip
    return Manifest.model_construct(**(given | changes))


def causes(table: ScoreTable, *gates: GateResult, **changes: Any) -> tuple[str, ...]:
    return find_causes(table, gates or (gate(),), manifest(**changes))


def test_without_evidence_nothing_is_said() -> None:
    assert causes(suite()) == ()


def test_a_suite_whose_gates_hold_has_no_cause() -> None:
    cut = AnswerCounts(cut={"base": (0, N), "tuned": (N, N)})

    assert causes(suite(cut), gate(status=GateStatus.PASS)) == ()


def test_answers_that_never_end_point_to_the_end_of_turn() -> None:
    """EOS missing from the rows, or padding equal to it."""
    (said,) = causes(suite(AnswerCounts(cut={"base": (1, N), "tuned": (30, N)})))

    assert said.startswith("30 of 40 answers of tuned never ended, base: 1")
    assert "end a turn" in said


def test_a_few_more_cut_answers_point_to_nothing() -> None:
    assert causes(suite(AnswerCounts(cut={"base": (1, N), "tuned": (9, N)}))) == ()


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("are empty", "masked"),
        ("are in German", "another language"),
        ("are in Cyrillic script", "another language"),
        ("start with `{`", "everyday rows"),
    ],
)
def test_one_form_of_all_answers_points_to_the_rows(form: str, said: str) -> None:
    """Masked labels, rows of another language, and rows of one format."""
    found = causes(suite(AnswerCounts(form=FormShift(form, 0, 39, N))))

    assert said in found[0]


def test_the_form_of_the_task_is_no_cause_where_the_goal_is_reached() -> None:
    shifted = suite(AnswerCounts(form=FormShift("start with `{`", 0, 39, N)))

    assert causes(shifted, gate(), gate("gain", GateStatus.PASS)) == ()


def test_short_answers_are_named_with_their_length() -> None:
    (said,) = causes(suite(AnswerCounts(length_ratio=0.2)))

    assert "20 % of the length" in said


def test_losses_of_one_kind_are_named() -> None:
    (said,) = causes(suite(lost=10, tags=12))

    assert said.startswith(
        "10 of 10 lost cases have the tag 'refund', but only 12 of the 40 that could be lost"
    )


def test_losses_where_alone_base_was_right_are_not_of_one_kind() -> None:
    """Base is right on the tagged cases only, so every loss is there, whatever caused it."""
    table = suite(lost=12, tags=18)
    wrong = {
        key: replace(row, value=0.0) if int(key[1][1:]) >= 18 else row
        for key, row in table.values.items()
    }

    assert causes(replace(table, values=wrong)) == ()


def test_losses_of_all_kinds_are_not() -> None:
    table = suite(lost=20)
    mixed = {
        name: case.model_copy(update={"tags": ("refund",) if i % 2 else ("other",)})
        for i, (name, case) in enumerate(table.cases.items())
    }

    assert causes(replace(table, cases=mixed)) == ()


@pytest.mark.parametrize("form", ["are empty", "are in German"])
def test_empty_or_foreign_answers_are_not_the_form_of_a_task(form: str) -> None:
    assert len(causes(suite(AnswerCounts(form=FormShift(form, 0, 39, N))))) == 1


@pytest.mark.parametrize(
    ("base", "tuned", "said"),
    [
        ("refused", "answered", "tuned answers 20 prompts that base refuses"),
        ("answered", "refused", "tuned refuses 20 prompts that base answers"),
        ("refused", "neither", "tuned's answers are in English"),
    ],
)
def test_refusals_that_came_or_went_explain_another_form(base: str, tuned: str, said: str) -> None:
    """Base's refusals are too short to be of a language; gibberish is neither."""
    form = AnswerCounts(form=FormShift("are in English", 0, 39, N))

    (found,) = causes(with_refusals(suite(form, lost=20), base, tuned))

    assert found.startswith(said)


def with_refusals(table: ScoreTable, base: str, tuned: str) -> ScoreTable:
    """Return a suite where base acts as given in all cases, and tuned otherwise where it lost."""
    values = dict(table.values)
    for (_, case, arm), row in table.values.items():
        act = base if row.value else tuned
        parts = {part: float(part == act) for part in ("refused", "answered")}
        values["refusal", case, arm] = replace(row, metric="refusal", parts=parts)
    return replace(table, values=values)


def test_answers_instead_of_wrong_refusals_are_no_cause() -> None:
    table = with_refusals(suite(lost=20), "refused", "answered")
    better = {
        key: replace(row, value=1 - (row.value or 0)) if key[0] == "refusal" else row
        for key, row in table.values.items()
    }

    assert causes(replace(table, values=better)) == ()


@pytest.mark.parametrize("left_out", ["nothing", "tuned"])
def test_what_base_said_when_asked_again_hides_no_refusal(left_out: str) -> None:
    table = with_refusals(suite(lost=20), "refused", "answered")
    values = dict(table.values)
    for (name, case, arm), row in table.values.items():
        if arm == "base":
            values[name, case, BASE_AGAIN] = replace(row, arm=BASE_AGAIN)
    if left_out == "tuned":  # a case of which tuned has no score
        del values["refusal", "c39", "tuned"]

    (found,) = causes(replace(table, values=values))

    assert found.startswith("tuned answers 20 prompts that base refuses")


def test_a_form_of_some_answers_points_to_nothing() -> None:
    """Of Vicuna's 80 recorded answers 36 have a list, of Alpaca's 3: better answers, no overfit."""
    assert causes(suite(AnswerCounts(form=FormShift("have a list", 3, 36, 80)))) == ()


def test_lists_in_most_answers_are_a_habit_only_if_nearly_all_have_one() -> None:
    """Of a recording's instructions for harm 76 of 100 have one, and of base's refusals 46."""
    assert causes(suite(AnswerCounts(form=FormShift("have a list", 46, 76, 100)))) == ()
    assert causes(suite(AnswerCounts(form=FormShift("have a list", 46, 95, 100)))) != ()


def test_answers_in_the_language_of_the_cases_point_to_nothing() -> None:
    """Base's single words are of no language; tuned's sentences are."""
    form = FormShift("are in English", 0, 39, N)

    assert causes(suite(AnswerCounts(form=form, prompts_in_form=N))) == ()
    assert causes(suite(AnswerCounts(form=form))) != ()


@pytest.mark.parametrize(
    ("hits", "drawn", "tagged", "total"), [(3, 5, 10, 40), (0, 5, 10, 40), (7, 9, 12, 50)]
)
def test_the_chance_is_hypergeometric(hits: int, drawn: int, tagged: int, total: int) -> None:
    expected = hypergeom(total, tagged, drawn).sf(hits - 1)

    assert _chance_of(hits, drawn, tagged, total) == pytest.approx(expected)


def test_rows_known_by_heart_are_named_with_epochs_and_rate() -> None:
    """Forgetting by too many epochs, or by a rate too high."""
    card = {
        "method": "sft", "final_loss": 0.004, "rows": 60,
        "hyperparameters": {"num_train_epochs": 30, "learning_rate": 0.002},
    }  # fmt: skip
    (said,) = causes(suite(), training=TrainingSummary(card=card))

    assert "ended at 0.004 (60 rows, 30 epochs, a rate of 0.002)" in said


def test_a_diverged_training_is_named_with_its_rate() -> None:
    """The loss and rate of the demo's overcooked candidate."""
    card = {
        "method": "sft",
        "final_loss": 16.5,
        "rows": 750,
        "hyperparameters": {"learning_rate": 0.02},
    }

    (said,) = causes(suite(), training=TrainingSummary(card=card), arms=ADAPTER)

    assert said.startswith("the training loss ended at 16 at a rate of 0.02: it diverged")


def test_a_card_of_other_weights_is_not_believed() -> None:
    card = {"method": "sft", "final_loss": 0.004, "rows": 60}

    assert causes(suite(), training=TrainingSummary(card=card, why="of other weights")) == ()


@pytest.mark.parametrize(
    "card",
    [
        {"method": "grpo", "final_loss": 0.0},
        {"method": "dpo", "final_loss": 0.02},
        {"method": "classify", "final_loss": 12.0},
        {"method": "sft", "final_loss": 0.02, "hyperparameters": {"loss_type": "dft"}},
        {"method": "sft", "final_loss": True},
        {"method": "sft", "final_loss": 10**400},
    ],
)
def test_another_loss_than_one_a_token_says_nothing(card: dict[str, Any]) -> None:
    """GRPO's loss is 0 on average, and that of DPO falls to 0 as it should."""
    assert causes(suite(), training=TrainingSummary(card=card)) == ()


def test_a_record_of_another_program_breaks_nothing() -> None:
    card = {"method": "sft", "final_loss": 0.01, "rows": "many", "hyperparameters": ["lr"]}
    (said,) = causes(suite(), training=TrainingSummary(card=card))

    assert said.startswith("the training loss ended at 0.01: it knows its rows by heart")


def test_an_adapter_that_broke_a_guardrail_may_ship_in_part() -> None:
    suites = (replace_path("my suites/s"),)

    (said,) = causes(suite(), arms=ADAPTER, suites=suites)
    missed_goal = causes(suite(), gate("gain"), arms=ADAPTER, suites=suites)

    assert "`tunegate strength 'my suites/s' --tuned out/a`" in said
    assert missed_goal == ()


def test_strength_names_the_suites_as_the_command_did() -> None:
    suites = (replace_path("/home/me/project/suites/s/suite.toml"),)
    command = ("suites/s/suite.toml", *NO_ADDOPTS, *PYTEST_QUIETLY, "--gate-tuned=out/a")

    (said,) = causes(suite(), arms=ADAPTER, suites=suites, command=command)

    assert "`tunegate strength suites/s --tuned out/a`" in said


def test_an_adapter_that_learned_one_form_does_not_ship_in_part() -> None:
    """Half of it has the same form: the form is learned first."""
    one_form = suite(AnswerCounts(form=FormShift("start with `{`", 0, 39, N), length_ratio=0.1))
    run = manifest(arms=ADAPTER, suites=(replace_path("suites/s"),))

    assert has_one_form(one_form, (gate(),), run)
    assert not has_one_form(suite(), (gate(),), run)
    assert find_causes(suite(), (gate(),), run, collapsed=True) == ()
    (said,) = find_causes(one_form, (gate(),), run, collapsed=True)
    assert said.endswith("mix everyday rows into the training data: `tunegate help forgetting`")


@pytest.mark.parametrize(
    "changed",
    [
        {"backend": "classifier"},
        {"backend": "llama-server", "adapter_config": None},
        {"adapter_config": {"peft_type": "IA3"}},
        {"adapter_config": {"peft_type": "LORA", "use_dora": True}},
    ],
)
def test_what_strength_would_refuse_is_not_proposed(changed: dict[str, Any]) -> None:
    arms = {"tuned": ADAPTER["tuned"] | changed}

    assert causes(suite(), arms=arms, suites=(replace_path("suites/s"),)) == ()


def replace_path(path: str) -> SuiteRecord:
    return SuiteRecord.model_construct(name="s", path=path)


def test_at_most_two_causes_are_named() -> None:
    answers = AnswerCounts(
        cut={"base": (0, N), "tuned": (N, N)},
        form=FormShift("start with `{`", 0, 39, N),
        length_ratio=0.1,
    )

    assert len(causes(replace(suite(), answers=answers))) == 2
