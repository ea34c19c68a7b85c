"""Lengths of the prompts of `long_context`, in tokens of the base that will be gated."""

from __future__ import annotations

import re
from pathlib import Path

from tunegate.harness.cli._output import say
from tunegate.harness.records.errors import UsageError, unknown_name_message

SUITE = "long_context"
CHEAP = ("1k", "2k")
"""The default lengths: minutes on two cores with a model of 135M parameters."""


def suite_lines(base: str | None, lengths: str | None) -> dict[str, str]:
    """Return the keys of `[cases]` to set in suite.toml, as TOML values.

    Args:
        base: Folder or hub id of the base; None keeps the characters per token of the bundled file.
        lengths: Comma-separated names of lengths; None chooses the cheap ones in base's context.

    Raises:
        UsageError: a length does not exist, or is longer than base's context.
        ModelError: base, or its tokenizer, cannot be read.
        SuiteError: a length holds too few characters of base's tokenizer.
    """
    from tunegate.harness.suite.sources.long_context import LENGTHS, long_context

    names = CHEAP if lengths is None else tuple(map(str.strip, lengths.split(",")))
    for name in names:
        if name not in LENGTHS:
            raise UsageError(
                f"--lengths: {unknown_name_message(name, tuple(LENGTHS), what='length')}"
            )
    if base is None:
        return {"lengths": _toml_list(names)}
    context, characters = _measure_base(base)
    fitting = [name for name in names if context is None or LENGTHS[name] <= context]
    if not fitting or (lengths is not None and len(fitting) < len(names)):
        longest = next(name for name in names if name not in fitting)
        raise UsageError(
            f"--lengths: {longest} is longer than the context of {base}, {context} tokens; give "
            "shorter ones"
        )
    # A length that is too short for the facts is refused here, before anything is written.
    list(long_context(Path(), lengths=tuple(fitting), characters_per_token=characters, documents=2))
    return {"lengths": _toml_list(fitting), "characters_per_token": str(characters)}


def set_lines(file: Path, lines: dict[str, str]) -> None:
    """Set keys that stand in a suite.toml, and say to what."""
    text = file.read_text(encoding="utf-8")
    for key, value in lines.items():
        text = re.sub(rf"(?m)^{key} = .*$", f"{key} = {value}", text)
        say(f"{file}: {key} = {value}")
    file.write_text(text, encoding="utf-8")
    if "characters_per_token" not in lines:
        say("note: lengths are in tokens of SmolLM2; --base BASE counts in those of your base")


def _toml_list(names: tuple[str, ...] | list[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in dict.fromkeys(names)) + "]"


def _measure_base(base: str) -> tuple[int | None, float]:
    """Return the context of a base in tokens, and its characters per token."""
    from tunegate.harness.models._folder_contents import folder_contents
    from tunegate.harness.models._load_model import load_tokenizer
    from tunegate.harness.models._model_folder import require_modules, resolve_folder
    from tunegate.harness.suite.sources.long_context import measure_characters_per_token

    require_modules("transformers")
    folder = resolve_folder(base)
    tokenizer = load_tokenizer(folder)
    characters = measure_characters_per_token(lambda text: len(tokenizer(text)["input_ids"]))
    return folder_contents(folder).context, characters
