"""Writes metrics.md from the docstrings and signatures of harness/metrics.

Run it after a metric has changed: `python docs/reference/make_metrics.py`.
"""

from __future__ import annotations

from pathlib import Path

from tunegate.harness.cli.metric import find_metric, metric_entry
from tunegate.harness.contracts import lookup

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
`tunegate metric NAME` adds how a score is made, with its source and an example.
[Write your own](../contributing/metric.md).
"""


def render() -> str:
    """Return the page: one section for each metric, in the order of their names."""
    names = lookup.available_names("tunegate.harness.metrics")
    index = ",\n".join(f"[`{name}`](#{name})" for name in names) + "\n"
    entries = (metric_entry(find_metric(name), full=False) for name in names)
    return "\n".join([_INTRODUCTION, index, *entries])


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
