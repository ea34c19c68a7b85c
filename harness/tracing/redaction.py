"""What is taken out of prompts and answers before they are written, by its name in an option."""

from __future__ import annotations

from harness import lookup
from harness.errors import UsageError
from harness.tracing.content import Content, Redact
from harness.tracing.scrub import scrub

NAMES: dict[str, Redact | None] = {"pii": scrub, "none": None}
"""Name → what it does to a text; None leaves it as it is."""


def content_of(shown: bool, redact: str) -> Content | None:
    """Return what traces hold of prompts and answers.

    Args:
        shown: Whether they hold any.
        redact: `pii`, `none`, or `pkg.mod:fn`, a function that returns a text for a text.

    Raises:
        UsageError: there is no such redaction.
    """
    found = named(redact)
    return Content(found) if shown else None


def named(redact: str) -> Redact | None:
    """Return the redaction called `redact`, or the user's own; None is none at all.

    Raises:
        UsageError: there is none of that name.
    """
    if ":" not in redact:
        if redact not in NAMES:
            raise UsageError(
                f"redaction {redact!r} must be pii, none or a function written pkg.mod:fn"
            )
        return NAMES[redact]
    found = lookup.find("harness.tracing", redact, what="redaction")
    if not callable(found):
        raise UsageError(f"redaction {redact!r} must be a function from text to text")
    return found  # type: ignore[no-any-return]  # what it returns is looked at each time
