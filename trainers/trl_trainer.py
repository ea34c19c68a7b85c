"""Any trainer of the installed TRL: what `tunegate train NAME` does where no file here is NAME's.

```
tunegate train orpo --config pairs.yaml
tunegate train cpo --model_name_or_path embedded --train_files pairs.jsonl --beta 0.1
```
The class and its configuration are found in `trl.trainer` and `trl.experimental` by name. The
columns of the first row decide the format of the rows. A trainer that takes `reward_funcs` gets the
options of `train grpo`, one that takes a teacher `--teacher_model`. A trainer that needs anything
else is refused; use it in a script of your own with `GateCallback`.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from tunegate.harness.contracts import lookup
from tunegate.harness.records.errors import UsageError, unknown_name_message
from tunegate.trainers import arguments, callbacks, datasets, reward_training, row_forms, train
from tunegate.trainers.datasets import RowFormat
from tunegate.trainers.job import TrainingJob, TrainingMethod

_END = "_trainer.py"
_GIVEN = {
    *("model", "args", "train_dataset", "eval_dataset", "processing_class", "callbacks"),
    *("peft_config", "quantization_config", "reward_funcs", "teacher_model"),
}
"""Arguments of TRL's trainers that can be given here."""


def trainer_modules() -> dict[str, str]:
    """Return the name of each trainer → its module, without importing TRL.

    A stable one wins over an experimental one.
    """
    package = importlib.util.find_spec("trl")
    places = list(package.submodule_search_locations or ()) if package else []
    modules: dict[str, str] = {}
    for root in map(Path, places):
        for path in root.glob(f"experimental/*/*{_END}"):
            name = path.name.removesuffix(_END)
            modules[name] = f"trl.experimental.{path.parent.name}.{path.stem}"
        for path in root.glob(f"trainer/*{_END}"):
            modules[path.name.removesuffix(_END)] = f"trl.trainer.{path.stem}"
    modules.pop("base", None)
    return modules


def run(name: str, argv: Sequence[str], *, say: callbacks.Say = callbacks.print_to_stderr) -> int:
    """Train by TRL's trainer `name` as `argv` asks, and return the exit code."""
    _refuse_unknown(name)
    try:
        arguments.prepare_environment()
        arguments.require_extra()
        with arguments.quiet_warnings():
            method = make_method(name)
    except UsageError as error:
        say(f"error: {error}")
        return error.exit_code
    return train.run_method(method, argv, say=say)


@dataclass
class TeacherArguments:
    """Options that tunegate adds to TRL's for a trainer with a teacher."""

    teacher_model: str | None = field(
        default=None, metadata={"help": "Folder or name of the model to learn from."}
    )


@dataclass
class TeacherRewardArguments(reward_training.RewardArguments, TeacherArguments):
    """Options of a trainer with rewards and a teacher."""


@dataclass(frozen=True, slots=True)
class TrainerClass:
    """A trainer of TRL, with what its constructor takes."""

    name: str
    trainer: type[Any]
    configuration: type[Any]
    takes: frozenset[str]
    """Names of the constructor's arguments."""

    def options(self) -> type[Any] | None:
        """Return the dataclass of options that tunegate adds, or None."""
        teacher = "teacher_model" in self.takes
        if "reward_funcs" in self.takes:
            return TeacherRewardArguments if teacher else reward_training.RewardArguments
        return TeacherArguments if teacher else None

    def own_settings(self) -> tuple[str, ...]:
        """Return the names of the options that only this trainer has, for the record."""
        from transformers import TrainingArguments

        shared = {option.name for option in fields(TrainingArguments)}
        return tuple(
            option.name for option in fields(self.configuration) if option.name not in shared
        )


def make_method(name: str) -> TrainingMethod:
    """Return the method that trains by TRL's trainer of that name."""
    trainer_class = find_trainer(name)
    by_rewards = "reward_funcs" in trainer_class.takes

    def build(job: TrainingJob) -> Any:
        return _build(trainer_class, job)

    return TrainingMethod(
        name=name,
        rows=datasets.PROMPTS if by_rewards else rows_by_columns(),
        configuration=trainer_class.configuration,
        build=build,
        settings=trainer_class.own_settings(),
        options=trainer_class.options(),
        check=_check,
        kinds=("lora", "qlora", "dora", "ia3", "none")
        if "peft_config" in trainer_class.takes
        else ("none",),
    )


def _refuse_unknown(name: str) -> None:
    modules = trainer_modules()
    if name not in modules:
        ours = tuple(lookup.ordered_modules("tunegate.trainers"))
        others = sorted(modules.keys() - set(ours))
        raise UsageError(unknown_name_message(name, (*ours, *others), what="trainer"))


