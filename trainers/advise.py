"""The decision tree of the field, as data: from a situation to steps, with reasons and sources.

The rules are in `advice.toml`. Nothing is asked, opened or measured here: `Situation` holds what is
known, and a field that is None is not known yet.
"""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from trainers import row_format

TREE = Path(__file__).with_name("advice.toml")
_NOT_GATED = ("vendor", "reward")
"""Trainers of which the result is no folder of a fine-tune."""
COUNTS = ("completions", "preferences", "labelled", "prompts", "questions")
"""Fields that count rows."""


@dataclass(frozen=True)
class Situation:
    """What is known of a need, a model, its data and its machine."""

    base: str = "unknown"
    """`passes` or `fails` the floors of the suite, or `unknown`."""
    succeeds: bool = True
    """Whether base gets any case of the suite right; true where it was not measured."""
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
class Question:
    """One question to the user."""

    about: str
    """Field of the situation that it fills."""
    text: str
    option: str
    """The options of the command line that answer it."""
    choices: tuple[str, ...] = ()
    """What may be answered; yes or no where there are none."""
    when: Mapping[str, Any] = field(default_factory=dict)
    """What must hold for the answer to matter."""

    def matters(self, situation: Situation) -> bool:
        """Return whether it is not answered yet, and the advice may depend on it."""
        asked = all(_holds(situation.get(name), wanted) for name, wanted in self.when.items())
        return asked and situation.get(self.about) is None


@dataclass(frozen=True)
class Rule:
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
    """Commands that are no training."""

    @property
    def adapter(self) -> str | None:
        """The kind of `--peft` whose memory `trainers.room` knows; None of the others."""
        if "--peft" in self.options:
            return None
        return "qlora" if "--load_in_4bit" in self.options else "lora"

    def holds(self, situation: Situation) -> bool:
        """Return whether every condition holds."""
        return all(_holds(situation.get(name), wanted) for name, wanted in self.when.items())

    def lacking(self, situation: Situation) -> Iterator[str]:
        """Yield which rows are too few, where everything else speaks for the rule."""
        rest = {name: wanted for name, wanted in self.when.items() if name not in COUNTS}
        if all(_holds(situation.get(name), wanted) for name, wanted in rest.items()):
            for name, wanted in self.when.items():
                if name in COUNTS and situation.get(name) < wanted:
                    yield f"{self.name}: {situation.get(name)} of {wanted} rows {_what(name)}"

    def begun(self, situation: Situation) -> bool:
        """Return whether there is any row that it could be trained on."""
        return any(situation.get(name) for name in self.when if name in COUNTS)


def _holds(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, int) and not isinstance(wanted, bool):
        return bool(value >= wanted)
    return bool(value == wanted)


def _what(name: str) -> str:
    forms = {form.name: form for form in row_format.ALL}
    form = forms.get("prompts" if name == "questions" else name)
    return f"with {form.columns}" if form else name


@cache
def tree() -> tuple[tuple[Question, ...], tuple[Rule, ...], Mapping[str, Any]]:
    """Return the questions, the rules and the note on synthetic data."""
    data = tomllib.loads(TREE.read_text(encoding="utf-8"))
    return (
        tuple(Question(**_tuples(table)) for table in data["questions"]),
        tuple(Rule(**_tuples(table)) for table in data["rules"]),
        data["synthetic"],
    )


def _tuples(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}


def steps(situation: Situation) -> tuple[Rule, ...]:
    """Return what to do, in order."""
    found: list[Rule] = []
    for rule in tree()[1]:
        trained = any(step.method for step in found)
        if rule.holds(situation) and not (rule.fallback and trained):
            found.append(rule)
            if rule.last:
                break
    return tuple(found)


def ended(situation: Situation) -> bool:
    """Return whether more answers could not change the advice."""
    return any(rule.last for rule in steps(situation))


def missing(situation: Situation) -> tuple[str, ...]:
    """Return what is too little for methods that everything else speaks for.

    Where there is enough for some method, only rows that were begun on are counted.
    """
    if ended(situation):
        return ()
    trained = any(rule.method for rule in steps(situation))
    found = [(rule, text) for rule in tree()[1] for text in rule.lacking(situation)]
    return tuple(text for rule, text in found if not trained or rule.begun(situation))


def commands(
    rule: Rule, situation: Situation, *, base: str, suite: str, reward: str
) -> Iterator[str]:
    """Yield the commands of a step, ready to be run; no training by a method that is not here."""
    hosted = base.removeprefix("litellm:") if rule.method == "vendor" else base
    names = {"base": hosted, "suite": suite, "reward": reward}
    if rule.method is not None and TREE.with_name(f"{rule.method}.py").is_file():
        files = situation.files.get(rule.rows or "", ()) or ("ROWS.jsonl",)
        out = f"adapters/{rule.name}"
        train = ["tunegate", "train", rule.method, "--model_name_or_path", "{base}"]
        yield _filled([*train, "--train_files", *files, *rule.options, "--output_dir", out], names)
        if rule.method not in _NOT_GATED:
            yield _filled(
                ["tunegate", "gate", "{suite}", "--base", "{base}", "--tuned", out], names
            )
    for text in rule.next:
        yield _filled(shlex.split(text), names)


def _filled(words: Sequence[str], names: Mapping[str, str]) -> str:
    for name, value in names.items():
        words = [value if word == f"{{{name}}}" else word for word in words]
    return shlex.join(words)
