"""The code in an answer: in fences or bare, the whole of it or what continues a given beginning."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator

_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*([\w+#.-]*)[^\n]*\n", re.MULTILINE)
_PYTHON = ("", "python", "py", "python3", "py3")


def python_code(text: str, prefix: str | None = None) -> str:
    """Return the Python program of an answer.

    Of several fenced blocks those that are Python count, in their order: an answer may correct
    itself, and the last definition holds. With a prefix the answer may be what follows it, or
    define again what the prefix begins.

    Args:
        text: The answer.
        prefix: Code that the answer continues.
    """
    blocks = [body for language, body in _fenced(text) if language.lower() in _PYTHON]
    readable = [body for body in blocks if _parse(body) is not None]
    code = "\n".join(readable or blocks) if blocks else text
    if not prefix:
        return code if blocks else _dedented(code)
    if _defined(code) & _defined(prefix):
        # The prefix brings imports and helpers that the answer may leave out.
        return f"{prefix}\n{code}" if _parse(prefix) is not None else code
    indented = textwrap.indent(code, "    ")
    for joined in (prefix + code, f"{prefix}\n{code}", f"{prefix}\n{indented}"):
        if _parse(joined) is not None:
            return joined
    return prefix + code


def other_code(text: str, prefix: str | None = None) -> str:
    """Return the program of an answer in another language: its fenced blocks, or all of it."""
    blocks = [body for _, body in _fenced(text)]
    return (prefix or "") + ("\n".join(blocks) if blocks else text)


def _fenced(text: str) -> Iterator[tuple[str, str]]:
    """Yield language and content of each fenced block; one without an end goes to the end."""
    position = 0
    while (start := _FENCE.search(text, position)) is not None:
        closing = re.compile(rf"^[ \t]*{re.escape(start[1])}[ \t]*$", re.MULTILINE)
        end = closing.search(text, start.end())
        body = text[start.end() : end.start() if end else len(text)]
        yield start[2], textwrap.dedent(body)
        position = end.end() if end else len(text)


def _parse(code: str) -> ast.Module | None:
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _defined(code: str) -> set[str]:
    """Return the functions and classes that code defines, as far as it can be read."""
    tree = _parse(code)
    if tree is None:  # a beginning without a body
        return set(re.findall(r"^(?:async )?(?:def|class)\s+(\w+)", code, re.MULTILINE))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in tree.body if isinstance(node, kinds)}


def _dedented(code: str) -> str:
    return code if _parse(code) is not None else textwrap.dedent(code)
