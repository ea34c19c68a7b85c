"""Hash of a suite: its definition, its cases, and the files and code that its metrics use."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from importlib.machinery import PathFinder
from pathlib import Path

from tunegate.harness.contracts.metric import Metric
from tunegate.harness.records.generation import TEMPLATES_OF
from tunegate.harness.records.hashing import content_sha256, file_sha256, sha256
from tunegate.harness.suite.parts import SuiteParts
from tunegate.harness.suite.toml_file import TomlFile, read_toml

LONGEST_NAME = 255
"""Longest text that may be the name of a file."""


def hash_suite(
    source: TomlFile, parts: SuiteParts, more_files: Mapping[str, str] | None = None
) -> str:
    """Return the hash of a suite; `more_files` are the digests of files that `parts` lacks."""
    metrics = parts.metrics.values()
    files = dict(more_files or {}) | {
        f"{used.name}.{option}": content_sha256(value)
        for used in metrics
        for option, value in used.options.items()
        if isinstance(value, Path)
    }
    files |= {
        f"{used.name} {path.name}": file_sha256(path) for used in metrics for path in _code(used)
    }
    # cases are hashed one by one, and the plan decides nothing
    definition = {k: v for k, v in source.data.items() if k not in ("cases", "plan")}
    rows = [
        case.model_dump(mode="json", exclude_none=True, by_alias=True)
        for case in (*parts.cases, *parts.variants)
    ]
    text = json.dumps(definition, sort_keys=True, default=str)  # str: TOML has dates
    if parts.episode is not None:
        files["episode"] = parts.episode.settings.sha256
    files |= {name: prompt.record().sha256 for name, prompt in parts.arm_prompts.items()}
    if parts.generation.chat_template not in (None, *TEMPLATES_OF):
        files["chat template"] = sha256(parts.generation.chat_template)
    return sha256({"definition": text, "cases": rows, "files": files})


def hash_without_code(file: Path) -> str | None:
    """Return the hash of a suite without running any of its code.

    None if its code makes the cases or plays the episodes, or cannot be found.
    """
    source = read_toml(file)
    cases = source.data.get("cases")
    settings = cases if isinstance(cases, Mapping) else {}
    named = (str(settings.get(key, "")) for key in ("from", "redact"))
    if "episode" in source.data or any(":" in text or text == "lm_eval" for text in named):
        return None
    parts = SuiteParts(source, own_code=False)
    if parts.places:
        return "not readable"
    files: dict[str, str] = {}
    for table in source.data["metrics"]:
        module, colon, function = table["use"].rpartition(":")
        if not colon:
            continue
        code = _find_module_file(module)
        if code is None:
            return None
        name = table.get("name", function)
        files[f"{name} {code.name}"] = file_sha256(code)
        for option, value in table.items():
            short = isinstance(value, str) and len(value) < LONGEST_NAME
            if short and (path := file.parent / value).is_file():
                files[f"{name}.{option}"] = file_sha256(path)
    return hash_suite(source, parts, files)


def _find_module_file(name: str) -> Path | None:
    """Return the file of a module without importing it or its packages."""
    folders, spec = [*sys.path, str(Path.cwd())], None
    for part in name.split("."):
        spec = PathFinder.find_spec(part, folders)
        if spec is None:
            return None
        folders = list(spec.submodule_search_locations or ())
    return Path(spec.origin) if spec is not None and spec.origin else None


def _code(used: Metric) -> Iterator[Path]:
    """Yield the source files of a metric's functions, unless they are tunegate's own."""
    functions = (used.score, used.corpus, used.judge and used.judge.steps)
    modules = {getattr(function, "__module__", None) or "" for function in functions if function}
    for name in sorted(modules):
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is not None and name.partition(".")[0] != "tunegate":
            yield Path(file)
