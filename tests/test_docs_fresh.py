"""What the documents say is so: names, options, links and examples."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from pathlib import Path

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
    """At most 900 words; everything else is in docs/."""
    assert len(README.read_text(encoding="utf-8").split()) <= 900


def test_the_quickstart_of_the_readme_is_that_of_the_page() -> None:
    """Its commands and lines of output, which `tests/examples` runs, are those of the page."""
    page = ROOT / "docs" / "getting-started" / "quickstart.md"
    found = [block for language in ("sh", "text") for block in blocks(README, language)]
    lines = [line for block in found for line in block.splitlines()]

    assert len(lines) == 7
    assert set(lines) - set(page.read_text(encoding="utf-8").splitlines()) == set()
