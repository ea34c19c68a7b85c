"""What makes the engine fast, each to be switched off: the answers are the same without it.

Example:
    >>> Levers.named("drafts,slots")
    Levers(drafts=True, prefixes=False, slots=True)
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from harness.errors import UsageError
from harness.lookup import unknown


@dataclass(frozen=True, slots=True)
class Levers:
    """Which levers are on."""

    drafts: bool = True
    """Verify what base or the candidate before answered, instead of decoding it; needs slots."""
    prefixes: bool = True
    """Compute what prompts begin with once."""
    slots: bool = True
    """Let waiting rows enter as finished ones leave, in a cache that is never copied."""

    @classmethod
    def named(cls, text: str) -> Levers:
        """Return the levers that `text` names: `all`, `none` or some with commas between.

        Raises:
            UsageError: a name is no lever.
        """
        names = tuple(field.name for field in fields(cls))
        if text in ("all", "none"):
            return cls(*[text == "all" for _ in names])
        asked = [name.strip() for name in text.split(",")]
        strange = next((name for name in asked if name not in names), None)
        if strange is not None:
            raise UsageError(unknown(strange, ("all", "none", *names), what="lever"))
        return cls(*[name in asked for name in names])


ALL = Levers()
"""Everything on."""
