"""The jsonschema library without the grammars that it compiles when it is imported."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
from tunegate.harness import json_schema
found = json_schema.jsonschema_library()
before = "lark" in sys.modules, "rfc3987_syntax" in sys.modules
iri = found.Draft202012Validator({"format": "iri"}, format_checker=found.FormatChecker())
print(before, iri.is_valid("https://\\u00e4.org/x"), iri.is_valid("no iri"))
import rfc3987_syntax
print("lark" in sys.modules, hasattr(rfc3987_syntax, "syntax_parser"))
print(json_schema.jsonschema_library() is found)
"""


def test_grammars_are_compiled_when_an_iri_is_checked() -> None:
    """Importing loads none; an `iri` is checked by the real package, which others get as it is."""
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=True, timeout=120
    )

    assert done.stdout.splitlines() == ["(False, False) True False", "True True", "True"]


WITHOUT = """
import sys
sys.modules["rfc3987_syntax"] = None
from tunegate.harness import json_schema
found = json_schema.jsonschema_library()
iri = found.Draft202012Validator({"format": "iri"}, format_checker=found.FormatChecker())
print(iri.is_valid("no iri"))
"""


def test_without_the_package_the_format_is_not_checked() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True, timeout=120
    )

    assert done.stdout.split() == ["True"]
