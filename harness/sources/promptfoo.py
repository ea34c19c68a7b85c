"""Cases from promptfoo's configuration: every test, with the one prompt, is a case.

The value of an `equals`, `contains` or `regex` assert becomes `expected`, the schema of an
`is-json` one `schema`; the metric that reads it stands in suite.toml. What has no plain mapping (a
rubric, a script, a negation, two kinds of answer in one suite) is refused with its number, until
`asserts` names what to take. Of a list of values of a variable each makes a case, as in promptfoo.

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

from harness.errors import SuiteError
from harness.lookup import unknown
from harness.source import SourcedCase
from harness.sources import _promptfoo, _text, _turns, _yaml
from harness.sources._columns import Columns
from harness.sources._promptfoo import Assert, Test
from harness.sources._table import MOST_ROWS, Count, Part, Repeated, Table, mapped

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


def promptfoo(  # noqa: PLR0913 - each is a key of the suite file
    folder: Path,
    *,
    file: str,
    prompt: Annotated[int, Field(ge=1)] | None = None,
    asserts: tuple[str, ...] = (),
    columns: Columns | None = None,
    limit: Count | None = None,
    sample: Count | None = None,
    seed: int = 0,
    repeated: Repeated = "refuse",
) -> Iterator[SourcedCase]:
    """Yield the tests of a configuration as cases.

    Args:
        folder: The suite's folder.
        file: Path of the YAML or JSON file from the suite's folder.
        prompt: Which of several prompts, from 1; each of them makes a suite of its own.
        asserts: Types of assert to take; tests that have none of them are left out. Without it all
            of them are taken, and each must have a field of a case.
        columns: Case field → variable, or `metadata.KEY` or `description`.
        limit: The first so many tests.
        sample: So many tests, drawn by seed.
        seed: Seed of the draw.
        repeated: Whether rows that are the same as an earlier one are refused or dropped.

    Raises:
        SuiteError: the file cannot be read, or tests and asserts do not fit: every one, or a kind
            of them with its number.
        MissingExtra: PyYAML is not installed.
    """
    path = folder / file
    document = _yaml.read(path, form=_promptfoo.FORM)
    if not isinstance(document.data, Mapping):
        raise SuiteError([f"{path}: {_promptfoo.FORM}"])
    template = _one_prompt(document, prompt)
    kinds = (*ANSWERS, *SCHEMAS)
    found = list(_promptfoo.tests(document))
    problems = [test for test in found if isinstance(test, str)]
    tests = [test for test in found if isinstance(test, Test)]
    problems += [f"{path}: {unknown(k, kinds, what='assert')}" for k in asserts if k not in kinds]
    problems += _misfits(path, tests, asserts)
    if problems:
        raise SuiteError(_text.some(problems))
    taken = [test for test in tests if not asserts or _of(test, asserts)]
    rows = [row for test in taken for row in _rows(test, template, asserts or kinds)]
    part = Part(limit, sample, seed, repeated)
    yield from mapped(Table.of(str(path), rows), columns, part, always=PRODUCED)


def _one_prompt(document: _yaml.Document, number: int | None) -> str | list[Any]:
    found = _promptfoo.prompts(document)
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


def _of(test: Test, kinds: Sequence[str]) -> list[Assert]:
    return [one for one in test.asserts if one.kind in kinds]


def _misfits(path: Path, tests: Sequence[Test], asserts: Sequence[str]) -> Iterator[str]:
    """Yield a line for every type of assert that no field of a case can hold, with its number."""
    every = [one for test in tests for one in test.asserts if not asserts or one.kind in asserts]
    counts = Counter(one.kind for one in every)
    mapped_kinds = sorted({k for k in counts if k in ANSWERS or k in SCHEMAS})
    for kind in counts:
        if kind not in ANSWERS and kind not in SCHEMAS:
            first = next(one.where for one in every if one.kind == kind)
            take = ", ".join(f'"{k}"' for k in mapped_kinds) or "…"
            yield (
                f"{first}: {_number(counts[kind], kind)} (the first one here) and no field of a "
                f"case for it; let a metric of the suite judge it, and set asserts = [{take}]"
            )
    ways = {ANSWERS[k] for k in counts if k in ANSWERS}
    if len(ways) > 1:
        listed = ", ".join(_number(counts[k], k) for k in counts if k in ANSWERS)
        yield (
            f"{path}: {listed}: a suite's metric reads expected in one way; make a suite of each, "
            f'with asserts = ["{next(k for k in counts if k in ANSWERS)}"] and so on'
        )


def _number(count: int, kind: str) -> str:
    return f"{count} assert{'' if count == 1 else 's'} {kind!r}"


def _rows(test: Test, template: str | list[Any], kinds: Sequence[str]) -> Iterator[_text.Row]:
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
    test: Test, template: str | list[Any], kinds: Sequence[str], variables: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the fields of a case.

    Raises:
        ValueError: the template or an assert cannot be read.
    """
    fields: dict[str, Any] = dict.fromkeys(PRODUCED)
    asked = _promptfoo.rendered(template, variables)
    fields |= {"prompt": asked} if isinstance(asked, str) else _turns.asked(asked)
    for one in _of(test, kinds):
        field = "expected" if one.kind in ANSWERS else "schema"
        value = _promptfoo.rendered(one.value, variables)
        if isinstance(value, str) and value.startswith("file://"):
            raise ValueError(f"the value {value!r} of {one.kind!r} is not read; write it out")
        if field == "expected":
            listed = isinstance(value, list) and one.kind.endswith(("-any", "-all"))
            value = [_promptfoo.as_text(v) for v in (value if listed else [value])]
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
