"""Trace viewer: the address under which it shows a trace, with places for the ids.

`http://localhost:16686/trace/{trace_id}?uiFind={span_id}` is Jaeger's. A run's page makes a link of
it for each case; nothing follows it but the reader.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from tunegate.harness.records.errors import UsageError

ORIGIN = "trace viewer"
"""Its name in the manifest's `origin`."""
PLACES = ("{trace_id}", "{span_id}")
_SCHEMES = ("http", "https")
_ADDRESS = re.compile(r"[!-~]{1,2000}")


def template_problem(template: str) -> str | None:
    """Return what is wrong with a template; None if it is fine."""
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
        return "begin it with http:// or https:// and a host"
    if "@" in parts.netloc:
        return "leave out user and password: everybody with the page would have them"
    if bare == template:
        return f"put {' or '.join(PLACES)} in it"
    if set("{}") & set(bare):
        return f"use braces only in {' and '.join(PLACES)}; write others as %7B and %7D"
    return None


def check_template(template: str) -> str:
    """Return a template, checked."""
    wrong = template_problem(template)
    if wrong:
        raise UsageError(f"trace link {template!r}: {wrong}")
    return template
