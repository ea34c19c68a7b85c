"""Names to objects: `exact_match` is ours, `pkg.mod:fn` is the user's own.

One rule serves metrics, sources, backends and judges: a bare name is the module of that name in
the room's folder, and the object in it has the module's name.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from tunegate.harness.errors import UnknownName


def available(room: str) -> tuple[str, ...]:
    """Return the names that the package `room` (such as `tunegate.harness.metrics`) offers,
    sorted.
    """
    package = importlib.import_module(room)
    names = (module.name for module in pkgutil.iter_modules(package.__path__))
    return tuple(sorted(name for name in names if not name.startswith("_")))


def find(room: str, name: str, *, what: str) -> Any:
    """Return the object called `name` in `room`, or the user's own `pkg.mod:attribute`.

    Raises:
        UnknownName: nothing has that name; the message offers the nearest ones.
    """
    if ":" in name:
        return _find_own(name, what=what)
    if name not in available(room):
        raise UnknownName(unknown(name, available(room), what=what))
    return getattr(importlib.import_module(f"{room}.{name}"), name)


def unknown(name: str, allowed: tuple[str, ...], *, what: str) -> str:
    """Return the sentence for a name that is not among `allowed`."""
    near = get_close_matches(name, allowed, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}?" if near else "there are: " + ", ".join(allowed)
    return f"unknown {what} {name!r}; {hint}"


def _find_own(name: str, *, what: str) -> Any:
    module_name, _, attribute = name.partition(":")
    if not module_name or module_name.startswith(".") or not attribute:
        raise UnknownName(f"{what} {name!r}: write it as 'package.module:function'")
    if str(Path.cwd()) not in sys.path:
        # A command's path holds its own folder, not the one in which it was given.
        sys.path.append(str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UnknownName(
            f"{what} {name!r}: cannot import {module_name!r} ({error}); "
            "run from the folder that holds it, or install it"
        ) from error
    except Exception as error:
        # The user's own code ran: any error may come of it, and all of them are theirs to mend.
        reason = next(iter(str(error).splitlines()), "")
        raise UnknownName(
            f"{what} {name!r}: {module_name!r} fails when imported "
            f"({type(error).__name__}: {reason}); mend it, or name another module"
        ) from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        names = tuple(n for n in vars(module) if not n.startswith("_"))
        raise UnknownName(f"{module_name}: {unknown(attribute, names, what=what)}") from None
