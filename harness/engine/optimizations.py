"""Optimizations of the engine: each can be switched off, and the answers are the same without it.

Example:
    >>> Optimizations.parse("drafts,slots")
    Optimizations(drafts=True, prefixes=False, slots=True)
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from tunegate.harness.records.errors import UsageError, unknown_name_message


@dataclass(frozen=True, slots=True)
class Optimizations:
    """Which optimizations are on."""

    drafts: bool = True
    """Verify what base or the candidate before answered, instead of decoding it; needs slots."""
    prefixes: bool = True
    """Compute what prompts begin with once."""
    slots: bool = True
    """Let waiting rows enter as finished ones leave, in a cache that is never copied."""

    @classmethod
    def parse(cls, text: str) -> Optimizations:
        """Return the optimizations that `text` names: `all`, `none` or some, comma-separated."""
        names = tuple(field.name for field in fields(cls))
        if text in ("all", "none"):
            return cls(*[text == "all" for _ in names])
        words = [name.strip() for name in text.split(",")]
        strange = next((name for name in words if name not in names), None)
        if strange is not None:
            raise UsageError(
                unknown_name_message(strange, ("all", "none", *names), what="optimization")
            )
        return cls(*[name in words for name in names])


ALL = Optimizations()
"""Everything on."""
