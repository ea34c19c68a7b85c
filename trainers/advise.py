"""Training advice: which method fits the need and the data, by the rules in `advice.toml`."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from tunegate.harness.contracts import lookup
from tunegate.trainers import datasets

TREE = Path(__file__).with_name("advice.toml")
TRAINERS = "tunegate.trainers"
"""Package in which a method of training is a module of its name."""
COUNTS = ("completions", "preferences", "labelled", "prompts", "questions")
"""Fields that count rows."""


@dataclass(frozen=True)
class TrainingSituation:
    """Facts about a need, a model, its data and its machine; None is not known yet."""

    base: str = "unknown"
    """`passes` or `fails` the floors of the suite, or `unknown`."""
    succeeds: bool = True
    """Whether base gets any case of the suite right; true if not measured."""
    prompt_suffices: bool = False
    """Whether base reaches every floor with a prompt that was measured."""
    prompted: bool | None = None
    lacks: str | None = None
    """`behaviour`, `knowledge` or `both`."""
    weights: bool | None = None
    many_tasks: bool | None = None
    verifier: bool | None = None
    reward_model: bool | None = None
    fits: bool = True
    """Whether the weights in 16 bits leave room for training on this machine."""
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Format of rows → its files."""
    rows: Mapping[str, int] = field(default_factory=dict)
    """Format of rows → how many there are."""

    def get(self, name: str) -> Any:
        """Return a field, or the number of rows of a format."""
        if name == "questions":  # a demonstration is a prompt with an answer to it
            return self.rows.get("prompts", 0) + self.rows.get("completions", 0)
        return self.rows.get(name, 0) if name in COUNTS else getattr(self, name)


@dataclass(frozen=True)
class AdviceQuestion:
    """One question to the user."""

    about: str
    """Field of the situation that it fills."""
    text: str
    option: str
    """The options of the command line that answer it."""
    choices: tuple[str, ...] = ()
    """Allowed answers; empty for yes or no."""
    when: Mapping[str, Any] = field(default_factory=dict)
    """Condition under which the answer matters."""

    def matters(self, situation: TrainingSituation) -> bool:
        """Return whether it is not answered yet, and the advice may depend on it."""
        asked = all(_holds(situation.get(name), wanted) for name, wanted in self.when.items())
        return asked and situation.get(self.about) is None


@dataclass(frozen=True)
class AdviceRule:
    """One branch of the tree, and a step of the advice where it applies."""

    name: str
    advice: str
    reason: str
    sources: tuple[str, ...]
    when: Mapping[str, Any]
    last: bool = False
    fallback: bool = False
    method: str | None = None
    """Trainer of `tunegate train`."""
    rows: str | None = None
    """Format of the rows that it is trained on."""
    options: tuple[str, ...] = ()
    next: tuple[str, ...] = ()
    """Commands that train nothing."""

    @property
    def adapter(self) -> str | None:
        """The kind of `--peft`; None where its memory cannot be estimated."""
        if "--peft" in self.options:
            return None
        return "qlora" if "--load_in_4bit" in self.options else "lora"

    def holds(self, situation: TrainingSituation) -> bool:
        """Return whether every condition holds."""
        return all(_holds(situation.get(name), wanted) for name, wanted in self.when.items())

    def lacking(self, situation: TrainingSituation) -> Iterator[str]:
        """Yield which rows are too few, where every other condition holds."""
        rest = {name: wanted for name, wanted in self.when.items() if name not in COUNTS}
        if all(_holds(situation.get(name), wanted) for name, wanted in rest.items()):
            for name, wanted in self.when.items():
                if name in COUNTS and situation.get(name) < wanted:
                    yield (
                        f"{self.name}: {situation.get(name)} of {wanted} rows "
                        f"{_describe_format(name)}"
                    )

    def has_rows(self, situation: TrainingSituation) -> bool:
        """Return whether there is any row to train on."""
        return any(situation.get(name) for name in self.when if name in COUNTS)


def _holds(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, int) and not isinstance(wanted, bool):
        return bool(value >= wanted)
    return bool(value == wanted)


def _describe_format(name: str) -> str:
    forms = {form.name: form for form in datasets.ALL}
    form = forms.get("prompts" if name == "questions" else name)
    return f"with {form.columns}" if form else name


@cache
def decision_tree() -> tuple[tuple[AdviceQuestion, ...], tuple[AdviceRule, ...], Mapping[str, Any]]:
    """Return the questions, the rules and the note on synthetic data."""
    data = tomllib.loads(TREE.read_text(encoding="utf-8"))
    return (
        tuple(AdviceQuestion(**_tuples(table)) for table in data["questions"]),
        tuple(AdviceRule(**_tuples(table)) for table in data["rules"]),
        data["synthetic"],
    )


def _tuples(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}


def advice_steps(situation: TrainingSituation) -> tuple[AdviceRule, ...]:
    """Return what to do, in order."""
    steps: list[AdviceRule] = []
    for rule in decision_tree()[1]:
        trained = any(step.method for step in steps)
        if rule.holds(situation) and not (rule.fallback and trained):
            steps.append(rule)
            if rule.last:
                break
    return tuple(steps)


def is_decided(situation: TrainingSituation) -> bool:
    """Return whether more answers could not change the advice."""
    return any(rule.last for rule in advice_steps(situation))


def missing_data(situation: TrainingSituation) -> tuple[str, ...]:
    """Return which rows are too few for methods whose other conditions hold.

    Where some method has enough, only formats with at least one row are counted.
    """
    if is_decided(situation):
        return ()
    trained = any(rule.method for rule in advice_steps(situation))
    lacks = [(rule, text) for rule in decision_tree()[1] for text in rule.lacking(situation)]
    return tuple(text for rule, text in lacks if not trained or rule.has_rows(situation))


def step_commands(
    rule: AdviceRule,
    situation: TrainingSituation,
    *,
    base: str,
    suite: str,
    reward: str,
    prompted: str = "",
) -> Iterator[str]:
    """Yield the commands of a step, ready to run; `prompted` is the option that names a prompt."""
    hosted = base.removeprefix("litellm:") if rule.method == "vendor" else base
    names = {"base": hosted, "suite": suite, "reward": reward, "prompted": prompted}
    trainer = lookup.ordered_module(TRAINERS, rule.method) if rule.method is not None else None
    if rule.method is not None and trainer is not None:
        files = situation.files.get(rule.rows or "", ()) or ("ROWS.jsonl",)
        out = f"adapters/{rule.name}"
        train = ["tunegate", "train", rule.method, "--model_name_or_path", "{base}"]
        yield _fill_words(
            [*train, "--train_files", *files, *rule.options, "--output_dir", out], names
        )
        if _trains_gated_model(trainer):
            yield _fill_words(
                ["tunegate", "gate", "{suite}", "--base", "{base}", "--tuned", out], names
            )
    for text in rule.next:
        yield _fill_words(shlex.split(text), names)


def _trains_gated_model(trainer: ModuleType) -> bool:
    """Return whether the result is a local model that writes texts, so that it can be gated."""
    method = getattr(trainer, "METHOD", None)
    return method is not None and method.task == "CAUSAL_LM"


def _fill_words(words: Sequence[str], names: Mapping[str, str]) -> str:
    for name, value in names.items():
        words = [value if word == f"{{{name}}}" else word for word in words]
    return shlex.join(word for word in words if word)
