'''Environment: a Python class in which a model acts, in the form that TRL's GRPO trains with.

A public method with a docstring is a tool. `reset` begins a task and may return a text, which is
appended to the task's prompt; `get_reward` returns the reward of the episode. A model is judged
with the class that it was trained with (`GRPOTrainer(environment_factory=Desk)`), without TRL.

    class Desk:
        def reset(self, order: str = "", **row) -> None:
            self.wanted, self.refunded = order, None

        def refund(self, order: str) -> str:
            """Pay an order back.

Args:
                order: Number of the order.
            """
            self.refunded = order
            return "paid"

        def get_reward(self) -> float:
            return float(self.refunded == self.wanted)

Three hooks begin with an underscore, so that TRL does not take them for tools: `_next(answer)`
returns the next message of a simulated user, or None; `_stats()` returns numbers for the record;
`_close()` frees resources. `reset` gets the keys of the task's `row`, and `seed` and `prompt` if it
has such parameters.
'''

from __future__ import annotations

import importlib.util
import inspect
import io
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from tunegate.harness.contracts import keyword_options, lookup
from tunegate.harness.contracts.inspect_task import InspectTask
from tunegate.harness.contracts.source_files import with_imports
from tunegate.harness.contracts.tool_definition import UndefinableTool, tool_definition
from tunegate.harness.records.cases import Case
from tunegate.harness.records.episodes import EpisodeSettings
from tunegate.harness.records.errors import SuiteError, UnknownName, error_summary
from tunegate.harness.records.hashing import content_sha256, file_sha256, sha256

GIVEN = ("seed", "prompt")
"""Arguments of `reset` that are passed if its signature has them."""


class EnvironmentFailed(Exception):
    """Raised by an environment for a failure of its own: the episode is unscored, never 0."""


class TaskEnvironment(Protocol):
    """The methods of an environment; its other public methods are the tools."""

    def reset(self, **row: Any) -> str | None:
        """Begin a task; the returned text is appended to its prompt."""

    def get_reward(self) -> float:
        """Return the reward of the episode, once it has ended."""


@dataclass(frozen=True)
class EnvironmentSource:
    """Where an environment's class comes from, with its options; can be sent to other processes."""

    spec: str
    """`file.py:Class` or `package.module:Class`."""
    folder: str
    """The suite's folder."""
    options: Mapping[str, Any] = field(default_factory=dict)

    def make(self) -> Any:
        """Return a new instance."""
        found = self.load()
        return found(**keyword_options.bind_options(found, self.options, **self._binding))

    def load(self) -> type:
        """Return the class.

        Raises:
            SuiteError: it cannot be found or imported, or is not a class.
        """
        place, _, name = self.spec.rpartition(":")
        try:
            if place.endswith(".py"):
                module = _load_file(str((Path(self.folder) / place).resolve()))
                loaded = getattr(module, name, None)
                if loaded is None:
                    raise SuiteError([f"environment {self.spec!r}: {place} defines no {name!r}"])
            else:
                loaded = lookup.find_object("", self.spec, what="environment")
        except UnknownName as error:
            raise SuiteError([str(error)]) from error
        if not inspect.isclass(loaded):
            raise SuiteError([f"environment {self.spec!r} is not a class; name the class itself"])
        return loaded

    @property
    def tools(self) -> tuple[dict[str, Any], ...]:
        """The definitions of its tools, sorted by name as in TRL; raises UndefinableTool."""
        return tuple(tool_definition(method) for method in tool_methods(self.load()).values())

    @property
    def sha256(self) -> str:
        """Hash of its source files and options."""
        bound = keyword_options.bind_options(self.load(), self.options, **self._binding)
        files = {
            name: content_sha256(value) if isinstance(value, Path) else value
            for name, value in bound.items()
        }
        sources = source_files(self.load())
        return sha256(
            [self.spec.rpartition(":")[2], files, sorted(file_sha256(path) for path in sources)]
        )

    @property
    def _binding(self) -> dict[str, Any]:
        return {
            "skip": 0,
            "folder": Path(self.folder),
            "where": f"environment {self.spec!r}",
        }

    def problems(self, cases: Sequence[Case]) -> Iterator[str]:
        """Yield the problems of the class, its options, and rows that `reset` does not take."""
        place = self.spec.rpartition(":")[0]
        if not place or not self.spec.rpartition(":")[2].isidentifier():
            form = "write it as 'file.py:Class' or 'package.module:Class'"
            yield f"environment={self.spec!r}: {form}"
            return
        if place.endswith(".py"):
            if not (Path(self.folder) / place).is_file():
                yield f"environment={self.spec!r}: no such file: {Path(self.folder) / place}"
                return
            if outside := keyword_options.outside_problem(Path(self.folder), place):
                yield outside
                return
        try:
            environment = self.load()
            _ = keyword_options.bind_options(environment, self.options, **self._binding)
        except SuiteError as error:
            yield from error.problems
            return
        yield from (f"environment {self.spec!r}: {text}" for text in _class_problems(environment))
        if callable(getattr(environment, "reset", None)):
            yield from _row_problems(environment, cases)


