"""The code in an answer: in fences or bare, the whole of it or what continues a given beginning."""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence

_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*\{?[ \t]*\.?([\w+#-]*)[^\n]*\n", re.MULTILINE)
_PYTHON = ("", "python", "py", "python3", "py3", "ipython", "pycon")
_FIRST = re.compile(r"^[ \t]*(?:@|def |async def |class |import |from )", re.MULTILINE)
_LAST_DEFINITION = re.compile(
    r"^(?:async +)?(?:def|class) +(\w+)(?!.*^(?:def|class|async))", re.M | re.S
)
_PROMPT = re.compile(r"^[ \t]*>>> ", re.MULTILINE)
_WORD = re.compile(r"[^\W\d_]{2}")
_CUT_LINES = 200
"""How many lines of prose at the end of a bare answer are tried without."""


def python_code(text: str, prefix: str | None = None) -> str:
    """Return the Python program of an answer.

    Of several fenced blocks those that are Python count, in their order: an answer may correct
    itself, and the last definition holds. Examples of use after it are left out. With a prefix the
    answer may be what follows it, or define again what the prefix begins.

    Args:
        text: The answer.
        prefix: Code that the answer continues.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    text = _before_end(text) if prefix else text
    code = _fenced_python(text)
    bare = code is None
    if code is None:
        code = text if not _PROMPT.match(text.lstrip("\n")) else _typed(text)
    tries = list(_programs(code, prefix))
    if bare:
        tries += [p for shorter in _without_prose(code, prefix) for p in _programs(shorter, prefix)]
    return next((program for program in tries if _compiles(program)), tries[0])


def other_code(text: str, prefix: str | None = None) -> str:
    """Return the program of an answer in another language: its fenced blocks, or all of it.

    Where blocks name different languages, those of the longest one's count.
    """
    blocks = list(_fenced(text))
    if not blocks:
        return (prefix or "") + text
    language = max(blocks, key=lambda block: len(block[1]))[0]
    return (prefix or "") + "\n".join(body for name, body in blocks if name == language)


def _before_end(text: str) -> str:
    """Return what precedes the end of a fence that the prompt has begun."""
    only = _FENCE.search(text + "\n")
    if only is None or only[2] or not text[: only.start()].strip():
        return text
    after = text[only.end() :]
    return text if _FENCE.search(after + "\n") or _defined(after) else text[: only.start()]


def _fenced_python(text: str) -> str | None:
    """Return the Python in fenced blocks; None if nothing is fenced."""
    blocks = list(_fenced(text))
    named = [_typed(body) for language, body in blocks if language.lower() in _PYTHON]
    if not named:
        named = [body for _, body in blocks if _compiles(body)]
    if not named:
        return None
    code = [body for body in named if _parses(body)]
    while len(code) > 1 and not _defined(code[-1]) and any(map(_defined, code)):
        code.pop()
    return "\n".join(code or named)


def _fenced(text: str) -> Iterator[tuple[str, str]]:
    """Yield language and content of each fenced block; one without an end goes to the end."""
    position = 0
    while (start := _FENCE.search(text, position)) is not None:
        closing = re.compile(rf"(?:^[ \t]*|(?<=\S)){re.escape(start[1])}[ \t]*$", re.MULTILINE)
        end = closing.search(text, start.end())
        body = text[start.end() : end.start() if end else len(text)]
        yield start[2], textwrap.dedent(body)
        position = end.end() if end else len(text)


def _typed(code: str) -> str:
    """Return what was typed in a session of Python's prompt; other code as it is."""
    if not _PROMPT.search(code) or _parses(code):
        return code
    typed = re.findall(r"^[ \t]*(?:>>>|\.\.\.)(?: (.*)|[ \t]*)$", code, re.MULTILINE)
    return "\n".join(typed) + "\n"


def _programs(code: str, prefix: str | None) -> Iterator[str]:
    """Yield the programs that code could stand for, the likeliest first."""
    dedented = code if _parses(code) else textwrap.dedent(code)
    if not prefix:
        yield dedented
        return
    begun = _LAST_DEFINITION.search(prefix)
    whole = re.compile(rf"^(?:async +)?(?:def|class) +{begun[1]}\b", re.M) if begun else None
    if begun and whole and whole.search(dedented) and _compiles(dedented):
        # The prefix brings imports and helpers that the answer may leave out.
        yield f"{prefix[: begun.start()]}\n{dedented}"
        yield dedented
    first = code.lstrip("\n").partition("\n")
    stripped = f"    {first[0].lstrip()}\n{first[2]}"  # of an answer whose first spaces are lost
    yield prefix + code
    yield f"{prefix}\n{code}"
    yield f"{prefix}\n{stripped}"
    yield f"{prefix}\n{textwrap.indent(dedented, '    ')}"


def _without_prose(code: str, prefix: str | None) -> Iterator[str]:
    """Yield the code of a bare answer without what is said before and after it."""
    starts = {0} if prefix else set()
    first = _FIRST.search(code)
    before = code[: first.start()].rstrip() if first else ""
    if first is not None and (not before or before[-1] in ":.!?"):  # the end of a sentence
        starts.add(first.start())
    for start in sorted(starts):
        lines = code[start:].splitlines(keepends=True)
        for end in range(len(lines), max(0, len(lines) - _CUT_LINES), -1):
            rest = "".join(lines[end:]).strip()
            # A stray bracket or quote is no prose: the program is wrong.
            if lines[end - 1].strip() and (not rest or _WORD.search(rest)):
                yield "".join(lines[:end])


def _parses(code: str) -> bool:
    return _tree(code) is not None


def _tree(code: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _compiles(code: str) -> bool:
    """Return whether code runs, as far as can be told; `return` outside a function parses."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(code, "answer.py", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _defined(code: str) -> bool:
    """Return whether code defines a function or class."""
    tree = _tree(code)
    kinds: Sequence[type[ast.stmt]] = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return tree is not None and any(isinstance(node, tuple(kinds)) for node in tree.body)
