"""promptfoo's configuration: its tests with their asserts, its prompts and its templates."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.keyword_options import outside_problem
from tunegate.harness.records.errors import SuiteError, unknown_name_message
from tunegate.harness.suite.sources import _conversations, _text
from tunegate.harness.suite.sources._yaml import YamlDocument, read_yaml

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
"""Types that such a cell may begin with (promptfoo's documentation, "Assertions & metrics")."""
_LISTED = ("contains-any", "contains-all", "icontains-any", "icontains-all")
_CHANGES = ("prefix", "suffix", "transform", "transformVars", "postprocess")
"""Options of a test that change the prompt or the answer, which are refused."""


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
    """`description` and `metadata`, if given."""


def read_tests(document: YamlDocument) -> Iterator[PromptfooTest | str]:
    """Yield the tests of a configuration, or what is wrong with them."""
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
        if isinstance(test, str):
            yield test
        else:
            yield PromptfooTest(
                test.where,
                {**shared.variables, **test.variables},
                (*shared.asserts, *test.asserts),
                {**shared.about, **test.about},
            )


def _list_tests(
    document: YamlDocument, tests: Any, keys: tuple[str | int, ...]
) -> Iterator[PromptfooTest | str]:
    """Yield the tests of a list, of a file, or of a list of both."""
    if isinstance(tests, str):
        yield from _tests_of_file(document, tests, keys)
    elif isinstance(tests, list):
        for index, test in enumerate(tests):
            if isinstance(test, str):
                yield from _tests_of_file(document, test, (*keys, index))
            else:
                yield _test(document, (*keys, index), test)
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
            row_document = YamlDocument(Path(where), row)
            yield f"{where}: {row}" if isinstance(row, str) else _test(row_document, (), row)
    elif path.suffix in (".yaml", ".yml", ".json"):
        inner = read_yaml(path, form="expected is a list of tests")
        yield from _list_tests(inner, inner.data, ())
    else:
        yield f"{document.where(*keys)}: {name!r} is not read; tests come from YAML, JSON or CSV"


def _test(document: YamlDocument, keys: tuple[str | int, ...], test: Any) -> PromptfooTest | str:
    """Return a test as it is written, or what is wrong with it."""
    where = document.where(*keys)
    if not isinstance(test, Mapping):
        return f"{where}: a test must have vars and assert"
    variables, options = test.get("vars") or {}, test.get("options") or {}
    listed = test.get("assert") or []
    for name, value in (("vars", variables), ("options", options)):
        if not isinstance(value, Mapping):
            return f"{where}: {name}={value!r:.60} must be a table of names and values"
    if not isinstance(listed, list):
        return f"{where}: assert={listed!r:.60} must be a list"
    changes = [key for key in _CHANGES if key in options]
    if changes:
        return f"{where}: options.{changes[0]} is not supported here; remove it"
    asserts = []
    for index, entry in enumerate(listed):
        place = document.where(*keys, "assert", index)
        if not isinstance(entry, Mapping) or not isinstance(entry.get("type"), str):
            return f"{place}: an assert must have a type, written out here"
        kind = "transform" if "transform" in entry else entry["type"]
        asserts.append(PromptfooAssert(kind, entry.get("value"), place))
    about = {key: test[key] for key in ("description", "metadata") if key in test}
    return PromptfooTest(where, variables, asserts, about)


def _test_of_cells(where: str, row: Mapping[str, str]) -> PromptfooTest | str:
    """Return the test of a CSV row: variables, and asserts in promptfoo's short form."""
    variables = {name: cell for name, cell in row.items() if not name.startswith("__")}
    changed = next((n for n in ("__prefix", "__suffix") if row.get(n)), None)
    if changed:
        return f"{where}: {changed} is not supported here; remove it"
    asserts = [
        _read_cell_assert(cell, where)
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


def _read_cell_assert(cell: str, where: str) -> PromptfooAssert:
    """Return the assert of a CSV cell; a cell without a type is the answer itself."""
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
    prompts = document.data.get("prompts", ["{{prompt}}"])
    if isinstance(prompts, str):
        prompts = [prompts]
    if not isinstance(prompts, list):
        raise SuiteError([f"{document.where('prompts')}: prompts must be a list"])
    templates: list[str | list[Any]] = []
    for index, prompt in enumerate(prompts):
        text = prompt.get("raw") or prompt.get("id") if isinstance(prompt, Mapping) else prompt
        if not isinstance(text, str):
            raise SuiteError([f"{document.where('prompts', index)}: a prompt must be a text"])
        templates += _prompt(document, text, document.where("prompts", index))
    return templates


def _prompt(document: YamlDocument, text: str, where: str) -> Iterable[str | list[Any]]:
    """Return the prompts of an entry: itself, or those of its file."""
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
    """Return the turns of a prompt that is a chat in JSON, or None."""
    if not text.lstrip().startswith("["):
        return None
    try:
        return _conversations.conversation_turns(_text.json_value(text))
    except ValueError:
        return None


def _file(document: YamlDocument, name: str, where: str) -> Path:
    """Return a file that the configuration names; it must be inside the project."""
    folder, path = document.path.parent, name.removeprefix("file://")
    if problem := outside_problem(folder, path):
        raise SuiteError([f"{where}: {problem}"])
    return folder / path


def render_template(template: Any, variables: Mapping[str, Any]) -> Any:
    """Return a template, or every text in a structure, with its variables filled in.

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
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False, default=str)
