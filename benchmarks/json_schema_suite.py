"""json_schema on the official test suite: `python -m benchmarks.json_schema_suite --data DIR`.

DIR is a checkout of json-schema-org/JSON-Schema-Test-Suite, or a folder with its `tests`. The
source of the jsonschema library has them in `json`. Every instance of drafts 4, 6, 7, 2019-09
and 2020-12, optional ones included, goes through the metric as a completion. The peer is the
jsonschema library itself, with the validator that it picks by `$schema`, formats checked and
nothing fetched. Both say valid or invalid, or that the schema cannot be used: it refers to another
document, breaks its meta-schema, names one that the library has not or has a pattern that Python
cannot read. They must say the same everywhere. The last column counts where both also say what the
suite's authors expect; the rest are gaps of the library, optional formats above all.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jsonschema import (
    Draft4Validator,
    Draft6Validator,
    Draft7Validator,
    Draft201909Validator,
    Draft202012Validator,
)
from jsonschema.exceptions import SchemaError
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from tunegate.harness.metrics.json_schema import json_schema
from tunegate.harness.records.cases import Case, Completion

DRAFTS: dict[str, tuple[str, Any]] = {
    "draft4": ("http://json-schema.org/draft-04/schema#", Draft4Validator),
    "draft6": ("http://json-schema.org/draft-06/schema#", Draft6Validator),
    "draft7": ("http://json-schema.org/draft-07/schema#", Draft7Validator),
    "draft2019-09": ("https://json-schema.org/draft/2019-09/schema", Draft201909Validator),
    "draft2020-12": ("https://json-schema.org/draft/2020-12/schema", Draft202012Validator),
}


ROW = "{:14}{:>10}{:>7}{:>10}{:>8}{:>13}"


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance of the suite with its schema."""

    place: str
    schema: Any
    data: Any
    valid: bool
    """What the suite's authors expect."""


def main() -> int:
    """Print the table and every disagreement; return 1 if there is one."""
    options = _options()
    tests = options.data / "tests" if (options.data / "tests").is_dir() else options.data
    different = 0
    titles = ("draft", "instances", "same", "unusable", "differ", "as expected")
    print(ROW.format(*titles))
    with TemporaryDirectory() as folder:
        for draft in DRAFTS:
            counts: Counter[str] = Counter()
            for instance in _instances(tests / draft, draft):
                ours, reason = _ours(instance, Path(folder) / "schema.json")
                peer = _library(instance.schema, instance.data, DRAFTS[draft][1])
                counts.update(_kinds(instance, ours, peer))
                if ours != peer:
                    print(f"  {instance.place}: library {peer}, json_schema {ours} ({reason})")
            different += counts["differ"]
            shown = (counts[kind] for kind in ("all", "same", "unusable", "differ", "expected"))
            print(ROW.format(draft, *shown))
    return int(different > 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with tests/draft7 …")
    return parser.parse_args()


def _instances(folder: Path, draft: str) -> Iterator[Instance]:
    for path in sorted(folder.rglob("*.json")):
        for group in json.loads(path.read_text(encoding="utf-8")):
            schema = group["schema"]
            if isinstance(schema, dict):  # the files of drafts 4 to 7 do not name their draft
                schema = {"$schema": DRAFTS[draft][0], **schema}
            for test in group["tests"]:
                place = f"{path.relative_to(folder.parent)}: {group['description']}"
                yield Instance(
                    f"{place}: {test['description']}", schema, test["data"], test["valid"]
                )


def _ours(instance: Instance, file: Path) -> tuple[str, str | None]:
    """Return what the metric says, and why."""
    text = json.dumps(instance.schema)
    if not file.exists() or file.read_text() != text:
        file.write_text(text)
    case = Case(id="c", prompt="p")
    score = json_schema(case, Completion(text=json.dumps(instance.data)), schema=file)
    if score.value is None:
        return "unusable", score.reason
    return ("valid" if score.value else "invalid"), score.reason


def _library(schema: Any, data: Any, draft: Any) -> str:
    """Return what the library says; it picks the validator by `$schema`, where there is one."""
    find: Any = validator_for  # its stub does not know that any default may be asked for
    chosen = find(schema, default=None) if isinstance(schema, dict) else draft
    if chosen is None:
        return "unusable"
    try:
        chosen.check_schema(schema)
        validator = chosen(schema, registry=Registry(), format_checker=chosen.FORMAT_CHECKER)
        return "valid" if validator.is_valid(data) else "invalid"
    except (SchemaError, Unresolvable, re.error):
        return "unusable"


def _kinds(instance: Instance, ours: str, peer: str) -> list[str]:
    """Return the columns in which an instance counts."""
    kinds = ["all", "same" if ours == peer else "differ"]
    if ours == peer == "unusable":
        kinds.append("unusable")
    if ours == peer == ("valid" if instance.valid else "invalid"):
        kinds.append("expected")
    return kinds


if __name__ == "__main__":
    sys.exit(main())
