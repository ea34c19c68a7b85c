"""Paths that a coding agent names: inside of the folder that its server works in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_plus

from tunegate.harness.records.errors import UsageError


@dataclass(frozen=True)
class AgentPaths:
    """The folder of a server, and the folders of models beside it."""

    models: Sequence[Path] = ()

    def inside(self, path: str) -> str:
        """Return a path of the working folder, links followed."""
        return self._below(path, [Path.cwd()])

    def row_files(self, words: str) -> str:
        """Return files of the working folder, separated by commas as `--training-data` takes them.

        Raises:
            UsageError: one leads out of the folder.
        """
        return ",".join(self.inside(word.strip()) for word in words.split(","))

    def suites(self, words: Sequence[str]) -> list[str]:
        """Return the suite.toml files of what an agent names; bundled suites by their name."""
        from tunegate.harness.suite.find import BUNDLED, NONE_NAMED, find_suites

        files = []
        for word in words:
            self.inside(word.partition("::")[0])  # before any folder is searched
            for file in find_suites(word):
                self._below(file.partition("::")[0], [Path.cwd(), BUNDLED])
                files.append(file)
        if not files:
            raise UsageError(NONE_NAMED)
        return list(dict.fromkeys(files))

    def model(self, spec: str) -> str:
        """Return a model spec whose files, those of its options included, are in allowed folders.

        Raises:
            UsageError: they are elsewhere.
        """
        from tunegate.harness.models.open_arms import backend_of

        rest = spec.removeprefix("hf:") if backend_of(spec) is None else spec.partition(":")[2]
        path, *options = re.split(r"[?#]", rest, maxsplit=1)
        # Some backends decode their options, others do not.
        texts = [text for option in options for text in (option, unquote_plus(option))]
        for part in (path, *(part for text in texts for part in re.split(r"[?#&=,]", text))):
            named = Path(part).expanduser()
            local = named.is_absolute() or ".." in named.parts or named.exists()
            if local and not part.startswith(("http://", "https://")):
                self._below(part, [Path.cwd(), *self.models])
        return spec

    def _below(self, path: str, folders: Sequence[Path]) -> str:
        resolved = Path(path).expanduser().resolve()
        if path.startswith("-") or not any(resolved.is_relative_to(f.resolve()) for f in folders):
            raise UsageError(
                f"{path}: not in the folder that this server works in; start `tunegate mcp` there, "
                "and name folders of models with --models DIR"
            )
        return path
