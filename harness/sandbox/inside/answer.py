"""The process that holds the answer: it runs the code, then does what the tests ask for."""

from __future__ import annotations

import sys
from types import ModuleType

from .exception_text import describe_error, last_line
from .peer import Ended, Peer

FILE = "answer.py"
_OWN_FRAMES = 20
"""Calls between Python's start and the answer's, which it need not pay for."""


def main(folder: str) -> None:
    """Serve the answer in the folder until the tests end."""
    with open(f"{folder}/{FILE}", encoding="utf-8") as file:  # noqa: PTH123 - pathlib takes a while to import
        text = file.read()
    peer = Peer()
    module = ModuleType("answer")
    sys.modules["answer"], sys.argv = module, [FILE]
    sys.setrecursionlimit(sys.getrecursionlimit() + _OWN_FRAMES)
    peer.keep(module)  # as number 0
    try:
        exec(compile(text, FILE, "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:
        line = error.lineno if isinstance(error, SyntaxError) else last_line(error, FILE)
        peer.send(["broken", type(error).__name__, describe_error(error), line])
        return
    sys.stdout = peer.printed
    peer.send(["ready", sorted(name for name in module.__dict__ if isinstance(name, str))])
    try:
        while True:
            _, *call = peer.receive()
            peer.serve(*call)
    except Ended:
        return
