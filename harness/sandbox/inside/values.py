"""Values on the wire: plain ones travel, any other object stays where it is and gets a number."""

from __future__ import annotations

import builtins
import re
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from typing import Any

_SCALARS = {str, bool, float, type(None)}
_LARGEST = 2**63
_FROM_TEXT = {
    ("datetime", "datetime"): ("isoformat", "fromisoformat"),
    ("datetime", "date"): ("isoformat", "fromisoformat"),
    ("datetime", "time"): ("isoformat", "fromisoformat"),
    ("decimal", "Decimal"): ("__str__", "__call__"),
    ("fractions", "Fraction"): ("__str__", "__call__"),
    ("builtins", "complex"): ("__str__", "__call__"),
    ("builtins", "bytes"): ("hex", "fromhex"),
    ("pathlib", "PosixPath"): ("__str__", "__call__"),
    ("pathlib", "PurePosixPath"): ("__str__", "__call__"),
    ("pathlib", "PureWindowsPath"): ("__str__", "__call__"),
}
"""Package and class → what makes a text of its objects, and an object of the text."""


class Exchange:
    """The mutable containers of a call and its reply, which both processes number alike.

    They are told once. So a call may change its arguments in place, at any depth, and return them.
    """

    def __init__(self) -> None:
        """Begin with no container."""
        self.objects: list[Any] = []
        self.numbers: dict[int, int] = {}
        self._before: list[Any] = []

    def add(self, container: Any) -> None:
        """Number a container after those inside it."""
        self.numbers[id(container)] = len(self.objects)
        self.objects.append(container)

    def cut(self, count: int) -> None:
        """Forget the containers after the first ones."""
        for one in self.objects[count:]:
            del self.numbers[id(one)]
        del self.objects[count:]

    def remember(self) -> None:
        """Copy what the containers hold now."""
        self._before = [_parts(one) for one in self.objects]

    def changed(self) -> Iterator[int]:
        """Yield the numbers of the containers that hold something else than they did."""
        for number, before in enumerate(self._before):
            now = _parts(self.objects[number])
            same = len(now) == len(before) and all(map(_is, now, before))
            if not same:
                yield number


def _is(one: Any, other: Any) -> bool:
    return one is other


def _parts(container: Any) -> Any:
    """Return what a container holds, in its order."""
    if isinstance(container, dict):
        return [*container, *container.values()]
    return bytes(container) if isinstance(container, bytearray) else list(container)


def _pairs(value: Any, inside: Callable[[Any], Any]) -> Any:
    return [[inside(key), inside(one)] for key, one in value.items()]


def _items(value: Any, inside: Callable[[Any], Any]) -> Any:
    return [inside(one) for one in value]


def _dict(pairs: Any, inside: Callable[[Any], Any]) -> Any:
    return {inside(key): inside(value) for key, value in pairs}


_CONTAINERS: dict[str, tuple[type, Callable[..., Any], Callable[..., Any]]] = {
    "tuple": (tuple, _items, lambda packed, inside: tuple([inside(one) for one in packed])),
    "frozenset": (frozenset, _items, lambda packed, inside: frozenset(_items(packed, inside))),
    "set": (set, _items, lambda packed, inside: set(_items(packed, inside))),
    "dict": (dict, _pairs, _dict),
    "ordered": (OrderedDict, _pairs, lambda packed, inside: OrderedDict(_dict(packed, inside))),
    "counter": (Counter, _pairs, lambda packed, inside: Counter(_dict(packed, inside))),
    "defaultdict": (
        defaultdict,
        lambda value, inside: [inside(value.default_factory), _pairs(value, inside)],
        lambda packed, inside: defaultdict(inside(packed[0]), _dict(packed[1], inside)),
    ),
    "deque": (
        deque,
        lambda value, inside: [value.maxlen, _items(value, inside)],
        lambda packed, inside: deque(_items(packed[1], inside), packed[0]),
    ),
    "bytearray": (
        bytearray,
        lambda value, inside: value.hex(),
        lambda packed, inside: bytearray.fromhex(packed),
    ),
    "keys": (
        type({}.keys()),
        _items,
        lambda packed, inside: dict.fromkeys(_items(packed, inside)).keys(),
    ),
    "values": (
        type({}.values()),
        _items,
        lambda packed, inside: dict(enumerate(_items(packed, inside))).values(),
    ),
    "items": (
        type({}.items()),
        _items,
        lambda packed, inside: dict(_items(packed, inside)).items(),
    ),
}
"""Tag → class, and how its objects are taken apart and put together."""
_TAGS: dict[type, str] = {kind: tag for tag, (kind, _, _) in _CONTAINERS.items()}
_MUTABLE = {list, set, dict, OrderedDict, Counter, defaultdict, deque, bytearray}
_PLAIN: dict[type, Callable[[Any], Any]] = {
    int: int.__int__,
    float: float.__float__,
    str: str.__str__,
    bytes: lambda value: bytes(memoryview(value)),
    dict: lambda value: dict(dict.items(value)),
    **{
        kind: lambda value, kind=kind: kind(kind.__iter__(value))  # type: ignore[misc]
        for kind in (tuple, list, set, frozenset, deque)
    },
}
PLAIN_CLASSES = {kind.__name__: kind for kind in _PLAIN}


