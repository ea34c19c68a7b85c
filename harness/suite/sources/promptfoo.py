"""Cases from promptfoo's configuration: every test, with one prompt, is a case.

The value of an `equals`, `contains` or `regex` assert becomes `expected`, the schema of an
`is-json` one `schema`. Name the metric in suite.toml. Other asserts (a rubric, a script, a
negation) are refused until `asserts` names what to use. Each value of a variable makes a case.

Example:
    [cases]
    from = "promptfoo"
    file = "promptfooconfig.yaml"
    asserts = ["icontains"]     # tests without such an assert are left out
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from tunegate.harness.contracts.options import outside_problem
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import SuiteError, unknown_name_message
from tunegate.harness.records.problems import summarize_problems
from tunegate.harness.records.wording import count_noun
from tunegate.harness.suite.sources import _conversations, _text, _yaml
from tunegate.harness.suite.sources._table import (
    ALL_ROWS,
    MOST_ROWS,
    Columns,
    RowSelection,
    RowTable,
    map_columns,
)
from tunegate.harness.suite.sources._yaml import YamlDocument, read_yaml

ANSWERS = {
    "equals": "exact_match",
    "contains": "contains",
    "contains-any": "contains",
    "contains-all": "contains in the mode all",
    "icontains": "contains that ignores case",
    "icontains-any": "contains that ignores case",
    "icontains-all": "contains in the mode all that ignores case",
    "regex": "regex",
    "levenshtein": "edit_similarity",
    "rouge-n": "rouge",
    "bleu": "bleu",
}
"""Type of assert whose value becomes `expected` → the metric that reads it in that way."""
SCHEMAS = ("is-json", "contains-json")
"""Types of assert whose value, if there is one, becomes `schema`."""
PRODUCED = ("prompt", "messages", "expected", "schema")


def promptfoo(
    folder: Path,
    *,
    file: str,
    prompt: Annotated[int, Field(ge=1)] | None = None,
    asserts: tuple[str, ...] = (),
    columns: Columns | None = None,
    selection: RowSelection = ALL_ROWS,
) -> Iterator[Case]:
    """Yield the tests of a configuration as cases.

    Args:
        folder: The suite's folder.
        file: Path of the YAML or JSON file from the suite's folder.
        prompt: Which of several prompts, from 1; each of them makes a suite of its own.
        asserts: Types of assert to take; tests that have none of them are left out. Without it all
            of them are taken, and each must have a field of a case.
        columns: Case field → variable, or `metadata.KEY` or `description`.
        selection: Which rows are taken.

    Raises:
        SuiteError: the file cannot be read, or tests and asserts do not fit: every one, or a kind
            of them with its number.
        MissingExtra: PyYAML is not installed.
    """
    path = folder / file
    document = _yaml.read_yaml(path, form=FORM)
    if not isinstance(document.data, Mapping):
        raise SuiteError([f"{path}: {FORM}"])
    template = _one_prompt(document, prompt)
    kinds = (*ANSWERS, *SCHEMAS)
    found = list(tests_of(document))
    problems = [test for test in found if isinstance(test, str)]
    tests = [test for test in found if isinstance(test, PromptfooTest)]
    problems += [
        f"{path}: {unknown_name_message(k, kinds, what='assert')}"
        for k in asserts
        if k not in kinds
    ]
    problems += _misfits(path, tests, asserts)
    if problems:
        raise SuiteError(summarize_problems(problems))
    taken = [test for test in tests if not asserts or _asserts_of_kind(test, asserts)]
    rows = [row for test in taken for row in _rows(test, template, asserts or kinds)]
    yield from map_columns(RowTable.of(str(path), rows), columns, selection, always=PRODUCED)


def _one_prompt(document: _yaml.YamlDocument, number: int | None) -> str | list[Any]:
    found = prompt_templates(document)
    if number is None and len(found) == 1:
        return found[0]
    if number is None or number > len(found):
        raise SuiteError(
            [
                f"{document.where('prompts')}: {len(found)} prompts, and a suite has one; "
                f"set prompt to a number from 1 to {len(found)}"
            ]
        )
    return found[number - 1]


def _asserts_of_kind(test: PromptfooTest, kinds: Sequence[str]) -> list[PromptfooAssert]:
    return [one for one in test.asserts if one.kind in kinds]


def _misfits(path: Path, tests: Sequence[PromptfooTest], asserts: Sequence[str]) -> Iterator[str]:
    """Yield a line for every type of assert that no field of a case can hold, with its number."""
    every = [one for test in tests for one in test.asserts if not asserts or one.kind in asserts]
    counts = Counter(one.kind for one in every)
    mapped_kinds = sorted({k for k in counts if k in ANSWERS or k in SCHEMAS})
    for kind in counts:
        if kind not in ANSWERS and kind not in SCHEMAS:
            first = next(one.where for one in every if one.kind == kind)
            take = ", ".join(f'"{k}"' for k in mapped_kinds) or "…"
            yield (
                f"{first}: {count_noun(counts[kind], 'assert')} {kind!r} (the first one here) and "
                "no field of a case for it; let a metric of the suite judge it, and set "
                f"asserts = [{take}]"
            )
    ways = {ANSWERS[k] for k in counts if k in ANSWERS}
    if len(ways) > 1:
        listed = ", ".join(
            f"{count_noun(counts[k], 'assert')} {k!r}" for k in counts if k in ANSWERS
        )
        yield (
            f"{path}: {listed}: a suite's metric reads expected in one way; make a suite of each, "
            f'with asserts = ["{next(k for k in counts if k in ANSWERS)}"] and so on'
        )


def _rows(
    test: PromptfooTest, template: str | list[Any], kinds: Sequence[str]
) -> Iterator[_text.Row]:
    """Yield a row for every combination of the test's variables."""
    try:
        lists = {k: v if isinstance(v, list) else [v] for k, v in test.variables.items()}
        if math.prod(map(len, lists.values())) > MOST_ROWS:
            raise ValueError("its lists of variables make too many cases")
        for values in itertools.product(*lists.values()):
            variables = dict(zip(lists, values, strict=True))
            yield (
                test.where,
                {**variables, **test.about, **_fields(test, template, kinds, variables)},
            )
    except ValueError as error:
        yield test.where, str(error)


