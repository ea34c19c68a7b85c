"""Sections of the page, one per file and found by its name; this is their contract.

A section has `TITLE` (empty if it has its own heading), `ORDER` and `render(data) -> Markup`. With
`summarize(data) -> str` it also appears in summary.md. A new section is a file here
and a template, or an entry point of a package.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from tunegate.harness.contracts import lookup

if TYPE_CHECKING:
    from markupsafe import Markup

    from tunegate.reports.data import ReportData

_PACKAGE = "tunegate.reports.sections"

T = TypeVar("T")


class ReportSection(Protocol):
    """Interface of a module of `tunegate.reports.sections`."""

    TITLE: str
    ORDER: int

    def render(self, data: ReportData) -> Markup:
        """Return the section's HTML."""
        ...


def discover_sections() -> dict[str, ReportSection]:
    """Return name → section, in the order of the page."""
    return lookup.ordered_modules(_PACKAGE, extensible=True)


def run_section(name: str, make: Callable[[], T], empty: T) -> T:
    """Return a section's output; `empty`, with a warning, if a package's section fails."""
    try:
        return make()
    except (Exception, SystemExit) as error:
        if not lookup.warn_of_plugin(_PACKAGE, name, error):
            raise
        return empty


def summarize_sections(data: ReportData) -> dict[str, str]:
    """Return title → Markdown of the sections that are in the summary and are not empty."""
    texts: dict[str, str] = {}
    for name, section in discover_sections().items():
        summarize: Callable[[ReportData], str] | None = getattr(section, "summarize", None)
        if summarize is not None and (text := run_section(name, partial(summarize, data), "")):
            texts[section.TITLE] = text
    return texts
