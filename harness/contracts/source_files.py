"""Source files of a user's code, for its hash."""

from __future__ import annotations

import ast
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path


def with_imports(files: Iterable[Path]) -> set[Path]:
    """Return files with all that they import, except installed packages."""
    rest = list(files)
    closure: set[Path] = set()
    while rest:
        path = rest.pop()
        if path in closure or _is_standard(path):
            continue
        closure.add(path)
        if not _is_installed(path):
            rest += (imported for imported in _imported_files(path) if not _is_installed(imported))
    return closure


def _imported_files(path: Path) -> Iterator[Path]:
    """Yield the files of the modules that a file imports, also within functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    for name in names:
        if name.partition(".")[0] == "tunegate":
            continue
        near = path.parent / f"{name.replace('.', '/')}.py"
        loaded = getattr(sys.modules.get(name), "__file__", None)
        if near.is_file() or loaded is not None:
            yield near if near.is_file() else Path(loaded or "")


def _is_standard(path: Path) -> bool:
    return path.is_relative_to(sysconfig.get_paths()["stdlib"]) and "site-packages" not in str(path)


def _is_installed(path: Path) -> bool:
    return "site-packages" in path.parts or "dist-packages" in path.parts or _is_standard(path)
