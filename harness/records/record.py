r"""The base of every record on disk, with the types of its fields.

Records are frozen, and refuse unknown fields and numbers that are not finite. A docstring under
each field says what it means. Derived numbers are never stored.

JSON can spell half of a surrogate pair (`"\ud800"`), which no UTF-8 file can hold: in every text it
becomes U+FFFD, the replacement character, as soon as it is read.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

SCHEMA_VERSION = 1
"""Version of the files in a run folder; raised when a reader of the old form would misread."""


def replace_surrogates(value: Any) -> Any:
    """Return `value` with U+FFFD for every lone surrogate in its texts, keys included."""
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
    """Round to six significant digits, the precision of verdict.json; there is no minus zero."""
    return None if value is None else float(f"{value:.6g}") + 0.0


Number = Annotated[float | None, AfterValidator(six_digits)]
"""A number of a published record, rounded to six significant digits."""
STRICT = ConfigDict(
    extra="forbid", allow_inf_nan=False, populate_by_name=True, use_attribute_docstrings=True
)
"""Settings of every record: strict about its fields, no NaN and no Infinity."""


class Record(BaseModel):
    """The common base: frozen and strict.

    Records of which a run holds several a case are slotted dataclasses instead, as strict as the
    others: one takes a tenth of the memory.
    """

    model_config = ConfigDict(**STRICT, frozen=True)


def is_none(value: object) -> bool:
    """Return whether a field is left out of records, so that new fields change no old hash."""
    return value is None


MAX_AMOUNT = 10**12
"""Largest count, time and price in a record of an answer."""
