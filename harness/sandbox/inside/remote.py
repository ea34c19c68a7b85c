"""Objects of the other process, and the operations that are done to them there."""

from __future__ import annotations

import copy
import math
import operator
from typing import Any

from .values import PLAIN_CLASSES, plain_value

_ORDER = ("lt", "le", "gt", "ge")
_ARITHMETIC = (
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_", "xor",
    "lshift", "rshift",
)  # fmt: skip
_UNARY = {
    "len": len, "iter": iter, "reversed": reversed, "bool": bool, "str": str,
    "repr": repr, "hash": hash, "int": int, "float": float, "complex": complex,
    "index": operator.index, "neg": operator.neg, "pos": operator.pos, "invert": operator.invert,
    "abs": abs, "round": round, "floor": math.floor, "ceil": math.ceil, "trunc": math.trunc,
    "format": format, "copy": copy.copy,
    "getitem": operator.getitem, "contains": operator.contains,
}  # fmt: skip


def _advance(iterator: Any) -> list[Any]:
    """Return the next value in a list, which is empty at the end."""
    try:
        return [next(iterator)]
    except StopIteration:
        return []


_IN_PLACE = {f"i{name.rstrip('_')}" for name in _ARITHMETIC}
OPERATIONS: dict[str, Any] = {
    **{name: getattr(operator, name) for name in (*_ORDER, *_ARITHMETIC, *_IN_PLACE)},
    **{name: getattr(operator, name) for name in ("eq", "setitem", "delitem")},
    **_UNARY,
    "call": lambda function, args, kwargs: function(*args, **dict(kwargs)),
    "getattr": getattr,
    "setattr": setattr,
    "delattr": delattr,
    "enter": lambda manager: manager.__enter__(),
    "exit": lambda manager, kind, error: manager.__exit__(kind, error, None),
    "isinstance": isinstance,
    "issubclass": issubclass,
    "deepcopy": copy.deepcopy,
    "plain": plain_value,
    "advance": _advance,
}
"""Operation → what does it to an object."""


class Remote:
    """An object of the other process: what is done to it happens there.

    What it is compared with decides the tests, so only plain values are compared with plain values,
    in this process: `__eq__`, `__lt__` and `__sub__` of the answer could say anything.
    """

    __slots__ = ("_base", "_number", "_peer")

    def __init__(self, peer: Any, number: int, base: str | None) -> None:
        """Take the connection, the object's number, and the plain class that it derives from."""
        object.__setattr__(self, "_peer", peer)
        object.__setattr__(self, "_number", number)
        object.__setattr__(self, "_base", base)

    @property  # type: ignore[misc]  # only read
    def __class__(self) -> Any:
        """Return the plain class that it derives from, for isinstance()."""
        return PLAIN_CLASSES.get(_base(self), Remote)

    def __getattr__(self, name: str) -> Any:
        return _ask(self, "getattr", name)

    def __setattr__(self, name: str, value: Any) -> None:
        _ask(self, "setattr", name, value)

    def __delattr__(self, name: str) -> None:
        _ask(self, "delattr", name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it."""
        return _ask(self, "call", args, list(kwargs.items()))

    def __eq__(self, other: object) -> Any:
        """Compare two objects over there, and plain values here."""
        if type(other) is Remote:
            return bool(_ask(self, "eq", other))
        return False if _base(self) is None else _plain(self) == other

    def __hash__(self) -> int:
        return int(_ask(self, "hash"))

    def __setitem__(self, key: Any, value: Any) -> None:
        _ask(self, "setitem", key, value)

    def __delitem__(self, key: Any) -> None:
        _ask(self, "delitem", key)

    def __instancecheck__(self, instance: object) -> bool:
        return type(instance) is Remote and bool(_ask(instance, "isinstance", self))

    def __subclasscheck__(self, kind: object) -> bool:
        return type(kind) is Remote and bool(_ask(kind, "issubclass", self))

    def __next__(self) -> Any:
        for value in _ask(self, "advance"):
            return value
        raise StopIteration

    def __enter__(self) -> Any:
        return _ask(self, "enter")

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        return bool(_ask(self, "exit", kind, error)) and _may_be_swallowed(error)

    def __deepcopy__(self, memo: Any) -> Any:
        return _ask(self, "deepcopy")


def _may_be_swallowed(error: BaseException | None) -> bool:
    """Return whether a context manager of the answer may hide it: not what the answer caused."""
    return error is not None and not (isinstance(error, AssertionError) or came_from_other(error))


def came_from_other(error: BaseException) -> bool:
    """Return whether the other process raised it."""
    return "origin" in getattr(error, "__dict__", {})


def number_of(remote: Remote) -> int:
    """Return the number of the object in the other process."""
    number: int = object.__getattribute__(remote, "_number")
    return number


def _base(remote: Remote) -> Any:
    return object.__getattribute__(remote, "_base")


def _plain(remote: Remote) -> Any:
    """Return the plain value inside; None if the other process sends something else."""
    value = _ask(remote, "plain")
    return None if type(value) is Remote else value


def _ask(remote: Remote, operation: str, *arguments: Any) -> Any:
    peer = object.__getattribute__(remote, "_peer")
    return peer.ask(operation, number_of(remote), *arguments)


def _forward(name: str) -> None:
    def method(self: Remote, *arguments: Any) -> Any:
        return _ask(self, name, *arguments)

    setattr(Remote, f"__{name}__", method)


def _forward_order(name: str) -> None:
    def method(self: Remote, other: Any) -> Any:
        if type(other) is Remote:
            return bool(_ask(self, name, other))
        return NotImplemented if _base(self) is None else OPERATIONS[name](_plain(self), other)

    setattr(Remote, f"__{name}__", method)


def _forward_arithmetic(name: str) -> None:
    short = name.rstrip("_")

    def compute(self: Remote, other: Any) -> Any:
        if _base(self) is not None and type(other) is not Remote:
            return OPERATIONS[name](_plain(self), other)
        return _checked(name, other, lambda: _ask(self, name, other))

    def compute_swapped(self: Remote, other: Any) -> Any:  # such as `2 * remote`
        if _base(self) is not None:
            return OPERATIONS[name](other, _plain(self))
        return _checked(name, other, lambda: _ask(self, "getattr", f"__r{short}__")(other))

    def change(self: Remote, other: Any) -> Any:
        if _base(self) in ("int", "float", "str", "bytes", "tuple", "frozenset"):
            return NotImplemented
        return _checked(name, other, lambda: _ask(self, f"i{short}", other))

    setattr(Remote, f"__{short}__", compute)
    setattr(Remote, f"__r{short}__", compute_swapped)
    setattr(Remote, f"__i{short}__", change)


def _checked(name: str, other: Any, compute: Any) -> Any:
    """Compute, unless it could be a comparison: `abs(answer - 5) < 0.1`, `not answer ^ {1}`."""
    if type(other) is Remote or not isinstance(other, int | float | complex | set | frozenset):
        return compute()
    result = NotImplemented if name in ("sub", "xor") else compute()
    return result if type(result) is Remote else NotImplemented


for _name in _UNARY:
    if _name != "hash":
        _forward(_name)
for _name in _ORDER:
    _forward_order(_name)
for _name in _ARITHMETIC:
    _forward_arithmetic(_name)
Remote.__doc__ = property(lambda self: _ask(self, "getattr", "__doc__"))  # type: ignore[assignment]
