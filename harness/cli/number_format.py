"""The number formats that `--dtype` takes, in commands that are not the gate."""

from __future__ import annotations

from harness.errors import UsageError
from harness.lookup import unknown


def refuse_unknown(dtype: str) -> None:
    """Refuse a number format that the gate would refuse.

    Raises:
        UsageError: there is no such format; the message offers the nearest one.
    """
    from harness.plugin.options import OPTIONS

    choices = next(o.choices for o in OPTIONS if o.name == "dtype") or ()
    if dtype not in choices:
        raise UsageError(unknown(dtype, choices, what="number format"))
