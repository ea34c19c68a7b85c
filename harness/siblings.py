"""Guard: our four top-level packages must be ours, not a user's folders of the same name."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

NAMES = ("suites", "trainers", "reports")


def problem() -> str | None:
    """Return why a sibling package is not ours and what to do; None if all are."""
    home = Path(__file__).resolve().parent.parent
    for name in NAMES:
        spec = find_spec(name)
        origin = Path(spec.origin).resolve() if spec and spec.origin else None
        if origin is None or origin.parent.parent != home:
            found = origin.parent if origin else "nothing"
            return (
                f"{name!r} resolves to {found}, not to {home / name}. Rename it, remove its "
                "__init__.py, or run pytest with --import-mode=importlib"
            )
    return None
