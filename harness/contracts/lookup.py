"""Registries: a folder of modules, and the packages that add to it, by name.

A bare name is a module of a package and the object in it of the same name: `exact_match` is
`harness/metrics/exact_match.py:exact_match`. `pkg.mod:fn` is the user's own. If an order matters
(commands, report sections, training methods, trace conventions, further arms), each module has an
`ORDER`.

Installed packages add names by entry points, in the group `tunegate.` with the folder's name, such
as `tunegate.metrics`. Their code is imported when the name is used or all names are loaded. A name
that two packages have, or a package and tunegate, is refused; `pkg.mod:fn` still names either.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from ast import literal_eval
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tunegate.harness.records.errors import (
    UnknownName,
    error_reason,
    error_summary,
    unknown_name_message,
)

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


_ROOMS = {
    "tunegate.metrics": "tunegate.harness.metrics",
    "tunegate.judges": "tunegate.harness.judges",
    "tunegate.models": "tunegate.harness.models",
    "tunegate.sources": "tunegate.harness.suite.sources",
    "tunegate.gates": "tunegate.harness.gates",
    "tunegate.results": "tunegate.harness.results",
    "tunegate.backends": "tunegate.harness.judges.backends",
    "tunegate.sections": "tunegate.reports.sections",
}
"""Group of entry points → the package that it adds to."""


def module_names(room: str) -> tuple[str, ...]:
    """Return the public modules of the package `room`, sorted, without its subpackages."""
    return tuple(name for name, is_package in _members(room) if not is_package)


def _members(room: str) -> tuple[tuple[str, bool], ...]:
    return _members_in(tuple(importlib.import_module(room).__path__))


@cache
def _members_in(folders: tuple[str, ...]) -> tuple[tuple[str, bool], ...]:
    """Return name → whether it is a package; cached, since large suites ask a thousand times."""
    members = ((module.name, module.ispkg) for module in pkgutil.iter_modules(folders))
    return tuple(sorted(member for member in members if not member[0].startswith("_")))


def available_names(room: str) -> tuple[str, ...]:
    """Return the names in the package `room`, and those that installed packages add, sorted."""
    return tuple(sorted({*module_names(room), *(plugin.name for plugin in entry_points_of(room))}))


def find_object(room: str, name: str, *, what: str) -> Any:
    """Return the object called `name` in `room`, or the user's own `pkg.mod:attribute`.

    Raises:
        UnknownName: nothing has that name, two packages have it, or it cannot be imported.
    """
    if ":" in name:
        return _find_own(name, what=what)
    plugin = _entry_point(room, name, what=what)
    if plugin is not None:
        return _load(plugin, what=what)
    if name not in module_names(room):
        raise UnknownName(unknown_name_message(name, available_names(room), what=what))
    return getattr(importlib.import_module(f"{room}.{name}"), name)


def has(room: str, name: str, *, marked: str) -> bool:
    """Return whether an installed package adds `name`, or its module in `room` defines `marked`."""
    if any(plugin.name == name for plugin in entry_points_of(room)):
        return True
    bundled = name in module_names(room)
    return bundled and hasattr(importlib.import_module(f"{room}.{name}"), marked)


def ordered_module(room: str, name: str) -> ModuleType | None:
    """Return the module called `name` in `room` if it has an `ORDER`; nothing else is imported."""
    if name not in dict(_members(room)):
        return None
    module = importlib.import_module(f"{room}.{name}")
    return module if hasattr(module, "ORDER") else None


def ordered_modules(room: str, *, extensible: bool = False) -> dict[str, Any]:
    """Return name → module or subpackage of `room` with an `ORDER`, sorted by it.

    With `extensible`, modules of installed packages are included; those that cannot be imported or
    used are left out, with a warning on stderr.
    """
    modules: dict[str, Any] = {}
    for name, _ in _members(room):
        module = importlib.import_module(f"{room}.{name}")
        if hasattr(module, "ORDER"):
            modules[name] = module
    what = kind_of(room)
    for plugin in entry_points_of(room) if extensible else ():
        try:
            _refuse_shared_name(room, plugin.name, what=what)
            loaded = _load(plugin, what=what)
        except UnknownName as error:
            warn(f"{error}; it is left out")
            continue
        if isinstance(getattr(loaded, "ORDER", None), int | float):
            modules[plugin.name] = loaded
        else:
            warn(
                f"{what} {plugin.name!r} of the package {provider(plugin)} has no number ORDER "
                "and is left out"
            )
    return dict(sorted(modules.items(), key=lambda item: item[1].ORDER))


def definition_lines(room: str, name: str) -> dict[str, str]:
    """Return module → the source line that defines `name`, sorted by `ORDER`, without imports.

    A definition begins its line: `name = …` or `def name(…`.
    """
    lines: list[tuple[int, str, str]] = []
    pattern = re.compile(rf"^(?:def )?{name}\b.*$", re.MULTILINE)
    for path in (path for folder in _folders(room) for path in Path(folder).glob("[!_]*.py")):
        source = path.read_text(encoding="utf-8")
        if match := pattern.search(source):
            order = re.search(r"^ORDER = (\d+)", source, re.MULTILINE)
            lines.append((int(order[1]) if order else 0, path.stem, match[0]))
    return {module: line for _, module, line in sorted(lines)}


def _folders(room: str) -> list[str]:
    """Return the folders of a package without importing it."""
    if room in sys.modules:
        return list(sys.modules[room].__path__)
    parent, _, name = room.rpartition(".")
    return [f"{folder}/{name}" for folder in _folders(parent)]


def defined_texts(room: str, name: str) -> dict[str, str]:
    """Return module → the text that it assigns to `name` in one line."""
    lines = definition_lines(room, name)
    return {module: literal_eval(line.partition(" = ")[2]) for module, line in lines.items()}


def entry_points_of(room: str) -> tuple[EntryPoint, ...]:
    """Return the entry points by which installed packages add to `room`, without imports."""
    group = f"tunegate.{room.rpartition('.')[2]}"
    return tuple(entry for entry in _read_entry_points(tuple(sys.path)) if entry.group == group)


def installed_plugins() -> Iterator[tuple[EntryPoint, str | None]]:
    """Import every plugin; yield its entry point, and why it cannot be used."""
    for entry in _read_entry_points(tuple(sys.path)):
        room, what = _ROOMS.get(entry.group, ""), kind_of(entry.group)
        if not room:
            yield entry, f"unknown group; there are: {', '.join(_ROOMS)}"
            continue
        try:
            _refuse_shared_name(room, entry.name, what=what)
            _load(entry, what=what)
        except UnknownName as error:
            yield entry, str(error)
        else:
            yield entry, None


def warn_of_plugin(room: str, name: str, error: BaseException) -> bool:
    """Warn of an error in an installed package; return False if `name` is tunegate's own."""
    failure = _failure(room, name, error)
    if failure is not None:
        warn(f"{failure} and is left out")
    return failure is not None


