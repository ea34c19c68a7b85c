"""Options of metrics and case sources: TOML values → keyword arguments, checked by annotation.

An option is a parameter of the function after those it is always given; its annotation defines the
allowed values. A parameter annotated with a dataclass stands for its fields. All problems of a
table are reported at once.

Example:
    >>> def shout(case, completion, *, times: int = 1): ...
    >>> bind_options(shout, {"times": 2}, skip=2, folder=Path(), where="suite.toml:7")
    {'times': 2}
"""

from __future__ import annotations

import inspect
import os
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from tunegate.harness.records.defaults import ALLOW_OUTSIDE
from tunegate.harness.records.errors import SuiteError, unknown_name_message

Folder = Annotated[Path, "folder"]
"""Type of an option that names a folder instead of a file."""
_LOOSE = (
    float,
    Path,
    Folder,
    Path | None,
    float | None,
    tuple[str, ...],
    str | tuple[str, ...],
    tuple[dict[str, Any], ...],
)
"""Types that TOML lacks: it has 1 for 1.0, text for a path, arrays for tuples."""


def bind_options(
    function: Callable[..., Any],
    options: Mapping[str, Any],
    *,
    skip: int,
    folder: Path,
    where: str,
) -> dict[str, Any]:
    """Return `options` converted to the types of the function's parameters.

    Args:
        function: The function that takes the options.
        options: Name → value in the file.
        skip: Number of leading parameters that are not options.
        folder: The suite's folder, which `Path` options are relative to.
        where: Place in the suite file, for messages.

    Raises:
        SuiteError: an option does not exist, has the wrong type or is missing, or the function has
            fewer than `skip` parameters.
    """
    declared = _parameters(function, skip=skip, where=where)
    parameters = _spread_groups(function, declared)
    hints, groups = _hints(function), _groups(function, declared)
    for group in groups.values():
        hints |= typing.get_type_hints(group, include_extras=True)
    problems = []
    bound: dict[str, Any] = {}
    for name, value in options.items():
        if name not in parameters:
            allowed = tuple(parameters) or ("none",)
            problems.append(f"{where}: {unknown_name_message(name, allowed, what='option')}")
            continue
        try:
            bound[name] = _convert(value, hints.get(name, Any), folder)
        except (ValidationError, OSError) as error:
            problems.append(f"{where}: {name}={value!r}: {_reason(error)}")
    problems += [
        f"{where} needs the option {name!r}"
        for name, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty and name not in options
    ]
    if problems:
        raise SuiteError(problems)
    for name, group in groups.items():
        keys = inspect.signature(group).parameters.keys() & bound
        fields = {key: bound.pop(key) for key in keys}
        if fields:
            bound[name] = group(**fields)
    return bound


def _parameters(
    function: Callable[..., Any], *, skip: int, where: str
) -> dict[str, inspect.Parameter]:
    """Return the parameters that are options."""
    try:
        signature = inspect.signature(function)
        signature.bind_partial(*range(skip))
    except (TypeError, ValueError):
        raise SuiteError(
            [f"{where} must be a function of {skip} arguments and, after them, options by name"]
        ) from None
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = [p for p in signature.parameters.values() if p.kind not in variadic]
    positional = [p for p in named if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    return {p.name: p for p in named if p not in positional[:skip]}


def _spread_groups(
    function: Callable[..., Any], parameters: Mapping[str, inspect.Parameter]
) -> dict[str, inspect.Parameter]:
    """Return the parameters, with the fields of dataclasses instead of their parameters."""
    groups = _groups(function, parameters)
    spread: dict[str, inspect.Parameter] = {}
    for name, parameter in parameters.items():
        group = groups.get(name)
        spread |= inspect.signature(group).parameters if group else {name: parameter}
    return spread


def _groups(function: Callable[..., Any], names: Iterable[str]) -> dict[str, type]:
    """Return the dataclasses that annotate the named parameters."""
    hints = _hints(function)
    return {n: h for n in names if isinstance(h := hints.get(n), type) and is_dataclass(h)}


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations; none if the user's module hides them under TYPE_CHECKING."""
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:
        return {}


_PROJECT_FILES = (".git", "pyproject.toml", "pytest.ini", "tox.ini", "setup.cfg")


def outside_problem(folder: Path, name: str | Path) -> str | None:
    """Return why a suite may not read a file; None if it may.

    With symbolic links followed, the file must be in the suite's folder, in the current directory
    if that contains the suite, or in the project: the nearest folder above with a `.git`, a
    `pyproject.toml` or another file of pytest's settings. Otherwise somebody else's suite could
    publish any file of this machine in the stored cases and on the page.

    Args:
        folder: The suite's folder.
        name: The path in the suite.
    """
    home = folder.resolve()
    try:
        target = (home / name).resolve()
    except (OSError, ValueError, RuntimeError):  # opening it will say what is wrong
        return None
    above = (home, *home.parents)
    marked = (root for root in above if any((root / file).exists() for file in _PROJECT_FILES))
    roots = {home, next(marked, home), *({Path.cwd()} & set(above))}
    if os.environ.get(ALLOW_OUTSIDE) == "1" or any(target.is_relative_to(root) for root in roots):
        return None
    return (
        f"{str(name)!r} is outside the suite's folder and the project; move it there, or use "
        f"`tunegate --allow-outside COMMAND …`, under pytest {ALLOW_OUTSIDE}=1"
    )


def _convert(value: Any, hint: Any, folder: Path) -> Any:
    """Return `value` as the parameter's type; a path must exist next to the suite."""
    try:
        adapter = TypeAdapter(hint)
    except PydanticUserError:
        return value
    converted = adapter.validate_python(value, strict=hint not in _LOOSE)
    if isinstance(converted, Path):
        problem = outside_problem(folder, converted)
        if problem:
            raise PermissionError(problem)
        path = folder / converted
        kind = "folder" if hint == Folder else "file"
        if not (path.is_dir() if kind == "folder" else path.is_file()):
            raise FileNotFoundError(f"no such {kind}: {path}; paths start at the suite's folder")
        return path
    return converted


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return error.errors()[0]["msg"].removeprefix("Value error, ")
    return str(error)
