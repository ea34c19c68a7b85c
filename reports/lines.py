"""The line diff of two completions, in the form that ` ```diff ` fences colour."""

from __future__ import annotations

LIMIT = 60
"""Lines of each side at most."""


def line_diff(base: str, tuned: str) -> str:
    """Return both texts line by line: `-` base only, `+` tuned only, a space for both."""
    from rapidfuzz.distance import Indel

    left, right = _lines(base), _lines(tuned)
    out: list[str] = []
    added: list[str] = []  # kept back, so that what base wrote stands first
    for op in Indel.opcodes(left, right):
        if op.tag == "equal":
            out += added + [f"  {line}" for line in left[op.src_start : op.src_end]]
            added = []
            continue
        out += [f"- {line}" for line in left[op.src_start : op.src_end]]
        added += [f"+ {line}" for line in right[op.dest_start : op.dest_end]]
    return "\n".join(out + added)


def _lines(text: str) -> list[str]:
    lines = text.split("\n") if text else ["(empty)"]
    more = len(lines) - LIMIT
    return lines if more <= 0 else [*lines[:LIMIT], f"({more} more lines)"]