def _fields(
    test: PromptfooTest,
    template: str | list[Any],
    kinds: Sequence[str],
    variables: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the fields of a case.

    Raises:
        ValueError: the template or an assert cannot be read.
    """
    fields: dict[str, Any] = dict.fromkeys(PRODUCED)
    asked = render_template(template, variables)
    fields |= {"prompt": asked} if isinstance(asked, str) else _conversations.prompt_fields(asked)
    for one in _asserts_of_kind(test, kinds):
        field = "expected" if one.kind in ANSWERS else "schema"
        value = render_template(one.value, variables)
        if isinstance(value, str) and value.startswith("file://"):
            raise ValueError(f"the value {value!r} of {one.kind!r} is not read; write it out")
        if field == "expected":
            listed = isinstance(value, list) and one.kind.endswith(("-any", "-all"))
            value = [javascript_text(v) for v in (value if listed else [value])]
            value = value if listed else value[0]
        elif isinstance(value, str):
            value = _text.json_value(value)
        if fields[field] not in (None, value):
            raise ValueError(
                f"two asserts give its {field}, the second one {one.kind!r} at {one.where}, and "
                "both must hold; a case has one"
            )
        fields[field] = value
    return fields


FORM = "expected is promptfoo's configuration, with prompts and tests"
_VARIABLE = re.compile(r"\{\{([^{}]*)\}\}")
_SHORT = re.compile(r"([a-z][a-z0-9-]*)(?:\([0-9.]+\))?(?::(.*))?", re.DOTALL)
"""The short form of an assert in a CSV cell: `type(threshold):value` (promptfoo's src/csv.ts)."""
TYPES = (
    "answer-relevance", "bleu", "classifier", "contains", "contains-all", "contains-any",
    "contains-html", "contains-json", "contains-sql", "contains-xml", "context-faithfulness",
    "context-recall", "context-relevance", "cost", "equals", "eval", "factuality",
    "finish-reason", "fn", "g-eval", "gleu", "grade", "guardrails", "icontains", "icontains-all",
    "icontains-any", "is-html", "is-json", "is-refusal", "is-sql", "is-valid-function-call",
    "is-valid-openai-function-call", "is-valid-openai-tools-call", "is-xml", "javascript",
    "latency", "levenshtein", "llm-rubric", "meteor", "model-graded-closedqa",
    "model-graded-factuality", "moderation", "perplexity", "perplexity-score", "pi", "python",
    "regex", "rouge-n", "select-best", "similar", "starts-with", "tool-call-f1", "webhook",
    "word-count",
)  # fmt: skip
"""Possible beginnings of such a cell (promptfoo's documentation, "Assertions & metrics")."""
_LISTED = ("contains-any", "contains-all", "icontains-any", "icontains-all")
_CHANGES = ("prefix", "suffix", "transform", "transformVars", "postprocess")
"""Options of a test that change the prompt or the answer; they are not carried out here."""


@dataclass(frozen=True, slots=True)
class PromptfooAssert:
    """One assert of a test."""

    kind: str
    value: Any
    where: str


@dataclass(frozen=True, slots=True)
class PromptfooTest:
    """A test: its variables, its asserts, and its other fields."""

    where: str
    variables: Mapping[str, Any]
    asserts: Sequence[PromptfooAssert]
    about: Mapping[str, Any]
    """`description` and `metadata`, where they are given."""


def tests_of(document: YamlDocument) -> Iterator[PromptfooTest | str]:
    """Yield the tests of a configuration, or what is wrong with one."""
    data = document.data
    if "scenarios" in data:
        yield f"{document.where('scenarios')}: scenarios are not read; write them out as tests"
    default = data.get("defaultTest") or {}
    home = document
    if isinstance(default, str):
        home = read_yaml(
            _file(document, default, document.where("defaultTest")), form="expected is a test"
        )
        default = home.data
    prefix = ("defaultTest",) if home is document else ()
    shared = _test(home, prefix, default)
    if isinstance(shared, str):
        yield shared
        return
    for test in _list_tests(document, data.get("tests"), ("tests",)):
        yield (
            test
            if isinstance(test, str)
            else PromptfooTest(
                test.where,
                {**shared.variables, **test.variables},
                (*shared.asserts, *test.asserts),
                {**shared.about, **test.about},
            )
        )


def _list_tests(
    document: YamlDocument, given: Any, keys: tuple[str | int, ...]
) -> Iterator[PromptfooTest | str]:
    """Yield the tests of a list, of a file, or of a list of both."""
    if isinstance(given, str):
        yield from _tests_of_file(document, given, keys)
    elif isinstance(given, list):
        for index, one in enumerate(given):
            if isinstance(one, str):
                yield from _tests_of_file(document, one, (*keys, index))
            else:
                yield _test(document, (*keys, index), one)
    else:
        yield f"{document.where(*keys)}: tests must be a list, or a file of tests"


def _tests_of_file(
    document: YamlDocument, name: str, keys: tuple[str | int, ...]
) -> Iterator[PromptfooTest | str]:
    path = _file(document, name, document.where(*keys))
    if path.suffix == ".csv":
        for where, row in _text.csv_rows(path, ",")[1]:
            yield f"{where}: {row}" if isinstance(row, str) else _test_of_cells(where, row)
    elif path.suffix == ".jsonl":
        for where, row in _text.json_rows(path, form="write one test a line"):
            known = YamlDocument(Path(where), row)
            yield f"{where}: {row}" if isinstance(row, str) else _test(known, (), row)
    elif path.suffix in (".yaml", ".yml", ".json"):
        inner = read_yaml(path, form="expected is a list of tests")
        yield from _list_tests(inner, inner.data, ())
    else:
        yield f"{document.where(*keys)}: {name!r} is not read; tests come from YAML, JSON or CSV"


def _test(document: YamlDocument, keys: tuple[str | int, ...], given: Any) -> PromptfooTest | str:
    """Return a test as it is written, or what is wrong with it."""
    where = document.where(*keys)
    if not isinstance(given, Mapping):
        return f"{where}: a test must have vars and assert"
    variables, options = given.get("vars") or {}, given.get("options") or {}
    listed = given.get("assert") or []
    for name, value in (("vars", variables), ("options", options)):
        if not isinstance(value, Mapping):
            return f"{where}: {name}={value!r:.60} must be a table of names and values"
    if not isinstance(listed, list):
        return f"{where}: assert={listed!r:.60} must be a list"
    changes = [key for key in _CHANGES if key in options]
    if changes:
        return f"{where}: options.{changes[0]} is not carried out here; leave it out"
    found = []
    for index, one in enumerate(listed):
        place = document.where(*keys, "assert", index)
        if not isinstance(one, Mapping) or not isinstance(one.get("type"), str):
            return f"{place}: an assert must have a type, written out here"
        kind = "transform" if "transform" in one else one["type"]
        found.append(PromptfooAssert(kind, one.get("value"), place))
    about = {key: given[key] for key in ("description", "metadata") if key in given}
    return PromptfooTest(where, variables, found, about)


def _test_of_cells(where: str, row: Mapping[str, str]) -> PromptfooTest | str:
    """Return the test of a CSV row: variables, and asserts in promptfoo's short form."""
    variables = {name: cell for name, cell in row.items() if not name.startswith("__")}
    changed = next((n for n in ("__prefix", "__suffix") if row.get(n)), None)
    if changed:
        return f"{where}: {changed} is not carried out here; leave it out"
    asserts = [
        _short(cell, where)
        for name, cell in row.items()
        if name.startswith("__expected") and cell.strip()
    ]
    metadata = {
        name.removeprefix("__metadata:"): cell
        for name, cell in row.items()
        if name.startswith("__metadata:")
    }
    about = {"description": row.get("__description"), "metadata": metadata}
    return PromptfooTest(where, variables, asserts, about)


def _short(cell: str, where: str) -> PromptfooAssert:
    """Return the assert of a CSV cell; what begins with no type is the answer itself."""
    match = _SHORT.fullmatch(cell)
    if match is None or match[1].removeprefix("not-") not in TYPES:
        return PromptfooAssert("equals", cell, where)
    kind, value = match[1], match[2]
    if kind.removeprefix("not-") in _LISTED:
        return PromptfooAssert(kind, [part.strip() for part in (value or "").split(",")], where)
    return PromptfooAssert(kind, value, where)


def prompt_templates(document: YamlDocument) -> list[str | list[Any]]:
    """Return the prompts: a text, or the turns of a chat.

    Raises:
        SuiteError: a prompt cannot be read.
    """
    given = document.data.get("prompts", ["{{prompt}}"])
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, list):
        raise SuiteError([f"{document.where('prompts')}: prompts must be a list"])
    found: list[str | list[Any]] = []
    for index, one in enumerate(given):
        text = one.get("raw") or one.get("id") if isinstance(one, Mapping) else one
        if not isinstance(text, str):
            raise SuiteError([f"{document.where('prompts', index)}: a prompt must be a text"])
        found += _prompt(document, text, document.where("prompts", index))
    return found


def _prompt(document: YamlDocument, text: str, where: str) -> Iterable[str | list[Any]]:
    """Return the prompts that an entry stands for: itself, or those of a file."""
    if not text.startswith("file://"):
        return [_chat(text) or text]
    path = _file(document, text, where)
    if path.suffix in (".json", ".yaml", ".yml"):
        return [_conversations.conversation_turns(read_yaml(path, form="expected is a chat").data)]
    if path.suffix not in (".txt", ".md"):
        raise SuiteError([f"{where}: prompts of {text!r} are not read; give a text or a chat"])
    whole = _text.read_text(path, form="expected is a prompt").strip()
    return [_chat(part) or part for part in re.split(r"\r?\n---\r?\n", whole)]


def _chat(text: str) -> list[Any] | None:
    """Return the turns of a prompt that is a chat written as JSON."""
    if not text.lstrip().startswith("["):
        return None
    try:
        return _conversations.conversation_turns(_text.json_value(text))
    except ValueError:
        return None


def _path(name: str) -> str:
    return name.removeprefix("file://")


def _file(document: YamlDocument, name: str, where: str) -> Path:
    """Return the file that a configuration names, unless it is none of the project's."""
    folder = document.path.parent
    problem = outside_problem(folder, _path(name))
    if problem:
        raise SuiteError([f"{where}: {problem}"])
    return folder / _path(name)


def render_template(template: Any, variables: Mapping[str, Any]) -> Any:
    """Return a template with its variables put in, the texts within it as well.

    Raises:
        ValueError: a variable is missing, or the template is more than variables.
    """
    if isinstance(template, Mapping):
        return {key: render_template(value, variables) for key, value in template.items()}
    if isinstance(template, list):
        return [render_template(value, variables) for value in template]
    if not isinstance(template, str):
        return template
    parts = _VARIABLE.split(template)
    if any(mark in literal for literal in parts[::2] for mark in ("{{", "{%", "{#")):
        raise ValueError(f"the template {template!r:.60} is more than variables")
    parts[1::2] = [_value(name.strip(), variables) for name in parts[1::2]]
    return "".join(parts)


def _value(name: str, variables: Mapping[str, Any]) -> str:
    if not re.fullmatch(r"[\w.-]+", name):
        raise ValueError(f"{{{{ {name} }}}} is more than a variable; put the value itself there")
    value: Any = variables
    for step in [name] if name in variables else name.split("."):
        if not isinstance(value, Mapping) or step not in value:
            raise ValueError(
                unknown_name_message(name, tuple(variables) or ("none",), what="variable")
            )
        value = value[step]
    return javascript_text(value)


def javascript_text(value: Any) -> str:
    """Return a value as JavaScript prints it: a whole number without a point."""
    import json

    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False, default=str)
