'''Environment: a Python class in which a model acts, in the form that TRL's GRPO trains with.

A public method with a docstring is a tool. `reset` begins a task and may return a text, which is
put behind the task's prompt; `get_reward` returns what the episode was worth. TRL is never imported
for it: the class that a model was trained with (`GRPOTrainer(environment_factory=Desk)`) is the
class that decides about it.

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

Three hooks begin with an underscore, so that TRL takes none of them for a tool: `_next(answer)`
returns the next message of a simulated user, or None; `_stats()` returns numbers for the record;
`_close()` lets go of what the instance holds. `reset` gets the keys of the task's `row`, and, where
it names them, `seed` and `prompt`.
'''

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from tunegate.harness.contracts import lookup, options
from tunegate.harness.contracts.tool_definition import UndefinableTool, tool_definition
from tunegate.harness.records.cases import Case
from tunegate.harness.records.episodes import EpisodeSettings
from tunegate.harness.records.errors import SuiteError, UnknownName, UsageError, error_summary
from tunegate.harness.records.hashing import sha256

GIVEN = ("seed", "prompt")
"""Further argument of `reset`, passed where its signature has it."""


class EnvironmentFailed(Exception):
    """Raised by an environment for a failure of its own: the episode is unscored, never a zero."""


class TaskEnvironment(Protocol):
    """The methods of an environment; its other public methods are the tools."""

    def reset(self, **row: Any) -> str | None:
        """Begin a task; what it returns is put behind the task's prompt."""

    def get_reward(self) -> float:
        """Return what the episode was worth, once it has ended."""


@dataclass(frozen=True)
class EnvironmentSource:
    """Where an environment's class comes from, and how its instances are made.

    It is small and can be sent to another process, which loads the class again.
    """

    spec: str
    """`file.py:Class` or `package.module:Class`."""
    folder: str
    """The suite's folder."""
    options: Mapping[str, Any] = field(default_factory=dict)

    def make(self) -> Any:
        """Return a new instance; raises whatever its constructor raises."""
        found = self.load()
        return found(**options.bind_options(found, self.options, **self._binding))

    def load(self) -> type:
        """Return the class.

        Raises:
            SuiteError: it cannot be found or imported, or is no class.
        """
        place, _, name = self.spec.rpartition(":")
        try:
            if place.endswith(".py"):
                module = _load_file(str((Path(self.folder) / place).resolve()))
                found = getattr(module, name, None)
                if found is None:
                    raise SuiteError([f"environment {self.spec!r}: {place} defines no {name!r}"])
            else:
                found = lookup.find_object("", self.spec, what="environment")
        except UnknownName as error:
            raise SuiteError([str(error)]) from error
        if not inspect.isclass(found):
            raise SuiteError([f"environment {self.spec!r} is not a class; name the class itself"])
        return found

    @property
    def tools(self) -> tuple[dict[str, Any], ...]:
        """The definitions of its tools, sorted by name as TRL finds them.

        Raises:
            UndefinableTool: a public method cannot be shown to a model.
        """
        return tuple(tool_definition(method) for method in tool_methods(self.load()).values())

    @property
    def sha256(self) -> str:
        """Hash of its source files and options: of all that can change what it answers."""
        bound = options.bind_options(self.load(), self.options, **self._binding)
        files = {
            name: _digest(value) if isinstance(value, Path) else value
            for name, value in bound.items()
        }
        found = source_files(self.load())
        return sha256(
            [self.spec.rpartition(":")[2], files, sorted(_digest(path) for path in found)]
        )

    @property
    def _binding(self) -> dict[str, Any]:
        return {
            "given": 0,
            "folder": Path(self.folder),
            "where": f"environment {self.spec!r}",
        }

    def problems(self, cases: Sequence[Case]) -> Iterator[str]:
        """Yield what is wrong with the class, its options, and rows that `reset` does not take."""
        place = self.spec.rpartition(":")[0]
        if not place or not self.spec.rpartition(":")[2].isidentifier():
            form = "write it as 'file.py:Class' or 'package.module:Class'"
            yield f"environment={self.spec!r}: {form}"
            return
        if place.endswith(".py"):
            if not (Path(self.folder) / place).is_file():
                yield f"environment={self.spec!r}: no such file: {Path(self.folder) / place}"
                return
            if outside := options.outside_problem(Path(self.folder), place):
                yield outside
                return
        try:
            found = self.load()
            _ = options.bind_options(found, self.options, **self._binding)
        except SuiteError as error:
            yield from error.problems
            return
        yield from (f"environment {self.spec!r}: {text}" for text in _class_problems(found))
        if callable(getattr(found, "reset", None)):
            yield from _row_problems(found, cases)


