"""What `tunegate gate` without arguments proposes: the suites and the adapter of this folder."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

from tunegate.harness.suite.find import FILE_NAME

_ADAPTER = "adapter_config.json"
_DEPTH = 4
"""Folders below the current one that are searched."""
_LEFT_OUT = {"node_modules", "site-packages", "__pycache__"}


def propose_gate(folder: Path) -> list[str]:
    """Return what to type next in a folder, for what is found there; empty if nothing is."""
    suites = sorted({_first_folder(file, folder) for file in _find(folder, FILE_NAME, _DEPTH)})
    suites = ["suites"] if "suites" in suites else suites
    adapters = sorted(
        # A training's checkpoints lie in the folder of what it saved in the end.
        (f for f in _find(folder, _ADAPTER, _DEPTH) if not (f.parents[1] / _ADAPTER).is_file()),
        key=lambda file: file.stat().st_mtime,
        reverse=True,
    )
    if not adapters and not suites:
        return []
    lines = [
        f"suites: {', '.join(suites)}"
        if suites
        else "suites: none yet; `tunegate init` copies suites against forgetting"
    ]
    if not adapters:
        return [*lines, "adapter: none found here; name your model: --tuned FOLDER"]
    for file in adapters[:3]:
        adapter, base = file.parent.relative_to(folder), _base(file)
        lines.append(f"adapter: {adapter}, {f'trained on {base}' if base else 'names no base'}")
    if len(adapters) > 3:
        lines.append(f"and {len(adapters) - 3} older adapters")
    newest = adapters[0]
    words = ["tunegate", "gate", *(suites or ["suites"]), "--tuned"]
    command = shlex.join([*words, str(newest.parent.relative_to(folder))])
    command += "" if _base(newest) else " --base FOLDER"
    return [*lines, f"next: {command if suites else f'tunegate init && {command}'}"]


def _find(folder: Path, name: str, depth: int) -> Iterator[Path]:
    """Yield the files of a name, but none within hidden folders or installed packages."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        if entry.name == name and entry.is_file():
            yield entry
        hidden = entry.name.startswith(".") or entry.name in _LEFT_OUT
        if depth and not hidden and entry.is_dir() and not entry.is_symlink():
            yield from _find(entry, name, depth - 1)


def _first_folder(file: Path, folder: Path) -> str:
    """Return the outermost folder of suites below the current one: `suites`, or `.`."""
    parts = file.parent.relative_to(folder).parts
    return parts[0] if parts else "."


def _base(file: Path) -> str:
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    name = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    return name if isinstance(name, str) else ""
