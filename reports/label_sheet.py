"""The page on which people label answers or vote on pairs: by keyboard, blind.

It does not reveal which arm wrote an answer. As a file it stays offline: choices are kept in the
browser until they are saved to a file. `tunegate judge label --serve` serves the same page, which
then sends each choice to that server at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.hidden_text import escape_hidden
from tunegate.reports.page import content_policy
from tunegate.reports.templating import FOLDER, fill_page_template

_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
CHOICES = {"left": "left is better", "tie": "no difference", "right": "right is better"}
"""What a reviewer can vote, in the order of the keys 1 to 3, and the words on the buttons."""


def render_sheet(
    rows: Sequence[Mapping[str, Any]],
    *,
    title: str,
    question: str,
    values: Sequence[float],
    served_to: str | None = None,
) -> str:
    """Return the page on which single answers are labelled.

    Args:
        rows: Rows of the sheet; each is saved with its label.
        title: Heading.
        question: What people are asked about each answer.
        values: Labels, in the order of the keys from 1.
        served_to: Reviewer's name, "" to ask for it, on a page that sends each label to the local
            server; None makes a file that works offline.
    """
    words = ["no", "yes"] if len(values) == 2 else [f"{value:g}" for value in values]
    data = {"rows": list(rows), "values": list(values), "key": sha256([list(rows), title])[:16]}
    return _render(data, title=title, question=question, words=words, note="", served_to=served_to)


def render_voting_sheet(  # noqa: PLR0913  # one for each thing on the page
    rows: Sequence[Mapping[str, Any]],
    *,
    run_id: str,
    key: str,
    title: str,
    question: str,
    note: str,
    served_to: str | None = None,
) -> str:
    """Return the page on which people vote which of two answers is better.

    Args:
        rows: `suite`, `id`, `prompt`, `left` and `right` of each pair, perhaps `context`.
        run_id: The run; it is in the file of votes.
        key: Name of the sheet; it is in the file of votes.
        title: Heading.
        question: What people are asked about each pair.
        note: How many votes decide.
        served_to: As for `render_sheet`.
    """
    parts = ("prompt", "context", "left", "right")
    shown = [
        {k: escape_hidden(v) if k in parts and v is not None else v for k, v in row.items()}
        for row in rows
    ]
    data = {"rows": shown, "values": list(CHOICES), "key": key, "run_id": run_id}
    words = list(CHOICES.values())
    return _render(
        data, title=title, question=question, words=words, note=note, served_to=served_to
    )


def _render(
    data: dict[str, Any],
    *,
    title: str,
    question: str,
    words: list[str],
    note: str,
    served_to: str | None,
) -> str:
    from markupsafe import Markup

    style = Markup((FOLDER / "label_sheet.css").read_text(encoding="utf-8"))
    script = Markup((FOLDER / "label_sheet.js").read_text(encoding="utf-8"))
    policy = content_policy(style, script)
    data |= {"served": served_to is not None, "by": served_to or ""}
    return fill_page_template(
        "label_sheet.html",
        title=title,
        question=question,
        csp=policy if served_to is None else f"{policy}; connect-src 'self'",
        style=style,
        script=script,
        data=Markup(json.dumps(data).translate(_ESCAPES)),  # no HTML is left in it
        words=words,
        note=note,
        pairs="run_id" in data,
        served=data["served"],
    )
