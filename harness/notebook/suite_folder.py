"""Suite folder: writes what a notebook gives in Python as suite.toml and cases.jsonl."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tunegate.harness.records.errors import UsageError, refuse_unreadable, refuse_unwritable
from tunegate.harness.records.files import write_atomic

FOLDER = Path(".tunegate/notebook")
_CASES = "cases.jsonl"

MetricTable = str | Mapping[str, Any] | Callable[..., Any]


def write_suite(
    cases: Iterable[Mapping[str, Any]] | Path,
    metrics: Iterable[MetricTable],
    gates: Iterable[Mapping[str, Any]] | None,
    keys: Mapping[str, Any],
) -> Path:
    """Write a suite to `.tunegate/notebook/NAME` and return its folder.

    Args:
        cases: The cases, or a file of JSON lines.
        metrics: Names, importable functions, or tables as in suite.toml.
        gates: Tables as in suite.toml; None asks for a proven gain on every metric.
        keys: Further keys of suite.toml, such as `name` and `generation`.

    Raises:
        UsageError: a suite cannot hold a value.
    """
    given = {"name": "notebook", **keys}
    name = given["name"]
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,79}", name):
        raise UsageError(f"name={name!r}: use at most 80 letters, digits, '.', '_' and '-'")
    tables = [_metric_table(metric) for metric in metrics]
    if gates is None:
        given = {"goal_rule": "all", **given}
        named = [str(table.get("name", table.get("use", ""))) for table in tables]
        gates = [{"metric": metric.rpartition(":")[2], "gain": 0.0} for metric in named]
    plain = {key: value for key, value in given.items() if not isinstance(value, Mapping)}
    inner = {key: value for key, value in given.items() if isinstance(value, Mapping)}
    blocks = [_table("", {**plain, "cases": _CASES})]
    blocks += [_table(f"[{key}]", value) for key, value in inner.items()]
    blocks += [_table("[[metrics]]", table) for table in tables]
    blocks += [_table("[[gates]]", _mapping("gates", gate)) for gate in gates]
    folder = FOLDER / name
    with refuse_unwritable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / _CASES, _case_lines(cases))
        write_atomic(folder / "suite.toml", "\n".join(blocks))
    return folder


def _case_lines(cases: Iterable[Mapping[str, Any]] | Path) -> str:
    if isinstance(cases, Path):
        with refuse_unreadable(cases):
            return cases.read_text(encoding="utf-8")
    lines = []
    for index, case in enumerate(cases):
        try:
            line = json.dumps(_mapping(f"cases[{index}]", case), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise UsageError(f"cases[{index}]: cannot be written as JSON ({error})") from error
        lines.append(line + "\n")
    return "".join(lines)


def _metric_table(metric: MetricTable) -> Mapping[str, Any]:
    """Return a metric's table.

    Raises:
        UsageError: a function is defined in the notebook, where no other run could find it.
    """
    if isinstance(metric, str):
        return {"use": metric}
    if not callable(metric):
        return _mapping("metrics", metric)
    module, name = metric.__module__, metric.__qualname__
    if module == "__main__" or "<" in name:
        raise UsageError(
            f"metrics: {name} is defined in the notebook, where no other run finds it; put it "
            f"into a file, such as scoring.py, and name it 'scoring:{metric.__name__}'"
        )
    return {"use": f"{module}:{name}"}


def _mapping(what: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UsageError(f"{what}: {value!r:.80} must be a dict")
    return value


def _table(head: str, values: Mapping[str, Any]) -> str:
    """Return a table of TOML, a line for each key, so that messages name the right line."""
    return "".join(f"{line}\n" for line in [*([head] if head else []), *_pairs(values)])


def _value(key: str, value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | Path):
        return _text(str(value))
    if isinstance(value, int):
        return repr(value)
    if isinstance(value, float):
        return repr(float(value))  # numpy's are floats that call themselves np.float64(…)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(_pairs(value)) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(key, one) for one in value) + "]"
    raise UsageError(f"{key}={value!r:.80}: a suite takes texts, numbers, lists and dicts")


def _pairs(values: Mapping[str, Any]) -> Iterator[str]:
    for key, value in values.items():
        bare = re.fullmatch(r"[A-Za-z0-9_-]+", str(key))
        yield f"{key if bare else _text(str(key))} = {_value(str(key), value)}"


def _text(text: str) -> str:
    """Return a text as a basic string of TOML: JSON's form, except for one character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
