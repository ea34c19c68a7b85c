"""The connection of the two processes: they speak JSON, a message a line.

["call", operation, number, arguments]   do something with your object of that number
["return", value, changed, printed]      the result, the containers that changed, what was printed
["raise", exception, changed, printed]   the exception
"""

from __future__ import annotations

import builtins
import importlib
import io
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Any, BinaryIO

from .remote import OPERATIONS, Remote, came_from_other, number_of
from .values import Exchange, pack, pack_content, plain_base, unpack, unpack_content

_PRINTED = 1_000_000
"""Characters of output that are kept of a call."""


class Ended(BaseException):
    """The other process has ended."""


class Peer:
    """One end of the connection."""

    def __init__(self) -> None:
        """Take the standard streams, out of reach of what prints or reads."""
        self._source: BinaryIO = os.fdopen(os.dup(0), "rb")
        self._target: BinaryIO = os.fdopen(os.dup(1), "wb")
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        self.refuse: Callable[[str, Any, list[Any]], None] = lambda *call: None
        """Raises if the other process may not do this to an object of this one."""
        self.printed = _Printed()
        self.raising = False
        """Whether what arrives was raised."""
        self._objects: dict[int, Any] = {}
        self._numbers: dict[int, int] = {}
        self._found: dict[int, Any] = {}
        """Number of an object of the other process → what stands for it here."""
        self._theirs: dict[int, int] = {}

    def send(self, message: Any) -> None:
        """Send a message."""
        self._target.write(json.dumps(message).encode() + b"\n")
        self._target.flush()

    def receive(self) -> Any:
        """Return the next message."""
        line = self._source.readline()
        if not line.endswith(b"\n"):
            raise Ended
        return json.loads(line)

    def send_result(self, result: Any) -> None:
        """Send the host what the tests gave."""
        self._target.write(b"=" + json.dumps(result).encode() + b"\n")
        self._target.flush()

    def keep(self, value: Any) -> int:
        """Keep an object for the other process, and return its number."""
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self._objects)
            self._objects[len(self._objects)] = value
        return self._numbers[id(value)]

    def ask(self, operation: str, number: int, *arguments: Any) -> Any:
        """Have the other process do something to its object; return or raise what comes of it."""
        exchange = Exchange()
        self.send(
            ["call", operation, number, [self._pack(argument, exchange) for argument in arguments]]
        )
        while (message := self.receive())[0] == "call":  # it calls a function that it was given
            self.serve(*message[1:])
        kind, packed, changed, printed = message
        before, self.raising = self.raising, kind == "raise"
        value = self._unpack(packed, exchange)
        self.raising = before
        for index, content in changed:
            _update(exchange.objects[index], unpack_content(content, self.find, exchange))
        if printed:
            sys.stdout.write(printed)
        if kind == "return":
            return value
        raise value

    def serve(self, operation: str, number: int, packed: list[Any]) -> None:
        """Do what the other process asks for, and send what comes of it."""
        exchange, count = Exchange(), 0
        try:
            target = self._objects[number]
            arguments = [self._unpack(argument, exchange) for argument in packed]
            count = len(exchange.objects)
            exchange.remember()
            self.refuse(operation, target, arguments)
            reply = ["return", self._pack(OPERATIONS[operation](target, *arguments), exchange)]
        except Ended:
            raise
        except BaseException as error:
            exchange.cut(count)
            reply = ["raise", self._pack(error, exchange)]
        changed = [
            [index, pack_content(exchange.objects[index], self._name, exchange)]
            for index in exchange.changed()
        ]
        self.send([*reply, changed, self.printed.take()])

    def _pack(self, value: Any, exchange: Exchange) -> Any:
        count = len(exchange.objects)
        try:
            return pack(value, self._name, exchange)
        except RecursionError:  # it contains itself
            exchange.cut(count)
            return {"mine": [self.keep(value), None, type(value).__name__]}

    def _unpack(self, packed: Any, exchange: Exchange) -> Any:
        return unpack(packed, self.find, exchange)

    def _name(self, value: Any) -> Any:
        """Return what stands for an object."""
        if id(value) in self._theirs:
            return {"yours": self._theirs[id(value)]}
        if isinstance(value, ModuleType):
            return {"module": value.__name__}
        if isinstance(value, BaseException):
            return self._name_exception(value)
        if isinstance(value, type) and issubclass(value, BaseException):
            return self._name_exception_class(value)
        kind = type(value)
        use = "next" if hasattr(kind, "__next__") else "call" if callable(value) else kind.__name__
        return {"mine": [self.keep(value), plain_base(kind), use]}

    def _name_exception(self, error: BaseException) -> Any:
        if came_from_other(error) and type(origin := error.__dict__["origin"]) is Remote:
            return {"yours": number_of(origin)}
        name, exchange = self._name_exception_class(type(error)), Exchange()
        arguments = [self._pack(argument, exchange) for argument in error.args]
        cause = self._pack(error.__cause__, exchange)
        return {"error": [name, arguments, cause, self.keep(error)]}

    def _name_exception_class(self, kind: type) -> Any:
        if _is_builtin(kind):
            return {"class": kind.__name__}
        if id(kind) in self._theirs:
            return {"yours": self._theirs[id(kind)]}
        bases = [self._name_exception_class(b) for b in kind.__bases__ if _is_exception(b)]
        return {"exception": [self.keep(kind), kind.__module__, kind.__qualname__, bases]}

    def find(self, tag: str, inside: Any) -> Any:
        """Return the object that a name stands for."""
        if tag == "yours":
            return self._objects[inside]
        if tag == "module":
            return _standard_module(inside)
        if tag == "exception":
            return self._exception_class(*inside)
        if tag == "error":
            return self._exception(*inside)
        number, base, use = inside
        if number not in self._found:
            self._put(number, self.stand_in(number, base, use))
        return self._found[number]

    def stand_in(self, number: int, base: str | None, use: str) -> Any:
        """Return what stands for an object of the other process."""
        return Remote(self, number, base)

    def _put(self, number: int, value: Any) -> None:
        self._found[number], self._theirs[id(value)] = value, number

    def _exception_class(self, number: int, module: str, name: str, bases: list[Any]) -> Any:
        """Return the class that stands for an exception class of the other process."""
        if number not in self._found:
            standard = _standard_exception(module, name)
            kinds = tuple(self._unpack(base, Exchange()) for base in bases)
            if not all(
                isinstance(base, type) and issubclass(base, BaseException) for base in kinds
            ):
                raise TypeError(f"{name!r} is not an exception")
            body = {"__getattr__": _attribute_of_origin, "__str__": _text_of_origin}
            exception_class = standard or _ExceptionClass(name.rpartition(".")[2], kinds, body)
            self._put(number, exception_class)
            if standard is None:
                exception_class.remote = Remote(self, number, None)
        return self._found[number]

    def _exception(self, kind: Any, arguments: list[Any], cause: Any, number: int) -> Any:
        """Return an exception of the other process."""
        exchange = Exchange()
        exception_class = self._unpack(kind, exchange)
        arguments_read = [self._unpack(argument, exchange) for argument in arguments]
        if not issubclass(exception_class, BaseException):
            raise TypeError("only exceptions can be raised")
        error = exception_class.__new__(exception_class, *arguments_read)
        error.args = tuple(arguments_read)
        with suppress(TypeError):  # some need other arguments than they keep
            error.__init__(*arguments_read)
        error.__dict__["origin"] = Remote(self, number, None)
        error.__cause__ = self._unpack(cause, exchange)
        return error


