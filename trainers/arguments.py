"""Training arguments: our dataclasses next to TRL's own, and the parser that takes both.

```
tunegate train sft --config good.yaml --learning_rate 3e-4
```
A flag wins over the file, the file over our defaults, and our defaults over TRL's. Ours only make
TRL run on a machine without CUDA (fp32, no pinned memory) and keep it from reporting anywhere.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tunegate.harness.records.errors import (
    MissingExtra,
    UsageError,
    error_reason,
    unknown_name_message,
)
from tunegate.trainers import yaml_config

if TYPE_CHECKING:
    from trl import ModelConfig, TrlParser  # type: ignore[attr-defined]  # TRL re-exports lazily

ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "1000",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRL_EXPERIMENTAL_SILENCE": "1",
}
"""Variables to set before torch and TRL are imported; the user's own values win."""

_ALWAYS = {"report_to": "none", "disable_tqdm": True, "logging_first_step": True}
_WITHOUT_CUDA = {
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": None,  # None is "off" without the old name's deprecation warning
    "dataloader_pin_memory": False,
    "float32_matmul_precision": "medium",  # a third faster where the CPU multiplies bfloat16
    "logging_steps": 5,
}
_FIRST_FLAGS = (
    "config", "model_name_or_path", "train_files", "output_dir", "eval_suite", "gate", "peft",
    "lora_r", "learning_rate", "num_train_epochs", "max_steps", "per_device_train_batch_size",
    "gradient_accumulation_steps", "max_length", "max_completion_length", "beta", "rewards",
    "reward_model", "dtype", "seed",
)  # fmt: skip
"""The flags that `--help` shows of those that a method has, in this order."""
_ONLY_AS_FLAG = ("trust_remote_code", "model_init_kwargs.trust_remote_code")
_TRL_DATA = {"dataset_name", "dataset_config", "dataset_train_split", "datasets"}


@dataclass
class GateArguments:
    """Options that tunegate adds to TRL's so that a training is gated."""

    eval_suite: list[str] = field(
        default_factory=list,
        metadata={"help": "A suite to gate the finished fine-tune on; may be given several times."},
    )
    gate: bool = field(
        default=False,
        metadata={
            "help": "Gate the fine-tune on --eval-suite at once; the exit code is the verdict."
        },
    )
    gate_callback: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Suites to run on every checkpoint; the first one chooses which is kept."
        },
    )
    gate_stop_on: str | None = field(
        default=None,
        metadata={"help": "Finding that ends the training once proven.", "choices": ["regression"]},
    )


@dataclass
class DataArguments(GateArguments):
    """Options that tunegate adds to TRL's."""

    train_files: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Training rows, mixed in a seeded shuffle: JSONL, JSON or Parquet files, or "
            "folders that `datasets` saved."
        },
    )
    eval_files: list[str] = field(
        default_factory=list,
        metadata={"help": "Files of rows for TRL's own evaluation loss (with --eval_strategy)."},
    )
    float32_matmul_precision: str = field(
        default="highest",
        metadata={
            "help": "torch.set_float32_matmul_precision during the training. 'medium' multiplies "
            "in bfloat16 and adds in float32, which is faster where the CPU can.",
            "choices": ["highest", "high", "medium"],
        },
    )


KINDS = ("lora", "qlora", "dora", "prompt", "prefix", "ia3", "bitfit", "none")


@dataclass
class AdapterArguments:
    """Options that tunegate adds to TRL's for the adapter; the names of the rest are PEFT's."""

    peft: str | None = field(
        default=None,
        metadata={"help": "Trained parameters; default: by TRL's --use_peft.", "choices": KINDS},
    )
    adapter_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "Folder of an adapter to continue training, such as one from `train sft`."
        },
    )
    num_virtual_tokens: int = field(
        default=16, metadata={"help": "Virtual tokens of --peft prompt and prefix."}
    )
    prompt_tuning_init: str = field(
        default="RANDOM",
        metadata={
            "help": "Initial values of the virtual tokens of --peft prompt.",
            "choices": ["RANDOM", "SAMPLE_VOCAB", "TEXT"],
        },
    )
    prompt_tuning_init_text: str | None = field(
        default=None, metadata={"help": "The text of --prompt_tuning_init TEXT."}
    )


