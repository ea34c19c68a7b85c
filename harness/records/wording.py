"""Wording of counts."""


def count_noun(count: int, singular: str, plural: str | None = None) -> str:
    """Return `1 case`, `2 cases` or `1,200 cases`."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"