def plugin_failure(room: str, name: str, error: BaseException) -> str | None:
    """Return the message for an error in an installed package; None if `name` is tunegate's own."""
    failure = _failure(room, name, error)
    return None if failure is None else f"{failure}; upgrade or uninstall the package"


def _failure(room: str, name: str, error: BaseException) -> str | None:
    for plugin in entry_points_of(room):
        if plugin.name == name:
            return (
                f"{kind_of(room)} {name!r} of the package {provider(plugin)} failed "
                f"({_summary(error)})"
            )
    return None


def provider(plugin: EntryPoint) -> str:
    """Return the name and version of an entry point's package."""
    return f"{plugin.dist.name} {plugin.dist.version}" if plugin.dist else "an unnamed package"


@cache
def _read_entry_points(path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Read the entry points of our groups, once for each path: it takes 10 ms with 200 packages."""
    from importlib.metadata import entry_points

    installed = entry_points()
    groups = (group for group in installed.groups if group.startswith("tunegate."))
    ours = (entry for group in groups for entry in installed.select(group=group))
    return tuple(sorted(ours, key=lambda entry: (entry.group, entry.name, provider(entry))))


def _entry_point(room: str, name: str, *, what: str) -> EntryPoint | None:
    """Return the one entry point of that name.

    Raises:
        UnknownName: two packages have the name, or a package and tunegate.
    """
    plugins = [plugin for plugin in entry_points_of(room) if plugin.name == name]
    if not plugins:
        return None
    try:
        _refuse_shared_name(room, name, what=what)
    except UnknownName as error:
        raise UnknownName(f"{error}, or write {plugins[-1].value!r} instead of the name") from None
    return plugins[0]


def _refuse_shared_name(room: str, name: str, *, what: str) -> None:
    plugins = [plugin for plugin in entry_points_of(room) if plugin.name == name]
    givers = [*(["tunegate"] if name in module_names(room) else []), *map(provider, plugins)]
    if len(givers) > 1:
        raise UnknownName(
            f"{what} {name!r} comes from {' and '.join(givers)}; uninstall one of them"
        )


def _load(plugin: EntryPoint, *, what: str) -> Any:
    """Import an entry point; from a module without `ORDER`, the object of the same name."""
    try:
        loaded = plugin.load()
        if isinstance(loaded, ModuleType) and not hasattr(loaded, "ORDER"):
            return getattr(loaded, plugin.name)
        return loaded
    except (Exception, SystemExit) as error:
        # The package's own code may raise anything.
        raise UnknownName(
            f"{what} {plugin.name!r} of the package {provider(plugin)} cannot be imported "
            f"({_summary(error)}); upgrade or uninstall the package"
        ) from error


def kind_of(room: str) -> str:
    """Return the singular of a package's name: `metric` for `tunegate.harness.metrics`."""
    return room.rpartition(".")[2].removesuffix("s")


@cache
def warn(sentence: str) -> None:
    """Print a warning once."""
    sys.stderr.write(f"tunegate: warning: {sentence}\n")


def _summary(error: BaseException) -> str:
    r"""Return an error's type and reason, with control characters written as `\uXXXX`."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in error_summary(error))


def _find_own(name: str, *, what: str) -> Any:
    module_name, _, attribute = name.partition(":")
    if not module_name or module_name.startswith(".") or not attribute:
        raise UnknownName(f"{what} {name!r}: write it as 'package.module:function'")
    if str(Path.cwd()) not in sys.path:
        # A command's path has its own folder, not the current one.
        sys.path.append(str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UnknownName(
            f"{what} {name!r}: cannot import {module_name!r} ({error_reason(error)}); "
            "run from the folder that contains it, or install it"
        ) from error
    except (Exception, SystemExit) as error:
        # The user's own code may raise anything.
        raise UnknownName(
            f"{what} {name!r}: {module_name!r} fails when imported "
            f"({_summary(error)}); fix it, or name another module"
        ) from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        names = tuple(n for n in vars(module) if not n.startswith("_"))
        raise UnknownName(
            f"{module_name}: {unknown_name_message(attribute, names, what=what)}"
        ) from None
