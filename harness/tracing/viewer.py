"""Where a viewer shows a run's traces: an address with places for the ids.

`http://localhost:16686/trace/{trace_id}?uiFind={span_id}` is Jaeger's. The page of a run makes
a link of it for each case; whoever reads the page follows it, nothing else does.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from harness.errors import UsageError

ORIGIN = "trace viewer"
"""The name under which a run's manifest has it, among the facts of where the run was made."""
PLACES = ("{trace_id}", "{span_id}")
_SCHEMES = ("http", "https")
_ADDRESS = re.compile(r"[!-~]{1,2000}")


def problem(template: str) -> str | None:
    """Return what is wrong with a template; None if a link can be made of it."""
    if not _ADDRESS.fullmatch(template) or set("<>\"'`\\") & set(template):
        return "write it in visible ASCII without quotes, < and >"
    bare = template
    for place in PLACES:
        bare = bare.replace(place, "")
    try:
        parts = urlsplit(bare)
    except ValueError as error:
        return str(error)
    if parts.scheme not in _SCHEMES or not parts.netloc:
        return "it begins with http:// or https:// and a host"
    if "@" in parts.netloc:
        return "it names no user and no password: whoever has the page would have them"
    if bare == template:
        return f"it has {' or '.join(PLACES)}"
    if set("{}") & set(bare):
        return f"of braces it has only {' and '.join(PLACES)}; write others as %7B and %7D"
    return None


def checked(template: str) -> str:
    """Return a template of which links can be made.

    Raises:
        UsageError: it is none.
    """
    wrong = problem(template)
    if wrong:
        raise UsageError(f"trace link {template!r}: {wrong}")
    return template
