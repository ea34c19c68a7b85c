"""Training configuration as a YAML file, read strictly.

YAML itself takes the last of two equal keys, expands aliases without limit and accepts misspelled
keys. Here each of these is an error with its line, and all are reported at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunegate.harness.records.errors import (
    MissingExtra,
    UsageError,
    error_reason,
    refuse_unreadable,
    unknown_name_message,
)
from tunegate.harness.records.files import read_file
from tunegate.harness.records.yaml_nodes import repeated_keys, walk_nodes

if TYPE_CHECKING:
    import yaml  # type: ignore[import-untyped]  # ships no types

_LIMIT = 1_000_000
"""Largest configuration file in bytes."""


def read_config(path: Path, *, allowed: Sequence[str]) -> dict[str, Any]:
    """Return the mapping in the YAML file `path`, whose top keys must be among `allowed`."""
    try:
        import yaml
    except ImportError as error:
        raise MissingExtra("training", "train") from error
    text = _text(path)
    try:
        problems = list(_aliases(text))
        node = None if problems else yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise UsageError(_syntax(path, error)) from error
    if node is not None:
        problems += _problems(node, tuple(sorted(allowed)))
    if problems:
        raise UsageError("\n".join(f"{path}:{problem}" for problem in problems))
    value: dict[str, Any] = yaml.safe_load(text) or {}
    return value


def parse_value(text: str, *, where: str) -> Any:
    """Return the value of a YAML text on the command line, such as `{use: numeric}`."""
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{where}: {text!r:.80} is not valid YAML") from error


def find_files(
    names: list[str] | str, config: Path | None, key: str, *, folders: bool = True
) -> list[Path]:
    """Return files; a relative path is looked for next to the configuration first."""
    files, missing = [], []
    for name in [names] if isinstance(names, str) else names:
        places = [config.parent / name, Path(name)] if config else [Path(name)]
        hits = [place for place in places if (place.exists() if folders else place.is_file())]
        if hits:
            files.append(hits[0])
        else:
            what = "file or folder" if folders else "file"
            looked = " and ".join(dict.fromkeys(str(place.resolve()) for place in places))
            missing.append(f"{key}={name}: no such {what} (looked for {looked})")
    if missing:
        raise UsageError("\n".join(missing))
    return files


def _text(path: Path) -> str:
    with refuse_unreadable(f"--config {path}"):
        return read_file(path, _LIMIT).decode()


def _syntax(path: Path, error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"{path}:{mark.line + 1}" if mark else str(path)
    what = getattr(error, "problem", None) or error_reason(error)
    return f"{where}: not valid YAML: {what}"


def _aliases(text: str) -> Iterator[str]:
    import yaml

    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            yield f"{event.start_mark.line + 1}: alias *{event.anchor}; write the value out"


def _problems(node: yaml.Node, allowed: tuple[str, ...]) -> Iterator[str]:
    """Yield `line: problem` for the whole document."""
    import yaml

    if not isinstance(node, yaml.MappingNode):
        yield f"{node.start_mark.line + 1}: must be a mapping such as `learning_rate: 2.0e-4`"
        return
    for key, _ in node.value:
        if key.value not in allowed:
            yield (
                f"{key.start_mark.line + 1}: "
                f"{unknown_name_message(str(key.value), allowed, what='key')}"
            )
    for inner in walk_nodes(node):
        yield from repeated_keys(inner)
        if inner.id == "scalar" and inner.tag.endswith(":float") and not _is_finite(inner.value):
            yield f"{inner.start_mark.line + 1}: {inner.value} is not a number to train with"


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text.replace("_", "")))
    except ValueError:
        return not text.lstrip("+-").lower().startswith((".inf", ".nan"))
