"""Rows in tokens, and which of them are learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

IGNORED = -100
"""Label of a token that is not learned."""


@dataclass(frozen=True, slots=True)
class RowTokens:
    """One row in tokens."""

    where: str
    """File and line."""
    row: Mapping[str, Any] = field(repr=False)
    """Prompt and completion."""
    ids: NDArray[np.int64] = field(repr=False)
    """All tokens, as if `max_length` were without limit."""
    learned: NDArray[np.bool_] = field(repr=False)
    """Which of them are learned."""
    kept: int
    """How many of those `max_length` leaves."""


@dataclass(frozen=True, slots=True)
class TokenizedRows:
    """All rows in tokens, in the order of the files."""

    rows: Sequence[RowTokens] = field(repr=False)
    limit: int | None
    """`max_length`; None if nothing is cut here."""
    context: int | None
    """How many tokens the model reads."""
    stops: frozenset[int]
    """Tokens at which generation stops."""
    bos: int | None


def stop_tokens(configured: int | list[int] | None, tokenizer: Any) -> frozenset[int]:
    """Return the tokens at which generation stops: those of its configuration, and the end."""
    ids = configured if isinstance(configured, list) else [configured]
    return frozenset(i for i in (*ids, tokenizer.eos_token_id) if i is not None)
