"""`tunegate help TOPIC` prints a guide; messages name topics, not files of the repository."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

from tunegate.harness.cli.help import help_pages

ROOT = Path(__file__).parents[2]
MESSAGES = [
    path
    for folder in ("harness", "trainers", "reports", "suites")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".html", ".toml", ".txt", ".yml", ".groovy", ".sh")
]


def texts(path: Path) -> list[str]:
    """Return the texts that a file may print: its literals without docstrings, or all of it."""
    source = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return [source]
    tree = ast.parse(source)
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone
    ]


def test_a_topic_prints_its_guide_and_names_others_as_commands(project: Any) -> None:
    result = project.tunegate("help", "forgetting")

    assert result.ret == 0
    assert result.outlines[0] == "# It forgot: what now"
    text = "\n".join(result.outlines)
    assert "(`tunegate help replay-traces`)" in text
    assert ".md)" not in text


def test_a_page_of_the_same_name_elsewhere_is_no_topic(project: Any) -> None:
    result = project.tunegate("help", "judges")  # it links to docs/reference/judges.md

    assert result.ret == 0
    assert "tunegate help judges" not in "\n".join(result.outlines)


def test_without_a_topic_all_are_listed(project: Any) -> None:
    result = project.tunegate("help")

    assert result.ret == 0
    assert [line.split()[0] for line in result.outlines] == list(help_pages())
    guides = {page.stem for page in (ROOT / "docs/guides").glob("*.md")}
    assert set(help_pages()) == {*guides, "statistics"}


def test_an_unknown_topic_is_one_line(project: Any) -> None:
    result = project.tunegate("help", "forgeting")

    assert result.ret == 2
    assert "did you mean 'forgetting'?" in "\n".join(result.errlines)


def test_no_message_names_a_file_that_a_user_does_not_have() -> None:
    named = {
        str(path.relative_to(ROOT)): found
        for path in MESSAGES
        for text in texts(path)
        if (found := re.findall(r"(?<![/\w.])docs/[\w/-]+\.md", text))
    }

    assert named == {}


def test_every_topic_in_a_message_is_there() -> None:
    named = {
        topic
        for path in MESSAGES
        for text in texts(path)
        for topic in re.findall(r"tunegate help ([a-z][a-z-]+)", text)
    }

    assert named >= {"forgetting", "code", "statistics", "judges"}
    assert named <= set(help_pages())
