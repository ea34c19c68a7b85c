"""The connection of the two processes: they speak JSON, a message a line.

["call", operation, number, arguments]   do something with your object of that number
["return", changed, value]               the arguments that it changed in place, and the result
["raise", changed, class, arguments, exception]   the same with the exception
"""

from __future__ import annotations

import builtins
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, BinaryIO

from .remote import OPERATIONS, Remote, number_of
from .values import pack, unpack


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
        self._objects: dict[int, Any] = {}
        self._numbers: dict[int, int] = {}
        self._exceptions: dict[int, Any] = {}

    def send(self, message: Any) -> None:
        """Send a message."""
        self._target.write(json.dumps(message).encode() + b"\n")
        self._target.flush()

    def receive(self) -> Any:
        """Return the next message.

        Raises:
            Ended: there is none.
        """
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
        self.send(["call", operation, number, [self._pack(one) for one in arguments]])
        while True:
            kind, *rest = self.receive()
            if kind == "call":  # it calls a function that it was given
                self.serve(*rest)
                continue
            changed, *result = rest
            for index, new in changed:
                _update(arguments[0][index], self._unpack(new))
            if kind == "raise":
                raise self._exception(*result)
            return self._unpack(*result)

    def serve(self, operation: str, number: int, packed: list[Any]) -> None:
        """Do what the other process asks for, and send what comes of it."""
        arguments: list[Any] = []
        try:
            target = self._objects[number]
            arguments = [self._unpack(one) for one in packed]
            self.refuse(operation, target, arguments)
            kind, result = "return", [self._pack(OPERATIONS[operation](target, *arguments))]
        except Ended:
            raise
        except BaseException as error:
            raised = [self._pack(type(error)), self._arguments(error), self._name(error)]
            kind, result = "raise", raised
        changed = list(self._changed(operation, arguments, packed)) if arguments else []
        self.send([kind, changed, *result])

    def _changed(self, operation: str, arguments: list[Any], packed: list[Any]) -> Iterator[Any]:
        """Yield the positional arguments of a call that it changed in place, with their indexes."""
        for index, one in enumerate(arguments[0]) if operation == "call" else ():
            if isinstance(one, list | dict | set | bytearray):
                now = self._pack(one)
                if now != packed[0]["tuple"][index]:
                    yield [index, now]

    def _pack(self, value: Any) -> Any:
        try:
            return pack(value, self._name)
        except RecursionError:  # it contains itself
            return self._name(value)

    def _unpack(self, packed: Any) -> Any:
        return unpack(packed, self._find)

    def _name(self, value: Any) -> Any:
        """Return what stands for an object."""
        if type(value) is Remote:
            return {"yours": number_of(value)}
        if isinstance(value, ModuleType):
            return {"module": value.__name__}
        number = self.keep(value)
        if isinstance(value, type) and issubclass(value, BaseException):
            return {"exception": [number, value.__name__, _builtin_base(value)]}
        return {"mine": number}

    def _find(self, tag: str, inside: Any) -> Any:
        """Return the object that a name stands for."""
        if tag == "yours":
            return self._objects[inside]
        if tag == "module":
            return _standard_module(inside)
        if tag == "exception":
            number, name, base = inside
            return self._exception_class(number, name, base)
        return Remote(self, inside)

    def _exception_class(self, number: int, name: str, base: str) -> Any:
        """Return the class that stands for an exception class of the other process."""
        if number not in self._exceptions:
            body = {"__getattr__": _attribute_of_origin}
            self._exceptions[number] = type(name, (getattr(builtins, base),), body)
        return self._exceptions[number]

    def _arguments(self, error: BaseException) -> list[Any]:
        plain = (str, int, float, bool, type(None))
        given = list(error.args) if all(isinstance(a, plain) for a in error.args) else [str(error)]
        return [self._pack(one) for one in given]

    def _exception(self, kind: Any, arguments: list[Any], origin: Any) -> BaseException:
        """Return the exception that the other process raised."""
        found, given = self._unpack(kind), [self._unpack(one) for one in arguments]
        if not issubclass(found, Exception):  # SystemExit must not end the tests
            return RuntimeError(f"the answer raised {found.__name__}")
        try:
            error: BaseException = found(*given)
        except TypeError:  # not all of its arguments travel
            error = found.__new__(found)
            error.args = tuple(given)
        error.__dict__["origin"] = self._unpack(origin)
        return error


def _update(target: Any, new: Any) -> None:
    if isinstance(target, list | bytearray):
        target[:] = new
    else:
        target.clear()
        target.update(new)


def _builtin_base(kind: type) -> str:
    names = (base.__name__ for base in kind.__mro__ if base.__module__ == "builtins")
    return next(name for name in names if hasattr(builtins, name))


def _attribute_of_origin(error: BaseException, name: str) -> Any:
    """Return an attribute of an exception, from the process that raised it."""
    if name.startswith("__") or "origin" not in error.__dict__:
        raise AttributeError(name)
    return getattr(error.__dict__["origin"], name)


def _standard_module(name: str) -> Any:
    if name.partition(".")[0] not in sys.stdlib_module_names:
        raise ImportError(f"the tests use the module {name!r}: they must import it themselves")
    return importlib.import_module(name)
