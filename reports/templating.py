"""The Jinja environment: everything is escaped, hidden characters are written out."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunegate.harness.contracts.quantity import QuantityFormat, parity_format, quantity_of
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.gates.contract.sentences import gate_words
from tunegate.harness.records.hidden_text import escape_hidden
from tunegate.harness.records.wording import count_noun
from tunegate.reports import escaping, formatting

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

FOLDER = Path(__file__).parent / "templates"


def fill_page_template(template: str | Path, /, **values: Any) -> Markup:
    """Return a template filled with `values`, safe to put into a page."""
    from markupsafe import Markup

    if isinstance(template, str):
        return Markup(template_environment().get_template(template).render(values))
    own_template = template_environment().from_string(template.read_text(encoding="utf-8"))
    return Markup(own_template.render(values))


@cache
def template_environment() -> Environment:
    """Return the environment of all templates."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(FOLDER, encoding="utf-8"),
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "visible": escaping.escape_html,
        "address": escaping.link_address,
        "number": formatting.format_level,
        "signed": formatting.format_difference,
        "percent": formatting.format_percent,
        "seconds": formatting.format_seconds,
        "dollars": formatting.format_dollars,
        "counted": count_noun,
        "rule": formatting.gate_rule,
    }
    environment.globals |= {
        "gate_kind": gate_kind,
        "gate_words": gate_words,
        "written": formatting.format_gate_value,
        "interval": formatting.format_interval,
        "gate_interval": formatting.format_gate_interval,
        "quantity": quantity_of,
        "parity_format": parity_format,
        "as_rate": QuantityFormat,
    }
    return environment


def _finalize(value: Any) -> Any:
    """Write out hidden characters of every value that a template prints."""
    from markupsafe import Markup

    return escape_hidden(value) if isinstance(value, str) and type(value) is not Markup else value
