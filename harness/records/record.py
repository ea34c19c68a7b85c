r"""The base of every record on disk, with the types of its fields.

Records are frozen, and refuse unknown fields and numbers that are not finite. Derived numbers are
never stored. JSON can spell half of a surrogate pair (`"\ud800"`), which UTF-8 cannot: it becomes
U+FFFD, the replacement character, when it is read.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

SCHEMA_VERSION = 1
"""Version of the files in a run folder; raised when older readers would misread them."""


def replace_surrogates(value: Any) -> Any:
    """Return `value` with U+FFFD for every lone surrogate in its texts and keys."""
    if isinstance(value, str):
        return value if value.isascii() else _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, dict):
        return {replace_surrogates(key): replace_surrogates(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(replace_surrogates(item) for item in value)
    return value


_SURROGATE = re.compile("[\ud800-\udfff]")
Text = Annotated[str, BeforeValidator(replace_surrogates)]
"""A text that UTF-8 can hold."""
Json = Annotated[dict[str, Any], BeforeValidator(replace_surrogates)]
"""A JSON object whose texts UTF-8 can hold."""


def six_digits(value: float | None) -> float | None:
    """Round to six significant digits, the precision of verdict.json; -0.0 becomes 0.0."""
    return None if value is None else float(f"{value:.6g}") + 0.0


Number = Annotated[float | None, AfterValidator(six_digits)]
"""A number of a published record, rounded to six significant digits."""
STRICT = ConfigDict(
    extra="forbid", allow_inf_nan=False, populate_by_name=True, use_attribute_docstrings=True
)
"""Settings of every record: no unknown fields, no NaN and no Infinity."""


class Record(BaseModel):
    """The common base: frozen and strict.

    Records that a run holds by the thousand are slotted dataclasses, as strict, instead: they take
    a tenth of the memory.
    """

    model_config = ConfigDict(**STRICT, frozen=True)


def is_none(value: object) -> bool:
    """Return whether a field is left out, so that new fields do not change old hashes."""
    return value is None


MAX_AMOUNT = 10**12
"""Largest count, time or price in a record."""