@dataclass(frozen=True)
class TrainingConfig:
    """The parsed options of one training."""

    data: DataArguments
    """Training files, found and absolute."""
    training: Any
    """TRL's configuration of the trainer, such as `SFTConfig`."""
    model: ModelConfig
    """TRL's configuration of the model and of LoRA."""
    peft: AdapterArguments = field(default_factory=AdapterArguments)
    """Trained parameters, where TRL's options do not name them."""
    config_file: Path | None = None
    given: frozenset[str] = frozenset()
    """Names of the options that a flag or the file sets."""
    own: Any = None
    """Options of the method that TRL does not have: an instance of its `TrainingMethod.options`."""


def prepare_environment() -> None:
    """Set the variables of `ENVIRONMENT` that the user has not set, and silence bitsandbytes.

    TRL imports it where it is installed, and it prints which kernel a CPU lacks.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


def make_parser(
    trainer_config: type[Any], prog: str | None = None, *, options_class: type[Any] | None = None
) -> TrlParser:
    """Return TRL's parser for our data arguments, `trainer_config` and the model's options."""
    import torch
    from trl import (  # type: ignore[attr-defined]  # TRL re-exports lazily
        ModelConfig,
        TrlParser,
    )

    class ArgumentParser(TrlParser):
        def error(self, message: str) -> NoReturn:
            raise UsageError(message)

        def format_help(self) -> str:
            """Return the help of the flags that matter first; `--help-all` has all of them."""
            named = {action.dest: action for action in self._actions}
            shown = [named[name] for name in _FIRST_FLAGS if name in named]
            formatter = self._get_formatter()
            formatter.add_usage(f"{self.prog} --config x.yaml [FLAGS]", [], [])
            formatter.start_section("flags that matter first")
            formatter.add_arguments(shown)
            formatter.end_section()
            formatter.add_text(
                f"--help-all shows all {len(named)} flags; a YAML file may have any."
            )
            return formatter.format_help()

    kinds: Any = (DataArguments, trainer_config, ModelConfig, AdapterArguments)
    kinds += (options_class,) if options_class else ()
    parser = ArgumentParser(kinds, prog=prog, allow_abbrev=False)
    parser.add_argument("--config", type=Path, help="YAML file with any of these options.")
    parser.add_argument("--help-all", action=_WholeHelp, nargs=0, help="Show all flags.")
    parser.set_defaults(**_ALWAYS)
    if not torch.cuda.is_available():
        parser.set_defaults(**_WITHOUT_CUDA)
    return parser


class _WholeHelp(argparse.Action):
    """Prints the help of every flag, and ends the command."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        parser._print_message(argparse.ArgumentParser.format_help(parser), sys.stdout)
        parser.exit()


def parse_arguments(
    parser: TrlParser, argv: Sequence[str], *, options_class: type[Any] | None = None
) -> TrainingConfig:
    """Return the options in `argv` and in the file after `--config`."""
    path = _config_path(argv)
    settings = _apply_file(parser, path) if path is not None else set()
    settings |= _check_flags(parser, argv)
    words = _gather_repeated(argv, "--eval-suite", "--eval_suite")
    words = _gather_repeated(words, "--reward", "--rewards")
    try:
        with quiet_warnings():
            data, training, model, peft, *rest = parser.parse_args_into_dataclasses(
                words, look_for_args_file=False
            )
    except (ValueError, TypeError, ImportError) as error:
        raise UsageError(f"{path or 'options'}: {error_reason(error)}") from error
    for key in ("train_files", "eval_files"):
        files = yaml_config.find_files(getattr(data, key), path, key)
        setattr(data, key, [str(each.resolve()) for each in files])
    data.eval_suite = _suites(data.eval_suite, path)
    data.gate_callback = _suites(data.gate_callback, path)
    last = rest[0] if options_class else None
    return TrainingConfig(data, training, model, peft, path, frozenset(settings), last)


