"""What the documents say is so: names, options, links and examples."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.contracts.json_schema import schema_problems
from tunegate.harness.plugin.gate_options import OPTIONS
from tunegate.harness.records.verdict import Verdict
from tunegate.harness.suite.file_schema import suite_validator

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("suites/*/*.md"))
    if path.read_text(encoding="utf-8").strip()
)


def name_of(path: Path) -> str:
    """Return a page's path within the repository."""
    return str(path.relative_to(ROOT))


def blocks(path: Path, language: str) -> list[str]:
    """Return the fenced blocks of one language."""
    text = path.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def test_links_lead_somewhere() -> None:
    """A link to a file of this repository names one that exists."""
    links = [
        (path, link)
        for path in PAGES
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8"))
        if "://" not in link and not link.startswith(("mailto:", "docs/images/"))
    ]

    assert len(links) > len(PAGES)
    assert [(name_of(p), link) for p, link in links if not (p.parent / link).exists()] == []


def test_pictures_are_there_and_shown() -> None:
    shown = {
        (path.parent / link).resolve()
        for path in PAGES
        for link in re.findall(r"!\[[^\]]+\]\(([^)\s]+)\)", path.read_text(encoding="utf-8"))
    }

    pictures = (*ROOT.glob("docs/images/*.png"), *ROOT.glob("docs/images/*.svg"))
    assert shown == {path.resolve() for path in pictures}


def test_examples_can_be_read() -> None:
    """TOML, JSON and Python in the documents parse; a whole suite has the right form."""
    for path in PAGES:
        for block in blocks(path, "toml"):
            data = tomllib.loads(block)
            if {"name", "cases", "metrics"} <= set(data):
                assert schema_problems(data, suite_validator()) == [], path
        for block in blocks(path, "json"):
            for line in block.splitlines() if block.lstrip().startswith('{"') else [block]:
                json.loads(line)
        for block in blocks(path, "python"):
            ast.parse(block, filename=str(path))


def test_options_exist() -> None:
    """Every `--gate-…` option and its ini twin that a page names is one of ours."""
    known = {option.name for option in OPTIONS}
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        named = set(re.findall(r"--gate-([a-z][a-z-]*[a-z])", text))
        twins = {name.replace("_", "-") for name in re.findall(r"\bgate_([a-z_]+) = ", text)}

        assert named - known == set(), path
        assert twins - known == set(), path


def test_the_readme_has_the_exit_codes() -> None:
    rows = re.findall(
        r"^\| ([A-Z ]+) \|.*\| (\d+) \|$", README.read_text(encoding="utf-8"), flags=re.MULTILINE
    )

    assert {name.replace(" ", "_"): int(code) for name, code in rows} == {
        verdict.value: verdict.exit_code for verdict in Verdict
    }


def test_the_readme_can_be_read_in_a_few_minutes() -> None:
    """At most 900 words, those in tables as well; everything else is in docs/."""
    words = README.read_text(encoding="utf-8").split()

    assert sum(any(map(str.isalnum, word)) for word in words) <= 900


@pytest.mark.parametrize(("points", "n", "column"), [(5, 100, 0), (3, 200, 1)])
def test_the_chances_of_the_readme_are_those_of_plan(
    project: Any, points: int, n: int, column: int
) -> None:
    """The first figure of `passes` is for one answer in ten that flips."""
    text = README.read_text(encoding="utf-8")
    row = re.findall(rf"(?m)^\| {points} points \| (.+) \|$", text)[0].split(" | ")
    project.suite(gates=f"tolerance = {points / 100}", n=n)

    plan = project.tunegate("plan", "suites/demo").stdout.str()

    assert re.findall(r"::tolerance .*?  0  +(\d+) / ", plan) == [row[column].removesuffix(" %")]