class _ExceptionClass(type):
    """The class of classes that stand for exceptions of the other process."""

    remote: Any

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Make the exception over there, unless the class is derived here."""
        own = "remote" in cls.__dict__
        return cls.remote(*args, **kwargs) if own else super().__call__(*args, **kwargs)


class _Printed(io.StringIO):
    """What is printed in this process, for the other one to print."""

    def write(self, text: str) -> int:
        """Keep text, up to a limit."""
        return super().write(text) if self.tell() < _PRINTED else len(text)

    def take(self) -> str:
        """Return what was printed since the last time."""
        text = self.getvalue()
        if text:
            self.seek(0)
            self.truncate()
        return text


def _update(target: Any, new: Any) -> None:
    if isinstance(target, list | bytearray):
        target[:] = new
        return
    target.clear()
    if hasattr(target, "update"):
        target.update(new)
    else:
        target.extend(new)


def _is_exception(kind: type) -> bool:
    return issubclass(kind, BaseException)


def _is_builtin(kind: type) -> bool:
    return getattr(builtins, kind.__name__, None) is kind


def _attribute_of_origin(error: BaseException, name: str) -> Any:
    """Return an attribute of an exception, from the process that raised it."""
    if name.startswith("__") or "origin" not in error.__dict__:
        raise AttributeError(name)
    return getattr(error.__dict__["origin"], name)


def _text_of_origin(error: BaseException) -> str:
    origin = error.__dict__.get("origin")
    return Exception.__str__(error) if origin is None else str(origin)


def _standard_module(name: str) -> Any:
    first, *rest = name.split(".")
    # unittest has objects that equal everything and exceptions that skip a test.
    if first not in sys.stdlib_module_names or first == "unittest" or "__main__" in rest:
        raise RuntimeError(f"the tests use the module {name!r}: they must import it themselves")
    return importlib.import_module(name)


def _standard_exception(module: str, name: str) -> Any:
    """Return an exception class of the standard library, or None if it has no such class."""
    try:
        candidate = getattr(_standard_module(module), name)
    except (RuntimeError, ImportError, AttributeError):
        return None
    return (
        candidate if isinstance(candidate, type) and issubclass(candidate, BaseException) else None
    )