@contextmanager
def quiet_warnings() -> Iterator[None]:
    """Silence the libraries' warnings about one another's old names."""
    with warnings.catch_warnings():
        for message in (
            r".*gradient_checkpointing.* is deprecated",
            r".*Trainer\.tokenizer is now deprecated",
            r".*pin_memory.*",
        ):
            warnings.filterwarnings("ignore", message=message)
        yield


def _config_path(argv: Sequence[str]) -> Path | None:
    for i, word in enumerate(argv):
        if word.startswith("--config="):
            return Path(word.partition("=")[2])
        if word == "--config":
            if i + 1 == len(argv):
                raise UsageError("--config: expected the path of a YAML file after it")
            return Path(argv[i + 1])
    return None


def _gather_repeated(argv: Sequence[str], *flags: str) -> list[str]:
    """Return the words with the values of a repeated flag after its last mention, as one list."""
    values: list[str] = []
    rest: list[str] = []
    taking = False
    for word in argv:
        flag, has_value, value = word.partition("=")
        if word.startswith("--"):
            taking = flag in flags
            if taking:
                values += [value] if has_value else []
                continue
        (values if taking else rest).append(word)
    return [*rest, flags[-1], *values] if values else rest


def _apply_file(parser: TrlParser, path: Path) -> set[str]:
    """Make the file's values the parser's defaults, as TRL does, but as text that is checked.

    Returns the names of the options that the file sets.
    """
    allowed = _names(parser) | {"env"}
    values = yaml_config.read_config(path, allowed=tuple(allowed))
    for name in _ONLY_AS_FLAG:
        key, _, inner = name.partition(".")
        held = values.get(key)
        if held and (not inner or (isinstance(held, dict) and held.get(inner))):
            raise UsageError(
                f"{path}: {name}={held!r} lets a model run code; give it as a flag, not in a file"
            )
    for name, value in (values.pop("env", None) or {}).items():
        os.environ[name] = str(value)
    parser.set_defaults(
        **{k: str(v) if isinstance(v, bool | int | float) else v for k, v in values.items()}
    )
    return set(values)


def _names(parser: TrlParser) -> set[str]:
    return {a.dest for a in parser._actions} - {"help", "help_all", "config"}


def _check_flags(parser: TrlParser, argv: Sequence[str]) -> set[str]:
    """Refuse flags that the parser does not know, with the nearest one that it does.

    Returns the names of the options that the flags set.
    """
    flags = {option for action in parser._actions for option in action.option_strings}
    for word in argv:
        flag = word.partition("=")[0]
        if flag.startswith("--") and flag not in flags:
            if flag[2:] in _TRL_DATA:
                raise UsageError(f"{flag}: training rows are local files; use --train_files")
            options = tuple(sorted(f"--{name}" for name in _names(parser)))
            raise UsageError(unknown_name_message(flag, options, what="option"))
    words = {word.partition("=")[0] for word in argv}
    return {action.dest for action in parser._actions if words & set(action.option_strings)}


def _suites(names: list[str] | str, config: Path | None) -> list[str]:
    """Return the suites, with a path where they are next to the configuration."""
    suites = []
    for name in [names] if isinstance(names, str) else names:
        beside = config is not None and (config.parent / name.partition("::")[0]).exists()
        suites.append(str(config.parent / name) if config and beside else name)
    return suites


def require_extra() -> None:
    """Raise MissingExtra if the packages for training are not installed."""
    try:
        import peft  # noqa: F401  # only whether it is there
        import trl  # noqa: F401  # only whether it is there
    except ImportError as error:
        raise MissingExtra("training", "train") from error
