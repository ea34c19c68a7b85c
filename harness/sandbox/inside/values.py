"""Values on the wire: plain ones travel, any other object stays where it is and gets a number."""

from __future__ import annotations

import builtins
import datetime
import decimal
import fractions
from collections import namedtuple
from collections.abc import Callable
from typing import Any

CONTAINERS: dict[str, Any] = {
    "list": list, "tuple": tuple, "set": set, "frozenset": frozenset,
}  # fmt: skip
_FROM_TEXT: dict[str, tuple[Any, Callable[[Any], str], Callable[[str], Any]]] = {
    "datetime": (datetime.datetime, lambda v: str(v.isoformat()), datetime.datetime.fromisoformat),
    "date": (datetime.date, lambda v: str(v.isoformat()), datetime.date.fromisoformat),
    "time": (datetime.time, lambda v: str(v.isoformat()), datetime.time.fromisoformat),
    "decimal": (decimal.Decimal, str, decimal.Decimal),
    "fraction": (fractions.Fraction, str, fractions.Fraction),
    "complex": (complex, str, complex),
    "bytes": (bytes, bytes.hex, bytes.fromhex),
    "bytearray": (bytearray, bytearray.hex, bytearray.fromhex),
}
"""Tag → class, and how its objects become a text and are made of it again."""
_LARGEST = 2**63


class NotPlain(Exception):
    """The value does not travel."""


def pack(value: Any, name_object: Callable[[Any], Any]) -> Any:
    """Return a value as JSON holds it; `name_object` returns what stands for any other object."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float | str):
        return _pack_scalar(value)
    for tag, kind in CONTAINERS.items():
        if isinstance(value, kind):
            parts = [pack(v, name_object) for v in kind.__iter__(value)]
            fields = getattr(value, "_fields", None)  # of a named tuple
            return {tag: parts} if fields is None else {"named": [_name(value), [*fields], parts]}
    if isinstance(value, dict):
        items = dict.items(value)
        return {"dict": [[pack(k, name_object), pack(v, name_object)] for k, v in items]}
    for tag, (kind, write, _) in _FROM_TEXT.items():
        if type(value) is kind:
            return {tag: write(value)}
    return _pack_rare(value, name_object)


def _name(value: Any) -> str:
    return type(value).__name__


def _pack_scalar(value: Any) -> Any:
    """Return a number or text; objects of derived classes lose what they add."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, float):
        return float.__float__(value)
    number = int.__int__(value)
    return number if -_LARGEST < number < _LARGEST else {"int": hex(number)}


def _pack_rare(value: Any, name_object: Callable[[Any], Any]) -> Any:
    if isinstance(value, datetime.timedelta):
        return {"timedelta": [value.days, value.seconds, value.microseconds]}
    if isinstance(value, range):
        return {"range": [value.start, value.stop, value.step]}
    if isinstance(value, type):
        name = str(value.__name__)
        return {"class": name} if getattr(builtins, name, None) is value else name_object(value)
    if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0:
        return pack(value.item(), name_object)
    return name_object(value)


def unpack(packed: Any, find_object: Callable[[str, Any], Any]) -> Any:
    """Return the value again; `find_object` takes the tag and content of what stands for an object.

    Only plain values and classes of Python come out: the other process may send anything.
    """
    if not isinstance(packed, dict):
        return packed
    ((tag, inside),) = packed.items()
    if tag in CONTAINERS:
        return CONTAINERS[tag](unpack(v, find_object) for v in inside)
    if tag == "dict":
        return {unpack(k, find_object): unpack(v, find_object) for k, v in inside}
    if tag in _FROM_TEXT:
        return _FROM_TEXT[tag][2](inside)
    if tag == "named":
        name, fields, values = inside
        kind: Any = namedtuple(name, fields)  # type: ignore[misc]  # known only here
        return kind(*(unpack(v, find_object) for v in values))
    plain: dict[str, Callable[[], Any]] = {
        "int": lambda: int(inside, 16),
        "timedelta": lambda: datetime.timedelta(*inside),
        "range": lambda: range(*inside),
        "class": lambda: _builtin_class(inside),
    }
    return plain[tag]() if tag in plain else find_object(tag, inside)


def _builtin_class(name: str) -> Any:
    kind = getattr(builtins, name)
    if not isinstance(kind, type):  # a function, such as exec
        raise TypeError(f"{name!r} is not a class")
    return kind