def find_trainer(name: str) -> TrainerClass:
    """Return TRL's trainer of that name."""
    _refuse_unknown(name)
    module = importlib.import_module(trainer_modules()[name])
    classes = inspect.getmembers(module, inspect.isclass)
    [trainer] = [c for n, c in classes if n.endswith("Trainer") and c.__module__ == module.__name__]
    wanted = trainer.__name__.removesuffix("Trainer") + "Config"
    configuration = next((c for n, c in classes if n == wanted), None)
    takes = _constructor_arguments(trainer)
    if configuration is None or not {"model", "args", "train_dataset"} <= set(takes):
        raise _unusable(name, trainer, "a constructor of another form")
    if needed := [n for n, required in takes.items() if required and n not in _GIVEN]:
        raise _unusable(name, trainer, ", ".join(needed))
    return TrainerClass(name, trainer, configuration, frozenset(takes))


def _constructor_arguments(trainer: type[Any]) -> dict[str, bool]:
    """Return argument → whether it has no default; behind `**kwargs` also what parents take."""
    takes: dict[str, bool] = {}
    for kind in trainer.__mro__:
        if "__init__" not in vars(kind):
            continue
        parameters = inspect.signature(kind).parameters.values()
        catching = [p for p in parameters if p.kind is p.VAR_KEYWORD]
        named = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        takes = {p.name: p.default is p.empty for p in named} | takes
        if not catching:
            break
    return takes


def _unusable(name: str, trainer: type[Any], what: str) -> UsageError:
    return UsageError(
        f"tunegate train {name}: TRL's {trainer.__name__} takes {what}, which no flag can set; "
        "use it in a script with tunegate's GateCallback"
    )


def rows_by_columns() -> RowFormat:
    """Return a format that the first row's columns decide; other columns are kept for TRL."""
    seen: list[RowFormat] = []

    def read(value: Mapping[str, Any]) -> dict[str, Any]:
        if not seen:
            seen.append(datasets.guess_format(value))
        converted = seen[0] is datasets.COMPLETIONS and "prompt" not in value
        taken = row_forms.COLUMNS if converted else {"messages"}
        more = {key: held for key, held in value.items() if key not in taken}
        return {**more, **seen[0].read(value)}

    return RowFormat(
        "by columns", "the columns that TRL's trainer reads", read, datasets.PREFERENCES.example
    )


def _build(trainer_class: TrainerClass, job: TrainingJob) -> Any:
    """Return TRL's trainer, with those of our arguments that its constructor takes."""
    model = job.model_arguments()
    if (
        "quantization_config" not in trainer_class.takes
        and model["quantization_config"] is not None
    ):
        raise UsageError(
            f"tunegate train {trainer_class.name}: TRL's {trainer_class.trainer.__name__} takes no "
            "weights in 4 or 8 bits; leave --load_in_4bit and --peft qlora out"
        )
    more = {}
    if "teacher_model" in trainer_class.takes:
        if job.config.own.teacher_model is None:
            raise UsageError(
                f"--teacher_model: missing; `train {trainer_class.name}` learns from a teacher"
            )
        more["teacher_model"] = job.config.own.teacher_model
    if "reward_funcs" in trainer_class.takes:
        return reward_training.build_with_rewards(
            job, trainer_class.trainer, takes=trainer_class.takes, **more
        )
    values = {**model, **job.arguments(), **more}
    if hasattr(sys.modules[trainer_class.trainer.__module__], "DataCollatorForChatML"):
        for part in ("train_dataset", "eval_dataset"):
            if values[part] is not None and "completion" in values[part].column_names:
                values[part] = values[part].map(_as_chat, remove_columns=["prompt", "completion"])
    return trainer_class.trainer(
        **{name: value for name, value in values.items() if name in trainer_class.takes}
    )


def _as_chat(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row's prompt and completion as `messages`, which TRL's collator of chats reads."""
    turns = [
        [{"role": role, "content": text}] if isinstance(text, str) else text
        for role, text in (("user", row["prompt"]), ("assistant", row["completion"]))
    ]
    return {"messages": [*turns[0], *turns[1]]}


def _check(trainer: Any, job: TrainingJob) -> None:
    """Refuse a model that writes no texts: nothing here could gate it."""
    if trainer.model.get_output_embeddings() is None:
        raise UsageError(
            f"TRL's {type(trainer).__name__} trains a model that writes no texts; it cannot be "
            "gated, so train it with TRL itself"
        )
