"""The jsonschema library, imported without the grammars that only its `iri` formats need.

`import jsonschema` imports rfc3987_syntax where it is installed, and that package compiles 38
grammars when it is imported: 1 to 2 seconds in every run, for two formats that few schemas use.
Here they are compiled when an `iri` is first checked.

Example:
    >>> validator = library().Draft202012Validator({"type": "string"})
    >>> validator.is_valid("text")
    True
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from types import ModuleType
from typing import Any

GRAMMARS = "rfc3987_syntax"
"""Package whose import compiles the grammars."""


@cache
def library() -> Any:
    """Return the module `jsonschema`."""
    if "jsonschema" in sys.modules or GRAMMARS in sys.modules:
        return importlib.import_module("jsonschema")
    stand_in = ModuleType(GRAMMARS)
    vars(stand_in)["is_valid_syntax"] = _is_valid_syntax
    sys.modules[GRAMMARS] = stand_in
    try:
        return importlib.import_module("jsonschema")
    finally:
        del sys.modules[GRAMMARS]


def _is_valid_syntax(term: str, text: str) -> bool:
    """Return whether a text has the form of a term of RFC 3987, such as `iri`."""
    valid: bool = importlib.import_module(GRAMMARS).is_valid_syntax(term, text)
    return valid