def plain_base(kind: type) -> str | None:
    """Return the name of the plain class that a class derives from."""
    return next((base.__name__ for base in kind.__mro__ if base in _PLAIN), None)


def plain_value(value: Any) -> Any:
    """Return the plain value inside an object of a derived class."""
    base = plain_base(type(value))
    return value if base is None else _PLAIN[PLAIN_CLASSES[base]](value)


def pack(value: Any, name_object: Callable[[Any], Any], exchange: Exchange) -> Any:
    """Return a value as JSON holds it; `name_object` returns what stands for any other object."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is int:
        return value if -_LARGEST < value < _LARGEST else {"int": hex(value)}
    if kind not in _MUTABLE and kind not in _TAGS:
        return _pack_rare(value, name_object, exchange)
    if id(value) in exchange.numbers:
        return {"same": exchange.numbers[id(value)]}
    packed = pack_content(value, name_object, exchange)
    if kind in _MUTABLE:
        exchange.add(value)
    return packed


def pack_content(value: Any, name_object: Callable[[Any], Any], exchange: Exchange) -> Any:
    """Return a container as JSON holds it, even if it was told before."""
    if type(value) is list:
        kinds = set(map(type, value))
        if kinds <= _SCALARS or (
            kinds == {int} and -_LARGEST < min(value) <= max(value) < _LARGEST
        ):
            return value
        return [pack(item, name_object, exchange) for item in value]
    tag = _TAGS[type(value)]
    return {tag: _CONTAINERS[tag][1](value, lambda item: pack(item, name_object, exchange))}


def _pack_rare(value: Any, name_object: Callable[[Any], Any], exchange: Exchange) -> Any:
    kind: Any = type(value)
    package = str(kind.__module__).partition(".")[0]  # Python 3.13 has `pathlib._local`
    texts: Any = _FROM_TEXT.get((package, kind.__name__))
    if texts is not None:
        return {"text": [package, kind.__name__, getattr(value, texts[0])()]}
    if kind is re.Pattern:
        return {"pattern": [pack(value.pattern, name_object, exchange), value.flags]}
    if kind.__module__ == "datetime" and kind.__name__ == "timedelta":
        return {"timedelta": [value.days, value.seconds, value.microseconds]}
    if kind in (range, slice):
        parts = (value.start, value.stop, value.step)
        return {kind.__name__: [pack(part, name_object, exchange) for part in parts]}
    name = str(value.__name__) if kind is type else ""
    if name and getattr(builtins, name, None) is value:
        return {"class": name}
    if kind.__module__ == "numpy" and getattr(value, "ndim", 1) == 0:
        return pack(value.item(), name_object, exchange)
    if kind.__module__ == "numpy" and kind.__name__ == "ndarray":
        return {"array": [value.dtype.str, pack(value.tolist(), name_object, exchange)]}
    return name_object(value)


def unpack(packed: Any, find_object: Callable[[str, Any], Any], exchange: Exchange) -> Any:
    """Return the value again; `find_object` takes the tag and content of what stands for an object.

    Only plain values and classes of Python come out: the other process may send anything.
    """
    value = unpack_content(packed, find_object, exchange)
    is_container = isinstance(packed, list) or (
        isinstance(packed, dict) and packed.keys() <= _CONTAINERS.keys()
    )
    if is_container and type(value) in _MUTABLE:
        exchange.add(value)
    return value


def unpack_content(packed: Any, find_object: Callable[[str, Any], Any], exchange: Exchange) -> Any:
    """Return what a container that both processes know holds now."""
    if isinstance(packed, list):
        if {dict, list}.isdisjoint(map(type, packed)):
            return packed
        return [unpack(item, find_object, exchange) for item in packed]
    if not isinstance(packed, dict):
        return packed
    ((tag, inside),) = packed.items()
    if tag in _CONTAINERS:
        return _CONTAINERS[tag][2](inside, lambda item: unpack(item, find_object, exchange))
    plain: dict[str, Callable[[], Any]] = {
        "same": lambda: exchange.objects[inside],
        "int": lambda: int(inside, 16),
        "text": lambda: _from_text(*inside),
        "pattern": lambda: re.compile(unpack(inside[0], find_object, exchange), inside[1]),
        "timedelta": lambda: _standard_class("datetime", "timedelta")(*inside),
        "range": lambda: range(*[unpack(item, find_object, exchange) for item in inside]),
        "slice": lambda: slice(*[unpack(item, find_object, exchange) for item in inside]),
        "class": lambda: _standard_class("builtins", inside),
        "array": lambda: _array(inside[0], unpack(inside[1], find_object, exchange)),
    }
    return plain[tag]() if tag in plain else find_object(tag, inside)


def _from_text(package: str, name: str, text: str) -> Any:
    make = _FROM_TEXT[package, name][1]  # nothing else is imported
    kind = _standard_class(package, name)
    return kind(text) if make == "__call__" else getattr(kind, make)(text)


def _array(dtype: str, values: Any) -> Any:
    import numpy as np

    return np.array(values, dtype=dtype)


def _standard_class(module: str, name: str) -> Any:
    kind = getattr(__import__(module), name)
    if not isinstance(kind, type):  # a function, such as exec
        raise TypeError(f"{name!r} is not a class")
    return kind
