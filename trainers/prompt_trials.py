"""Prompt trials: base with other prompts, which may reach the suite's floors without a training.

Each trial is base's answers to one more prompt, in the gate's store: a later gate with the same
`[prompted]` does not ask them again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunegate.harness.checks.contamination.check import examples_without_cases
from tunegate.harness.contracts.further_arm import PROMPTED
from tunegate.harness.contracts.model import Arm, ClassifierArm, RankingArm, RecordedArm
from tunegate.harness.records.defaults import CONFIDENCE
from tunegate.harness.records.errors import BackendError, UsageError, refuse_unwritable
from tunegate.harness.records.files import write_atomic
from tunegate.harness.records.wording import count_noun
from tunegate.harness.run import STORE
from tunegate.harness.suite import Suite
from tunegate.harness.suite.arm_prompt import ArmPrompt, SolvedExample
from tunegate.trainers.base_measurement import BaseMeasurement, measure_base
from tunegate.trainers.datasets import TrainingRows

COUNTS = (1, 2, 4, 8)
"""Numbers of examples that are tried."""
OF_SUITE = f"[{PROMPTED}]"
"""Name of the trial of the suite's own prompt for base."""


@dataclass(frozen=True)
class PromptTrial:
    """Base with one more prompt."""

    name: str
    """`[prompted]`, or how many examples it has."""
    prompt: ArmPrompt
    measured: BaseMeasurement | None = None
    left_out: str = ""
    """Why it was not measured."""


def draw_examples(
    suite: Suite, rows: Mapping[str, TrainingRows]
) -> tuple[tuple[SolvedExample, ...], str]:
    """Return the first rows without a case of the suite, as examples; if none, also the reason.

    Args:
        suite: The whole suite, not only the cases that are asked now.
        rows: Format → shuffled rows. A preference row gives its chosen answer.
    """
    solved: list[SolvedExample] = []
    for name in ("completions", "preferences"):
        if name in rows:
            found = zip(rows[name].places, rows[name].rows, strict=True)
            examples = (_example(where, row) for where, row in found)
            solved += [example for example in examples if example is not None]
    if drawn := examples_without_cases(suite, solved, COUNTS[-1]):
        return drawn, ""
    if solved:
        return (), f"every row with an answer holds a case of {suite.name}"
    return (), "no row has a question and its answer, which an example needs"


def _example(where: str, row: Mapping[str, Any]) -> SolvedExample | None:
    """Return a row as an example; None where it has no question."""
    prompt, answer = row["prompt"], row.get("completion", row.get("chosen"))
    turns = {"messages": [*prompt, *answer]} if isinstance(prompt, list) else None
    try:
        return SolvedExample.of(where, turns or {"prompt": prompt, "completion": answer})
    except ValueError:
        return None


def unpromptable(arm: Arm) -> str:
    """Return why an arm cannot be asked with another prompt; empty if it can."""
    if isinstance(arm, RecordedArm):
        return "base's answers are recorded"
    if isinstance(arm, ClassifierArm | RankingArm):
        return "base follows no prompt"
    return ""


def trial_prompts(suite: Suite, examples: Sequence[SolvedExample]) -> Mapping[str, ArmPrompt]:
    """Return name → prompt of every trial, in the order in which they are preferred."""
    own = {OF_SUITE: suite.arm_prompts[PROMPTED]} if PROMPTED in suite.arm_prompts else {}
    return own | {
        count_noun(n, "example"): ArmPrompt(examples=tuple(examples[:n]))
        for n in COUNTS
        if n <= len(examples)
    }


def measure_trial(suite: Suite, arm: Arm, name: str, prompt: ArmPrompt) -> PromptTrial:
    """Ask base every case with a prompt; one that cannot be asked is left out."""
    try:
        return PromptTrial(name, prompt, measure_base(suite, arm, prompt))
    except (BackendError, UsageError) as error:
        return PromptTrial(name, prompt, left_out=str(error))


def sufficient_trial(trials: Iterable[PromptTrial]) -> PromptTrial | None:
    """Return the first trial that reaches every floor."""
    return next((t for t in trials if t.measured and t.measured.base == "passes"), None)


def trial_table(alone: BaseMeasurement, trials: Sequence[PromptTrial]) -> Iterator[str]:
    """Yield the lines of a table: level with interval, floors, and what a call takes."""
    measured = {"alone": alone} | {t.name: t.measured for t in trials if t.measured is not None}
    priced = any(of.cost.dollars is not None for of in measured.values())
    head = ["base", *(level.metric for level in alone.shown), "floors", "tokens a call"]
    cells = [[*head, *(["dollars a call"] if priced else [])]]
    words = {"passes": "met", "fails": "not met", "unknown": "unknown"}
    for name, of in measured.items():
        price = "unknown" if of.cost.dollars is None else f"{of.cost.dollars:.3g}"
        levels = {level.metric: level.cell for level in of.levels}
        shown = (levels.get(level.metric, "–") for level in alone.shown)
        row = [name, *shown, words[of.base], of.cost.tokens]
        cells.append([*row, *([price] if priced else [])])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip()
    yield f"levels with {100 * CONFIDENCE:g} % intervals; tokens of prompt + answer"
    yield from (f"{t.name}: left out: {t.left_out}" for t in trials if t.measured is None)


def write_prompt(suite: str, trial: PromptTrial) -> Path | None:
    """Write a trial's examples for `[prompted]`; None where the suite has that prompt already."""
    if trial.name == OF_SUITE:
        return None
    path = STORE.parent / "examples" / f"{suite}-{len(trial.prompt.examples)}.jsonl"
    rows = ({"messages": [dict(turn) for turn in e.turns]} for e in trial.prompt.examples)
    with refuse_unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, (json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path
