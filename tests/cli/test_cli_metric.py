"""`tunegate metric`: what a metric's docstring says, for a user without the sources."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from tunegate.harness.cli.metric import find_metric, metric_entry, option_texts
from tunegate.harness.contracts import lookup

NAMES = lookup.available_names("tunegate.harness.metrics")


@pytest.mark.parametrize("name", NAMES)
def test_every_option_of_a_metric_is_explained(name: str) -> None:
    metric = find_metric(name)
    parameters = inspect.signature(metric.score).parameters.values()

    keywords = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    assert list(option_texts(metric)) == keywords
    assert [k for k in keywords if f"\n- `{k}`" not in metric_entry(metric, full=False)] == []


def test_a_name_prints_facts_options_source_and_example(project: Any) -> None:
    result = project.tunegate("metric", "token_f1")
    text = "\n".join(result.outlines)

    assert result.ret == 0
    assert result.outlines[0] == "## token_f1"
    assert "0 to 1; higher is better; needs `expected`" in text
    assert "SQuAD" in text
    assert "**Example:**" in text
    assert "**Example:**" not in metric_entry(find_metric("token_f1"), full=False)


def test_without_a_name_all_are_listed(project: Any) -> None:
    assert [line.split()[0] for line in project.tunegate("metric").outlines] == list(NAMES)


def test_a_function_of_your_own_is_explained(project: Any) -> None:
    code = 'def polite(case, completion, *, word="please"):\n    """Score politeness."""\n'
    (project.path / "mine.py").write_text(code, encoding="utf-8")

    result = project.tunegate("metric", "mine:polite")

    assert result.ret == 0
    assert '- `word` (default `"please"`)' in result.outlines


def test_an_unknown_name_is_one_line(project: Any) -> None:
    result = project.tunegate("metric", "token_f2")

    assert result.ret == 2
    result.stderr.fnmatch_lines(["tunegate: unknown metric 'token_f2'; did you mean 'token_f1'?*"])