def tool_methods(environment: type) -> dict[str, Callable[..., Any]]:
    """Return name → public method, sorted by name; static methods are none, as in TRL."""
    return {
        name: member
        for name, member in inspect.getmembers(environment, callable)
        if not name.startswith("_")
        and name not in ("reset", "get_reward")
        and (inspect.isfunction(member) or inspect.ismethod(member))
        and not isinstance(inspect.getattr_static(environment, name), staticmethod)
    }


def reset_arguments(environment: type, case: Case, seed: int) -> dict[str, Any]:
    """Return what `reset` is called with for a task."""
    names = inspect.signature(environment.reset).parameters  # type: ignore[attr-defined]  # checked
    given = {"seed": seed, "prompt": list(case.input_messages())}
    return {**{n: v for n, v in given.items() if n in names}, **(case.row or {})}


def _class_problems(found: type) -> Iterator[str]:
    for name, what in (("reset", "begins a task"), ("get_reward", "returns the reward")):
        if not callable(getattr(found, name, None)):
            yield f"it has no method {name!r}, which {what}"
    methods = tool_methods(found)
    if not methods and not callable(getattr(found, "_next", None)):
        yield "it has no tools; a public method with a docstring is one"
    for method in methods.values():
        try:
            tool_definition(method)
        except UndefinableTool as error:
            yield f"tool {error}; begin the name with '_' if it is none"


def _row_problems(found: type, cases: Sequence[Case]) -> Iterator[str]:
    """Yield the tasks whose row `reset` would not take, the first of each kind."""
    signature = inspect.signature(found.reset)  # type: ignore[attr-defined]  # checked before
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
            known = ", ".join(taken) or "nothing"
            yield f"{case.where}: row: reset {fault} {key!r}; it takes: {known}"


def source_files(environment: type) -> set[Path]:
    """Return the files that the class and what it uses are written in.

    These are the modules of the class and of its bases, and those that they import, as far as they
    are no installed packages; of an installed class, its own module and those of its bases alone.
    """
    modules = (sys.modules.get(base.__module__) for base in environment.__mro__)
    files = (getattr(module, "__file__", None) for module in modules)
    return _with_imports(Path(file) for file in files if file is not None)


def _with_imports(files: Iterable[Path]) -> set[Path]:
    """Return files with those that they import, as far as these are no installed packages."""
    rest = list(files)
    found: set[Path] = set()
    while rest:
        path = rest.pop()
        if path in found or _is_standard(path):
            continue
        found.add(path)
        if not _is_installed(path):
            rest += (one for one in _imported_files(path) if not _is_installed(one))
    return found


def _imported_files(path: Path) -> Iterator[Path]:
    """Yield the files of the modules that a file imports, also those imported in functions."""
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
        known = getattr(sys.modules.get(name), "__file__", None)
        if near.is_file() or known is not None:
            yield near if near.is_file() else Path(known or "")


def _is_standard(path: Path) -> bool:
    return path.is_relative_to(sysconfig.get_paths()["stdlib"]) and "site-packages" not in str(path)


def _is_installed(path: Path) -> bool:
    return "site-packages" in path.parts or "dist-packages" in path.parts or _is_standard(path)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _load_file(path: str) -> ModuleType:
    """Return the module of a file, imported once for each content."""
    return _import_file(path, _digest(Path(path)))


