"""Cases from promptfoo's configuration: every test, with one prompt, is a case.

The value of an `equals`, `contains` or `regex` assert becomes `expected`, and the schema of an
`is-json` assert becomes `schema`. Name the metric in suite.toml. Other asserts (a rubric, a script,
a negation) are refused until `asserts` says which to use. Each value of a variable makes a case.

Example:
    [cases]
    from = "promptfoo"
    file = "promptfooconfig.yaml"
    asserts = ["icontains"]     # tests without such an assert are left out
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import SuiteError, unknown_name_message
from tunegate.harness.records.problems import summarize_problems
from tunegate.harness.records.wording import count_noun
from tunegate.harness.suite.sources import _conversations, _text
from tunegate.harness.suite.sources._columns import Columns
from tunegate.harness.suite.sources._promptfoo import (
    FORM,
    PromptfooAssert,
    PromptfooTest,
    javascript_text,
    prompt_templates,
    read_tests,
    render_template,
)
from tunegate.harness.suite.sources._table import (
    ALL_ROWS,
    MOST_ROWS,
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
"""Type of assert whose value becomes `expected` → the metric that reads it that way."""
SCHEMAS = ("is-json", "contains-json")
"""Types of assert whose value, if any, becomes `schema`."""
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
        prompt: Number of the prompt, from 1, if there are several; a suite has one.
        asserts: Types of assert to use; tests without any of them are left out. By default all are
            used, and each must map to a field of a case.
        columns: Case field → variable, or `metadata.KEY` or `description`.
        selection: Which rows are taken.

    Raises:
        SuiteError: the file cannot be read, or tests and asserts cannot be mapped.
        MissingExtra: PyYAML is not installed.
    """
    path = folder / file
    document = read_yaml(path, form=FORM)
    if not isinstance(document.data, Mapping):
        raise SuiteError([f"{path}: {FORM}"])
    template = _choose_prompt(document, prompt)
    kinds = (*ANSWERS, *SCHEMAS)
    read = list(read_tests(document))
    problems = [test for test in read if isinstance(test, str)]
    tests = [test for test in read if isinstance(test, PromptfooTest)]
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


def _choose_prompt(document: YamlDocument, number: int | None) -> str | list[Any]:
    templates = prompt_templates(document)
    if number is None and len(templates) == 1:
        return templates[0]
    if number is None or number > len(templates):
        raise SuiteError(
            [
                f"{document.where('prompts')}: {len(templates)} prompts, and a suite has one; "
                f"set prompt to a number from 1 to {len(templates)}"
            ]
        )
    return templates[number - 1]


def _asserts_of_kind(test: PromptfooTest, kinds: Sequence[str]) -> list[PromptfooAssert]:
    return [one for one in test.asserts if one.kind in kinds]


def _misfits(path: Path, tests: Sequence[PromptfooTest], asserts: Sequence[str]) -> Iterator[str]:
    """Yield a line for every type of assert that no field of a case can hold."""
    every = [
        check for test in tests for check in test.asserts if not asserts or check.kind in asserts
    ]
    counts = Counter(check.kind for check in every)
    mapped_kinds = sorted({k for k in counts if k in ANSWERS or k in SCHEMAS})
    for kind in counts:
        if kind not in ANSWERS and kind not in SCHEMAS:
            first = next(check.where for check in every if check.kind == kind)
            take = ", ".join(f'"{k}"' for k in mapped_kinds) or "…"
            yield (
                f"{first}: {count_noun(counts[kind], 'assert')} {kind!r} (first one here): no "
                "field of a case can hold it; let a metric of the suite judge it, and set "
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
    rendered = render_template(template, variables)
    fields |= (
        {"prompt": rendered}
        if isinstance(rendered, str)
        else _conversations.prompt_fields(rendered)
    )
    for check in _asserts_of_kind(test, kinds):
        field = "expected" if check.kind in ANSWERS else "schema"
        value = render_template(check.value, variables)
        if isinstance(value, str) and value.startswith("file://"):
            raise ValueError(f"the value {value!r} of {check.kind!r} is not read; write it out")
        if field == "expected":
            listed = isinstance(value, list) and check.kind.endswith(("-any", "-all"))
            value = [javascript_text(v) for v in (value if listed else [value])]
            value = value if listed else value[0]
        elif isinstance(value, str):
            value = _text.json_value(value)
        if fields[field] not in (None, value):
            raise ValueError(
                f"two asserts give its {field}, the second one {check.kind!r} at {check.where}, "
                "and both must hold; a case has one"
            )
        fields[field] = value
    return fields
