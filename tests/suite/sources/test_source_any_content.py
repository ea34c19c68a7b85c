"""Whatever a file holds, a source yields cases or says in words what is wrong."""

from __future__ import annotations

import importlib
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tunegate.harness.records.errors import SuiteError

_KEYS = st.sampled_from(
    ["messages", "role", "content", "tool_calls", "function", "name", "arguments", "tools",
     "prompt", "completion", "input", "ideal", "expected_output", "context", "expected_tools",
     "conversations", "from", "value", "prompts", "tests", "vars", "assert", "type", "defaultTest",
     "options", "raw", "q", "user", "assistant", "equals", "is-json"]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)


def _read(source: str, content: bytes, suffix: str, **options: Any) -> None:
    """Read a file with a source; a SuiteError of one-line problems is an answer."""
    function = getattr(importlib.import_module(f"tunegate.harness.suite.sources.{source}"), source)
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / f"f{suffix}").write_bytes(content)
        problems: tuple[str, ...] = ()
        try:
            list(function(Path(name), file=f"f{suffix}", **options))
        except SuiteError as error:
            problems = error.problems
        assert all(problem.startswith((name, "… and")) for problem in problems)


@settings(deadline=None)
@given(
    content=st.binary(max_size=200)
    | st.text(max_size=200).map(lambda t: t.encode("utf-8", "replace"))
)
@example(b'prompt\n"')
@example(b"prompt,answer\np," + b"9" * 5000)
@example(b"\x00\n\x00")
def test_any_csv(content: bytes) -> None:
    """Bytes and texts, with each way of naming columns."""
    _read("csv", content, ".csv")
    _read("csv", b"prompt,answer,choices\n" + content, ".csv")
    _read("csv", b"a;b\n" + content, ".csv", delimiter=";", columns={"prompt": "{a} {b}"})


@settings(deadline=None)
@given(content=st.text(alphabet="ab:-[]{}'\"&*!|> \n#,0.~<?%@", max_size=80))
@example("? [a]\n: b")
@example("{a: 1}: 2")
@example("<<: {a: 1}")
@example("- <<: 3")
@example("[[a]]: 1")
def test_any_yaml(content: str) -> None:
    """Keys that are lists, merges of nothing, tags of nobody."""
    pytest.importorskip("yaml")
    _read("promptfoo", content.encode(), ".yaml")
    _read("promptfoo", b"prompts: ['{{a}}']\ntests:\n" + content.encode(), ".yaml")


@settings(deadline=None)
@given(row=JSON)
@pytest.mark.parametrize("source", ["chat", "openai_evals", "deepeval", "promptfoo"])
def test_any_json(source: str, row: Any) -> None:
    """The keys of all these forms, with values of any kind."""
    content = json.dumps(row if source == "promptfoo" else [row]).encode()
    _read(source, content, ".json")


@settings(deadline=None)
@given(asserts=st.lists(JSON, max_size=3), variables=JSON, prompt=JSON)
def test_any_promptfoo_test(asserts: Any, variables: Any, prompt: Any) -> None:
    """Parts of a configuration, each of any kind."""
    test = {"vars": variables, "assert": asserts, "options": variables}
    content = {"prompts": prompt, "tests": [test], "defaultTest": test}
    _read("promptfoo", json.dumps(content).encode(), ".json")