@contextmanager
def _no_keyboard() -> Iterator[None]:
    """While open, `input()` ends with EOFError in place of waiting for a person."""
    keyboard, sys.stdin = sys.stdin, io.StringIO()
    try:
        yield
    finally:
        sys.stdin = keyboard


@cache
def _import_file(path: str, digest: str) -> ModuleType:
    """Import a file of the user.

    Raises:
        SuiteError: it fails.
    """
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


INSPECT_PYTHON = "TUNEGATE_INSPECT_PYTHON"
"""Environment variable with the Python that has Inspect, for suites that name none."""
_TASK = re.compile(r"(?P<file>[^@]+\.py)@(?P<name>[^@/\s]+)|[A-Za-z_]\w*/[\w./-]+")
_OWN_FLAGS = frozenset(
    {
        "--epochs", "--log-dir", "--log-format", "--max-tokens", "--model", "--model-base-url",
        "--sample-id", "--system-message", "--temperature", "--top-p", "-T", "--task-config",
    }
)  # fmt: skip
"""Options of `inspect eval` that follow from the suite and the run."""


@dataclass(frozen=True)
class InspectTask:
    """A task of Inspect (UK AISI), which is run by another process; nothing of it is imported."""

    spec: str
    """`file.py@task`, or `package/task`."""
    folder: str
    """The suite's folder."""
    python: str = ""
    """Python that has Inspect, from the suite's folder; empty for the default one."""
    flags: tuple[str, ...] = ()
    """Further words of `inspect eval`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the task."""

    @property
    def interpreter(self) -> str:
        """The Python that runs it: the suite's, the environment variable's, or this one."""
        if os.sep in self.python:
            return str(Path(self.folder).resolve() / self.python)
        found = self.python or os.environ.get(INSPECT_PYTHON) or sys.executable
        return str(Path(found).absolute()) if os.sep in found else found

    @property
    def sha256(self) -> str:
        """Hash of the task's source files, its options and flags."""
        found = _TASK.fullmatch(self.spec)
        file = found and found["file"]
        sources = _with_imports([(Path(self.folder) / file).resolve()]) if file else set()
        name = found["name"] if found and file else self.spec
        digests = sorted(_digest(path) for path in sources)
        return sha256([name, dict(self.options), list(self.flags), digests])

    def problems(self) -> Iterator[str]:
        """Yield what can be seen to be wrong without running anything."""
        found = _TASK.fullmatch(self.spec)
        if found is None:
            yield f"inspect={self.spec!r}: write it as 'file.py@task' or 'package/task'"
            return
        if file := found["file"]:
            if outside := options.outside_problem(Path(self.folder), file):
                yield outside
            elif not (Path(self.folder) / file).is_file():
                yield f"inspect={self.spec!r}: no such file: {Path(self.folder) / file}"
        for flag in self.flags:
            if flag.partition("=")[0] in _OWN_FLAGS:
                yield (
                    f"flags: {flag} follows from the suite and the run; remove it (arguments of "
                    "the task are `options`, samples and temperature are under [generation])"
                )

    def version(self) -> str:
        """Return the version of Inspect that runs it.

        Raises:
            UsageError: there is none, with what to do about it.
        """
        found = shutil.which(self.interpreter)
        asked = "import importlib.metadata as m; print(m.version('inspect-ai'))"
        ran = found and subprocess.run(
            [found, "-c", asked], capture_output=True, text=True, check=False, timeout=60
        )
        if ran and ran.returncode == 0:
            return ran.stdout.strip()
        lacking = "has no inspect-ai" if found else "is not a program"
        raise UsageError(
            f"inspect={self.spec!r}: {self.interpreter} {lacking}; `pip install inspect-ai openai` "
            f"into an environment, and name its Python with `python = …` under [episode] or "
            f"{INSPECT_PYTHON}=…"
        )


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
        """Refuse tasks that Inspect plays where it is not installed.

        Raises:
            UsageError: with what to install.
        """
        if isinstance(self.source, InspectTask):
            self.source.version()
