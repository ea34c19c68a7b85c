"""JSON schema validation of a text, run in a child process.

`json_schema` calls this module in a child process (`child_process`), because patterns,
formats and references can take any time. Nothing is ever fetched: the registry holds the standard
meta-schemas and no way to retrieve another document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any
from urllib.parse import quote

import jsonschema
from jsonschema_specifications import REGISTRY
from referencing import Registry, Specification
from referencing.exceptions import Unresolvable
from referencing.jsonschema import specification_with
from rfc3986_validator import validate_rfc3986

from tunegate.harness.metrics import _json_parsing

_DRAFTS: dict[str, Any] = {
    "http://json-schema.org/draft-04/schema": jsonschema.Draft4Validator,
    "http://json-schema.org/draft-06/schema": jsonschema.Draft6Validator,
    "http://json-schema.org/draft-07/schema": jsonschema.Draft7Validator,
    "https://json-schema.org/draft/2019-09/schema": jsonschema.Draft201909Validator,
    "https://json-schema.org/draft/2020-12/schema": jsonschema.Draft202012Validator,
}
_DRAFTS_WITH_IRIS = list(_DRAFTS.values())[2:]
_DRAFTS_WITH_DURATIONS = list(_DRAFTS.values())[3:]
_DEFAULT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCES = {"$ref", "$dynamicRef", "$recursiveRef"}
_ASCII = "".join(map(chr, range(128)))


def _is_iri(value: object, *, rule: str) -> bool:
    # RFC 3987, 3.1: an IRI is a URI once its non-ASCII characters are percent-encoded.
    return not isinstance(value, str) or bool(
        validate_rfc3986(quote(value, safe=_ASCII), rule=rule)
    )


# jsonschema checks IRIs with rfc3987_syntax, which compiles grammars for a second on import.
for _draft in _DRAFTS_WITH_IRIS:
    _draft.FORMAT_CHECKER.checks("iri", ValueError)(partial(_is_iri, rule="URI"))
    _draft.FORMAT_CHECKER.checks("iri-reference", ValueError)(
        partial(_is_iri, rule="URI_reference")
    )

_TIME = r"T(?:\d+H(?:\d+M(?:\d+S)?)?|\d+M(?:\d+S)?|\d+S)"
_DATE = r"(?:\d+Y(?:\d+M(?:\d+D)?)?|\d+M(?:\d+D)?|\d+D)"
_DURATION = re.compile(rf"P(?:\d+W|{_DATE}(?:{_TIME})?|{_TIME})", re.ASCII)
"""A duration (RFC 3339, appendix A): no fraction, no sign, and no unit left out in between."""


def _is_duration(value: object) -> bool:
    return not isinstance(value, str) or _DURATION.fullmatch(value) is not None


for _draft in _DRAFTS_WITH_DURATIONS:
    _draft.FORMAT_CHECKER.checks("duration")(_is_duration)


@dataclass(frozen=True, slots=True)
class _CompiledSchema:
    validator: Any = None
    problems: tuple[str, ...] = ()


def schema_problems(schema: str) -> list[str]:
    """Return what makes the schema text unusable, in words; empty if nothing does."""
    compiled = _compile(schema)
    return list(compiled.problems) or _without_rules(compiled.validator)


def _without_rules(validator: Any) -> list[str]:
    """Return a sentence if a schema has no keyword that an answer could violate."""
    schema = validator.schema
    if isinstance(schema, bool):  # written on purpose
        return []
    rules = set(schema) & set(validator.VALIDATORS)
    if rules - {"format"} or schema.get("format") in validator.format_checker.checkers:
        return []
    return [
        "it accepts any JSON: it has no keyword such as type, required or properties (its keys: "
        f"{_json_parsing.shorten_text(', '.join(schema), 200) or 'none'}); an example answer is "
        "not a schema, and json_valid needs none"
    ]


def schema_violation(schema: str, text: str) -> dict[str, str]:
    """Return `{}` if `text` satisfies the schema, else one key.

    `schema_violation`: the first thing wrong with the text. `problem`: the schema is unusable.
    """
    compiled = _compile(schema)
    if compiled.problems:
        return {"problem": compiled.problems[0]}
    first = next(compiled.validator.iter_errors(_json_parsing.parse_json(text)), None)
    if first is None:
        return {}
    return {"violation": _format_error(jsonschema.exceptions.best_match(iter([first])))}


@lru_cache(maxsize=128)
def _compile(text: str) -> _CompiledSchema:
    try:
        schema = _json_parsing.parse_json(text)
    except _json_parsing.UnreadableJson as error:
        return _CompiledSchema(problems=(f"not JSON: {error}",))
    if not isinstance(schema, dict | bool):
        return _CompiledSchema(problems=("a schema must be an object, true or false",))
    named = _DEFAULT if isinstance(schema, bool) else schema.get("$schema", _DEFAULT)
    dialect = str(named).removesuffix("#")
    if dialect not in _DRAFTS:
        dialects = ", ".join(_DRAFTS)
        return _CompiledSchema(
            problems=(f"$schema={dialect!r} is not supported; there are {dialects}",)
        )
    draft = _DRAFTS[dialect]
    try:
        draft.check_schema(schema)
    except jsonschema.exceptions.SchemaError as error:
        return _CompiledSchema(problems=(_format_error(error),))
    validator = draft(schema, registry=Registry(), format_checker=draft.FORMAT_CHECKER)
    parts = dict.fromkeys(_unusable_parts(schema, specification_with(dialect)))
    return _CompiledSchema(validator, tuple(parts) or _endless_references(validator))


def _endless_references(validator: Any) -> tuple[str, ...]:
    """Return a sentence if references form an endless loop: any small value runs into it."""
    values: tuple[Any, ...] = (None, True, 1, "", [], {})
    for value in values:
        try:
            validator.is_valid(value)
        except RecursionError:
            return ("its references form an endless loop",)
    return ()


def _unusable_parts(schema: dict[str, Any] | bool, dialect: Specification[Any]) -> Iterator[str]:
    """Yield a sentence for each reference that points outside the schema, and for bad patterns.

    The meta-schemas of drafts 4 and 6 let any text be a key of `patternProperties`.
    """
    root = dialect.create_resource(schema)
    waiting = [(REGISTRY.resolver_with_root(root), root)]
    seen: set[int] = set()
    while waiting:
        resolver, resource = waiting.pop()
        if not isinstance(resource.contents, dict) or id(resource.contents) in seen:
            continue
        seen.add(id(resource.contents))
        for pattern in _bad_patterns(resource.contents.get("patternProperties")):
            yield f"patternProperties: {pattern!r} is not a 'regex'"
        for key in sorted(_REFERENCES & resource.contents.keys()):
            reference = resource.contents[key]
            try:
                target = resolver.lookup(reference)
            except Unresolvable:
                yield (
                    f"{key}={reference!r} does not point inside the schema; nothing is fetched, so "
                    "copy its target into $defs"
                )
            else:
                waiting.append((target.resolver, dialect.create_resource(target.contents)))
        waiting += [(resolver.in_subresource(part), part) for part in resource.subresources()]


def _bad_patterns(schemas: Any) -> Iterator[str]:
    for pattern in schemas if isinstance(schemas, dict) else ():
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError):
            yield pattern


def _format_error(error: Any) -> str:
    return _json_parsing.shorten_text(f"{error.json_path}: {error.message}")
