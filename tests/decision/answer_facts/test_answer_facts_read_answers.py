"""What the texts show is read once; a run without its texts is decided exactly as with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.decided_suites import SuiteOfColumns, manifest_of, metric_record
from tunegate.harness.decision.verdict import likely_causes
from tunegate.harness.decision.verdict.redecide import decide_again, read_stored_answers
from tunegate.harness.records.answers import Cell, CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.files import record_json
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.run_folder import Run, RunCase
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.training_card import TrainingSummary
from tunegate.harness.records.verdict import VerdictRecord
from tunegate.harness.run.statement import decide_statement, make_statement

N = 60
TOLERANCE = Gate(metric="m", kind="tolerance", margin=0.05)
GAIN = Gate(metric="m", kind="gain", margin=0.05)
ENGLISH = [f"This is the answer that you asked for with number {i} of it" for i in range(N)]
GERMAN = [f"Das ist die Antwort {i} und sie ist nicht für alle mit der Frage" for i in range(N)]
WORDS = [f"word{i}" for i in range(N)]


@dataclass(frozen=True)
class Scenario:
    """What two models wrote to 60 prompts; tuned lost the first 30."""

    tuned: Sequence[str] = tuple(WORDS)
    base: Sequence[str] = tuple(ENGLISH)
    incumbent: Sequence[str] = ()
    prompt: str = "Where is shelf {}?"
    expected: Callable[[int], str | None] = lambda i: None
    tagged: int = 0
    cut: int = 0
    refusal: bool = False
    better: bool = False
    card: dict[str, Any] | None = None
    arms: dict[str, Any] | None = None

    def run(self) -> Run:
        """Return the run, decided with its texts."""
        lost = [1.0] * N, [0.0] * 30 + [1.0] * 30
        base, tuned = ([0.0] * N, [1.0] * N) if self.better else lost
        gate = GAIN if self.better else TOLERANCE
        suite = SuiteOfColumns((gate,), {"m": (base, tuned)}, (metric_record("m"),))
        texts = {"base": self.base, "tuned": self.tuned}
        if self.incumbent:
            texts["incumbent"] = self.incumbent
        cases = [
            Case(
                id=f"c{i:03}",
                prompt=self.prompt.format(i),
                expected=self.expected(i),
                tags=("refund",) if i < self.tagged else (),
            )
            for i in range(N)
        ]
        cells = [
            StoredAnswer(
                cell=Cell(suite="s", case=c.id, arm=arm, kind=CellKind.GENERATE, key=arm + c.id),
                status="ok",
                completion=Completion(
                    text=texts[arm][i],
                    finish_reason="length" if arm == "tuned" and i < self.cut else "stop",
                ),
            )
            for i, c in enumerate(cases)
            for arm in texts
        ]
        scores = [*suite.rows(), *self._further_scores(tuned)]
        arms = {arm: {"spec": arm} for arm in texts} | (self.arms or {})
        card = None if self.card is None else TrainingSummary(card=self.card)
        manifest = manifest_of([suite], arms=arms, training=card)
        undecided = VerdictRecord.model_construct(further_arms={})
        run = Run(
            Path("r"),
            manifest,
            {("s", c.id): RunCase(suite="s", case=c, where="x") for c in cases},
            cells,
            tuple(scores),
            undecided,
        )
        compared = {"incumbent": None} if self.incumbent else {}
        undecided = undecided.model_copy(update={"further_arms": compared})
        return replace(run, verdict=decide_again(replace(run, verdict=undecided)))

    def _further_scores(self, tuned: Sequence[float]) -> list[ScoreRow]:
        rows = []
        for i in range(N):
            case = f"c{i:03}"
            if self.incumbent:
                value = tuned[i]
                rows.append(
                    ScoreRow(suite="s", metric="m", case=case, arm="incumbent", value=value)
                )
            for arm in ("base", "tuned") if self.refusal else ():
                refused = float(arm == "base" or i >= 30)
                parts = {"refused": refused, "answered": 1 - refused}
                rows.append(
                    ScoreRow(
                        suite="s", metric="refusal", case=case, arm=arm, value=refused, parts=parts
                    )
                )
        return rows


ADAPTER = {"spec": "out", "backend": "hf", "adapter_config": {"peft_type": "LORA"}}
CAUSES = {
    "_diverged": ("diverged", Scenario(card={"method": "sft", "final_loss": 16.5})),
    "_never_ends": ("never ended", Scenario(cut=N)),
    "_says_nothing": ("says nothing", Scenario([""] * N)),
    "_refusals_changed": ("that base refuses", Scenario(refusal=True)),
    "_other_language": ("are in German", Scenario(GERMAN)),
    "_form_of_the_task": ("one form", Scenario([f'{{"intent": {i}}}' for i in range(N)])),
    "_became_short": ("26 % of the length", Scenario([f"{i} is the thing" for i in range(N)])),
    "_one_kind": ("'refund'", Scenario(ENGLISH, tagged=30)),
    "_by_heart": ("by heart", Scenario(ENGLISH, card={"method": "sft", "final_loss": 0.01})),
    "_part_may_ship": ("tunegate strength", Scenario(ENGLISH, arms={"tuned": ADAPTER})),
}
OTHERS = {
    "base is empty": Scenario(base=[""] * N, better=True),
    "base is an error message": Scenario(
        base=["HTTP 503"] * N, better=True, expected=lambda i: f"shelf {i}"
    ),
    "one label": Scenario(base=["no"] * N, better=True, expected=lambda i: "no" if i else "yes"),
    "base is shifted by a line": Scenario(
        base=[f"shelf{i + 1}" for i in range(N)], better=True, expected=lambda i: f"shelf{i}"
    ),
    "the prompts' own language": Scenario(
        ENGLISH, WORDS, prompt="What is the way to the town that you and {} are in?"
    ),
    "equal answers": Scenario(ENGLISH),
    "some empty answers": Scenario([*[""] * 9, *WORDS[9:]], expected=lambda i: ""),
    "a form with the goal reached": Scenario([f'{{"i": {i}}}' for i in range(N)], better=True),
    "the incumbent is broken": Scenario(incumbent=[""] * N, better=True),
    "the incumbent is tuned": Scenario(incumbent=WORDS, better=True),
}


def test_every_cause_is_planted_here() -> None:
    assert set(CAUSES) == {rule.__name__ for rule in likely_causes._RULES}


@pytest.mark.parametrize("name", CAUSES)
def test_a_cause_is_found_again_without_the_texts(name: str) -> None:
    words, scenario = CAUSES[name]
    run = scenario.run()

    assert any(words in cause for cause in run.verdict.suites[0].causes)
    assert record_json(decide_statement(make_statement(run), "f")) == record_json(run.verdict)


@pytest.mark.parametrize("name", OTHERS)
def test_what_else_the_texts_show_is_found_again_without_them(name: str) -> None:
    run = OTHERS[name].run()

    assert record_json(decide_statement(make_statement(run), "f")) == record_json(run.verdict)


def test_json_in_a_quarter_of_the_answers_needs_everyday_rows_and_no_weaker_adapter() -> None:
    records = [f'{{"intent": {i}}}' for i in range(15)]

    suite = Scenario(records + ENGLISH[15:], arms={"tuned": ADAPTER}).run().verdict.suites[0]

    assert suite.collapsed == "s: 15 of 60 answers of tuned start with `{`; base: 0"
    assert len(suite.causes) == 1
    assert "mix everyday rows into the training data" in suite.causes[0]


def test_what_decides_after_the_texts_were_read_has_none_of_them() -> None:
    for scenario in OTHERS.values():
        assert read_stored_answers(scenario.run())["s"].arms == {}


def test_a_form_that_no_sentence_quotes_is_not_in_the_statement() -> None:
    """Where tuned is better nobody is told of its form, which quotes an answer."""
    run = Scenario(["Dear Anna Smith, hello"] * N, better=True).run()
    shown = read_stored_answers(run)["s"].form

    assert shown is not None
    assert "Anna" in shown.form
    assert b"Anna" not in make_statement(run)
