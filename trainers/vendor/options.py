"""Options of a hosted fine-tuning job: flags, or the same names in a YAML file.

A flag wins over the file. `--yes` and `--resume` are flags only: a shared file cannot give consent.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

from tunegate.harness.records.errors import UsageError
from tunegate.trainers import yaml_config

_ONLY_FLAGS = ("yes", "resume", "config", "help")


@dataclass(frozen=True, slots=True)
class VendorOptions:
    """The parsed options of one job."""

    model_name_or_path: str
    """`openai/NAME`, as litellm writes it."""
    train_files: tuple[Path, ...]
    eval_files: tuple[Path, ...]
    output_dir: Path
    num_train_epochs: int | None
    """None leaves it to the vendor."""
    batch_size: int | None
    learning_rate_multiplier: float | None
    suffix: str | None
    seed: int
    price_per_million_tokens: float | None
    """US dollars, by the vendor's price list."""
    poll_seconds: float
    yes: bool
    resume: str | None
    """Id of a running job; empty for the one that the output folder names."""

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """Settings sent to the vendor; it chooses those that are left out."""
        chosen = {
            "n_epochs": self.num_train_epochs,
            "batch_size": self.batch_size,
            "learning_rate_multiplier": self.learning_rate_multiplier,
        }
        return {name: value for name, value in chosen.items() if value is not None}


class _VendorParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of `tunegate train vendor`."""
    parser = _VendorParser(
        prog="tunegate train vendor",
        description="Fine-tune a hosted model through the OpenAI fine-tuning API.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--config", type=Path, help="YAML file with any of these options but --yes, --resume.")
    add("--model_name_or_path", help="openai/NAME, the dated name of the base.")
    add("--train_files", nargs="+", default=[], help="JSONL files of chats.")
    add("--eval_files", nargs="+", default=[], help="Chats for the vendor's own loss.")
    add("--output_dir", type=Path, help="Folder for the record, which also resumes.")
    add("--num_train_epochs", type=_whole_number, help="Default: the vendor chooses.")
    add("--batch_size", type=_whole_number, help="Default: the vendor chooses.")
    add("--learning_rate_multiplier", type=_positive, help="Default: the vendor chooses.")
    add("--suffix", help="Becomes a part of the fine-tune's name.")
    add("--seed", type=int, default=42, help="Default: 42.")
    add(
        "--price_per_million_tokens",
        type=_positive,
        help="US dollars for training on a million tokens; litellm's list has no such prices.",
    )
    add("--poll_seconds", type=_positive, default=10.0, help="Default: 10.")
    add("--yes", action="store_true", help="Send the data and pay, without a question.")
    add("--resume", nargs="?", const="", metavar="JOB", help="Watch a job that runs already.")
    return parser


def parse_options(argv: Sequence[str]) -> VendorOptions:
    """Return the options in `argv` and in the file after `--config`."""
    parser = make_parser()
    path = parser.parse_args(list(argv)).config
    if path is not None:
        names = {field.name for field in fields(VendorOptions)} - set(_ONLY_FLAGS)
        held = yaml_config.read_config(path, allowed=tuple(names))
        parser.set_defaults(
            **{k: v if isinstance(v, list) or v is None else str(v) for k, v in held.items()}
        )
    values = vars(parser.parse_args(list(argv)))
    values.pop("config")
    if not values["output_dir"]:
        raise UsageError("--output_dir: missing; give the folder for the record of the job")
    for name in ("train_files", "eval_files"):
        values[name] = tuple(yaml_config.find_files(values[name], path, name, folders=False))
    return VendorOptions(**values)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number above 0")
    return value


def _whole_number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least 1")
    return int(text)
