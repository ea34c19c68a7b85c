"""The page on which people label answers: one offline file, used by keyboard, blind.

It does not reveal which arm wrote an answer. Labels stay in the browser until they are saved as a
file; the page fetches and sends nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tunegate.harness.records.hashing import sha256
from tunegate.reports.page import content_policy
from tunegate.reports.templating import FOLDER, fill_page_template

_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def render_sheet(
    rows: Sequence[Mapping[str, Any]], *, title: str, question: str, values: Sequence[float]
) -> str:
    """Return the page."""
    from markupsafe import Markup

    style = Markup((FOLDER / "label_sheet.css").read_text(encoding="utf-8"))
    script = Markup((FOLDER / "label_sheet.js").read_text(encoding="utf-8"))
    data = {"rows": list(rows), "values": list(values), "key": sha256([list(rows), title])[:16]}
    return fill_page_template(
        "label_sheet.html",
        title=title,
        question=question,
        csp=content_policy(style, script),
        style=style,
        script=script,
        data=Markup(json.dumps(data).translate(_ESCAPES)),  # no HTML is left in it
        words=["no", "yes"] if len(values) == 2 else [f"{value:g}" for value in values],
    )
