"""Tables of a page for readers without scripts."""

from __future__ import annotations

from typing import Any

from tunegate.reports.page import policy
from tunegate.reports.templating import FOLDER, fill


def filled(template: str, *, tone: str, style: str, **values: Any) -> str:
    """Return a page that extends `plain.html`.

    Args:
        template: Its file.
        tone: The tone of what it says: `good`, `bad`, `warn` or `calm`.
        style: File of its own rules, which follow the report's.
        values: What it shows.
    """
    from markupsafe import Markup

    rules = Markup("").join(
        Markup((FOLDER / name).read_text(encoding="utf-8")) for name in ("style.css", style)
    )
    return fill(template, tone=tone, csp=_policy(rules), style=rules, **values)


def _policy(style: str) -> str:
    """Return the content security policy: this style applies, no script runs at all."""
    parts = policy(style, "").split("; ")
    return "; ".join(part for part in parts if not part.startswith("script-src"))
