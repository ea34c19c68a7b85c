"""Writes metrics.md from the docstrings and signatures of harness/metrics.

Run it after a metric has changed: `python docs/reference/make_metrics.py`.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunegate.harness.contracts import lookup
from tunegate.harness.contracts.metric import Metric
from tunegate.harness.records.answers import CellKind

PAGE = Path(__file__).with_name("metrics.md")
_INTRODUCTION = """\
# Metrics

A metric is used by its name. Its options go into the same table:

```toml
[[metrics]]
use = "length"
unit = "characters"
```

Texts are not Unicode-normalized. Of several expected texts, the best one counts.
[Write your own](../contributing/metric.md).
"""
_PARTS = ("Known problems", "Example", "Options")
_ASKED = {
    CellKind.CHOICES: "asks for the likelihood of each choice",
    CellKind.ANSWER: "asks for the likelihood of the expected answer",
    CellKind.TEXT: "asks for the likelihood of the prompt",
    CellKind.LATENCY: "times completions in a pass of its own",
    CellKind.RECORDED: "takes the scores of a `results:` arm",
}


def render() -> str:
    """Return the page: one section for each metric, in the order of their names."""
    names = lookup.available_names("tunegate.harness.metrics")
    metrics = [
        lookup.find_object("tunegate.harness.metrics", name, what="metric") for name in names
    ]
    index = ",\n".join(f"[`{name}`](#{name})" for name in names) + "\n"
    return "\n".join([_INTRODUCTION, index, *map(_section, metrics)])


def parts(metric: Metric) -> dict[str, str]:
    """Return the named parts of a metric's docstring; the text before them is called ``."""
    found: dict[str, list[str]] = {"": []}
    body = found[""]
    for line in (inspect.getdoc(metric.score) or "").splitlines():
        if line.endswith(":") and line[:-1] in _PARTS:
            body = found.setdefault(line[:-1], [])
        else:
            body.append(line)
    return {name: inspect.cleandoc("\n".join(["", *lines])) for name, lines in found.items()}


def options(metric: Metric) -> dict[str, str]:
    """Return option → its description in the docstring."""
    pieces = re.split(r"^(\w+): ", parts(metric).get("Options", ""), flags=re.MULTILINE)
    return dict(zip(pieces[1::2], map(str.strip, pieces[2::2]), strict=True))


def _section(metric: Metric) -> str:
    summary, _, body = parts(metric)[""].partition("\n\n")
    blocks = [f"\n## {metric.name}", f"{summary} *{_facts(metric)}.*", *([body] if body else [])]
    for name, text in parts(metric).items():
        if name == "Options":
            text = "\n".join(_options(metric))
        if name == "Options" and text:
            blocks.append(text)
        elif name and text:
            between = "\n\n" if text.startswith("```") else " "
            blocks.append(f"**{name}:**{between}{_fences_named(text)}")
    return "\n\n".join(blocks) + "\n"


def _facts(metric: Metric) -> str:
    if metric.binary:
        values = "0 or 1"
    else:
        values = f"{metric.range[0]:g} to {metric.range[1]:g}" if metric.range else "unbounded"
    better = f"{'higher' if metric.higher_is_better else 'lower'} is better"
    needs = [f"needs {' and '.join(f'`{name}`' for name in metric.requires)}"]
    asked = [_ASKED[metric.needs]] if metric.needs in _ASKED else []
    return "; ".join([values, better, *asked, *(needs if metric.requires else [])])


def _options(metric: Metric) -> Iterator[str]:
    told = options(metric)
    for name, parameter in inspect.signature(metric.score).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            text = " ".join(told.get(name, "").split())
            yield f"- `{name}`{_default(parameter.default)}: {text}"


def _default(value: Any) -> str:
    if value is inspect.Parameter.empty:
        return " (required)"
    return "" if value in (None, (), "", False, 0) else f" (default `{json.dumps(value)}`)"


def _fences_named(text: str) -> str:
    """Quote a fence that is spoken of, not used: Markdown would take it for the start of code."""
    return re.sub(r"(?<=[^\s`]) ```(?= |$)", " `` ``` ``", text, flags=re.MULTILINE)


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