def tool_methods(environment: type) -> dict[str, Callable[..., Any]]:
    """Return name → public method, sorted by name and without static methods, as in TRL."""
    return {
        name: member
        for name, member in inspect.getmembers(environment, callable)
        if not name.startswith("_")
        and name not in ("reset", "get_reward")
        and (inspect.isfunction(member) or inspect.ismethod(member))
        and not isinstance(inspect.getattr_static(environment, name), staticmethod)
    }


def reset_arguments(environment: type, case: Case, seed: int) -> dict[str, Any]:
    """Return the arguments of `reset` for a task."""
    names = inspect.signature(environment.reset).parameters  # type: ignore[attr-defined]  # checked
    offered = {"seed": seed, "prompt": list(case.input_messages())}
    return {**{n: v for n, v in offered.items() if n in names}, **(case.row or {})}


def _class_problems(environment: type) -> Iterator[str]:
    for name, what in (("reset", "begins a task"), ("get_reward", "returns the reward")):
        if not callable(getattr(environment, name, None)):
            yield f"it has no method {name!r}, which {what}"
    methods = tool_methods(environment)
    if not methods and not callable(getattr(environment, "_next", None)):
        yield "it has no tools; a public method with a docstring is one"
    for method in methods.values():
        try:
            tool_definition(method)
        except UndefinableTool as error:
            yield f"tool {error}; begin the name with '_' if it is not a tool"


def _row_problems(environment: type, cases: Sequence[Case]) -> Iterator[str]:
    """Yield a problem for each key that `reset` does not take or lacks, with its first task."""
    signature = inspect.signature(environment.reset)  # type: ignore[attr-defined]  # checked before
    named = [p for name, p in signature.parameters.items() if name != "self"]
    taken = [p.name for p in named if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    needed = [p.name for p in named if p.name in taken and p.default is p.empty]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in named)
    seen: set[str] = set()
    for case in cases:
        row = case.row or {}
        unknown = [] if takes_any else [key for key in row if key not in taken]
        lacking = [name for name in needed if name not in row and name not in GIVEN]
        for key in (*unknown, *lacking):
            if key in seen:
                continue
            seen.add(key)
            fault = "does not take" if key in unknown else "needs"
            accepted = ", ".join(taken) or "nothing"
            yield f"{case.where}: row: reset {fault} {key!r}; it takes: {accepted}"


def source_files(environment: type) -> set[Path]:
    """Return the files of the class, its bases, and all that they import except installed packages.

    An installed class has only the files of itself and its bases.
    """
    modules = (sys.modules.get(base.__module__) for base in environment.__mro__)
    files = (getattr(module, "__file__", None) for module in modules)
    return with_imports(Path(file) for file in files if file is not None)


def _load_file(path: str) -> ModuleType:
    """Return the module of a file; it is imported again if the content changes."""
    return _import_file(path, file_sha256(Path(path)))


@contextmanager
def _no_keyboard() -> Iterator[None]:
    """Make `input()` raise EOFError instead of waiting for a person."""
    keyboard, sys.stdin = sys.stdin, io.StringIO()
    try:
        yield
    finally:
        sys.stdin = keyboard


@cache
def _import_file(path: str, digest: str) -> ModuleType:
    """Import a file of the user; raises SuiteError if that fails."""
    name = f"_environment_{digest[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    folder = str(Path(path).parent)
    sys.path.insert(0, folder)  # the modules next to it
    sys.modules[name] = module
    try:
        with redirect_stdout(io.StringIO()), _no_keyboard():
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        problem = f"{path}: fails when imported ({error_summary(error)}); fix it"
        raise SuiteError([problem]) from error
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
    return module


@dataclass(frozen=True)
class EpisodePlan:
    """How the episodes of a suite are played."""

    settings: EpisodeSettings
    source: EnvironmentSource | InspectTask
    tools: tuple[dict[str, Any], ...] = field(repr=False)
    """Definitions of the environment's tools."""
    root: str = ""
    """Hash of what all turns of one episode share; empty before its request is made."""

    def refuse_missing_inspect(self) -> None:
        """Raise UsageError if Inspect plays the tasks and is not installed."""
        if isinstance(self.source, InspectTask):
            self.source.version()
