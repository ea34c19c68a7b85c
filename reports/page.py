"""The HTML page of a run, and the bundle of files written next to it.

Everything is HTML but the list of cases, which the page's script draws from embedded JSON, so that
ten thousand cases stay a small document. Sections are the modules of `tunegate.reports.sections`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from tunegate.harness.records.files import write_atomic
from tunegate.harness.records.run_folder import Run
from tunegate.reports import escaping, junit, markdown, openmetrics
from tunegate.reports.annotations import code_quality, run_annotations
from tunegate.reports.case_list import list_cases
from tunegate.reports.data import ReportData, prepare_data
from tunegate.reports.formatting import FACES
from tunegate.reports.sections import ReportSection, discover_sections, run_section
from tunegate.reports.templating import FOLDER, fill_page_template

LIMIT = 25_000_000
"""Limit in bytes of a page, unless the scores alone exceed it."""

KEYS = (
    (("n", "p"), "open the next, the previous case of the list"),
    (("j", "k"), "go to the next, the previous row"),
    (("Enter",), "open or close the row in focus"),
    (("t",), "one completion in the other’s place: base, tuned"),
    (("d",), "mark differing words, differing lines, nothing"),
    (("s",), "side by side, or one text"),
    (("b",), "blind: hide which completion is whose"),
    (("m",), "mark the open case as reviewed"),
    (("/",), "search the cases"),
    (("Esc",), "leave the search, close the case, clear the filters"),
    (("?",), "this help"),
)
"""Keys and what they do, as in `script/keys.js`."""

_SCRIPTS = (
    "dom", "data", "address", "completions", "code", "case", "waterfall", "traced", "list",
    "filters", "marks", "runs", "downloads", "keys", "print", "start",
)  # fmt: skip
"""The parts of the page's script, in order of dependency."""

_HERE = "<!-- cases -->"
"""Placeholder of the list of cases in the template."""


def render_page(run: Run) -> str:
    """Return the whole page of a run: the same run gives the same bytes."""
    return "".join(page_pieces(run))


def page_pieces(run: Run, data: ReportData | None = None) -> Iterator[str]:
    """Yield the page in pieces, as its list of cases is large."""
    from markupsafe import Markup

    data, sections, here = data or prepare_data(run), discover_sections(), Markup(_HERE)
    style, script = Markup(_asset("style.css")), Markup(_script())
    shell = fill_page_template(
        "page.html",
        run=run,
        face=FACES[run.verdict.verdict],
        csp=content_policy(style, script),
        style=style,
        script=script,
        keys=KEYS,
        sections=[
            part for name in sections if (part := _part(name, sections[name], data))["html"].strip()
        ],
        data=here,
    )
    before, _, after = shell.rpartition(here)
    yield before
    yield from _data(data, LIMIT - len(before.encode()) - len(after.encode()))
    yield after


def _data(data: ReportData, room: int) -> Iterator[str]:
    """Yield the elements with all scores, two files, and as many texts as fit."""
    listing = list_cases(data)
    comment = markdown.render_comment(data.run, data).removeprefix(f"{markdown.MARKER}\n")
    ready = escaping.script_json({"junit": junit.render_junit(data.run, data), "markdown": comment})
    for piece in chain(
        escaping.json_block("index", listing.index()), escaping.json_block("files", [ready])
    ):
        room -= len(piece.encode())
        yield piece
    room -= len("".join(escaping.json_block("texts", ["[]"])).encode())
    yield from escaping.json_block("texts", listing.bodies(room))


def content_policy(style: str, script: str) -> str:
    """Return the content security policy: only these two texts apply, and nothing is fetched."""
    return (
        f"default-src 'none'; style-src {_source(style)}; script-src {_source(script)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def render_scriptless_page(template: str, *, tone: str, style: str, **values: Any) -> str:
    """Return a page without scripts, from a template that extends `plain.html`."""
    from markupsafe import Markup

    rules = Markup("").join(Markup(_asset(name)) for name in ("style.css", style))
    allowed = content_policy(rules, "").split("; ")
    csp = "; ".join(part for part in allowed if not part.startswith("script-src"))
    return fill_page_template(template, tone=tone, csp=csp, style=rules, **values)


def _source(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _asset(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _script() -> str:
    return "\n".join(_asset(f"script/{name}.js") for name in _SCRIPTS)


def _part(name: str, section: ReportSection, data: ReportData) -> dict[str, Any]:
    from markupsafe import Markup

    title, html = run_section(name, lambda: (section.TITLE, section.render(data)), ("", Markup()))
    return {"id": name.replace("_", "-"), "title": title, "html": html}


def write_all(
    run: Run, folder: Path, root: Path = Path(), data: ReportData | None = None
) -> dict[str, Path]:
    """Write the report files for people and CI; return name → path."""
    data = data or prepare_data(run)
    texts: dict[str, str | Iterator[str]] = {
        "report.html": page_pieces(run, data),
        "summary.md": markdown.render_summary(run, data),
        "comment.md": markdown.render_comment(run, data),
        "junit.xml": junit.render_junit(run, data),
        "metrics.txt": openmetrics.render_openmetrics(run),
        "codequality.json": code_quality(run_annotations(run, root)),
    }
    for name, text in texts.items():
        write_atomic(folder / name, text)
    return {name: folder / name for name in texts}
