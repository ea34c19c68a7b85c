"""Paths that a coding agent names: inside of the folder that its server works in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tunegate.harness.records.errors import UsageError


@dataclass(frozen=True)
class AgentPaths:
    """The folder of a server, and the folders of models beside it."""

    models: Sequence[Path] = ()

    def inside(self, path: str) -> str:
        """Return a path of the working folder, links followed.

        Raises:
            UsageError: it leads out of the folder.
        """
        return self._below(path, [Path.cwd()])

    def suites(self, words: Sequence[str]) -> list[str]:
        """Return the suite.toml files of what an agent names; bundled suites by their name.

        Raises:
            UsageError: a path leads out of the folder, or no suite is there.
        """
        from tunegate.harness.suite.find import NONE_NAMED, find_suites

        files = [file for word in words for file in find_suites(self.inside(word))]
        if not files:
            raise UsageError(NONE_NAMED)
        return list(dict.fromkeys(files))

    def model(self, spec: str) -> str:
        """Return a model spec whose files, if it names any, are in an allowed folder.

        Raises:
            UsageError: they are elsewhere, or the spec is an option.
        """
        from tunegate.harness.models.open_arms import backend_of

        rest = spec.removeprefix("hf:") if backend_of(spec) is None else spec.partition(":")[2]
        path = Path(rest.partition("?")[0].partition("#")[0]).expanduser()
        local = path.is_absolute() or ".." in path.parts or path.exists()
        if local and "://" not in rest:
            self._below(str(path), [Path.cwd(), *self.models])
        return spec

    def _below(self, path: str, folders: Sequence[Path]) -> str:
        resolved = Path(path).expanduser().resolve()
        if path.startswith("-") or not any(resolved.is_relative_to(f.resolve()) for f in folders):
            raise UsageError(
                f"{path}: not in the folder that this server works in; start `tunegate mcp` there, "
                "and name folders of models with --models DIR"
            )
        return path
