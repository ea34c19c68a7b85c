"""Payloads in every text of a run: in the page, the summary and JUnit they stay text."""

from __future__ import annotations

import json
import re
import time
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunegate.harness.records.hidden_text import escape_hidden, escape_terminal
from tunegate.harness.records.run_folder import Run
from tunegate.reports.escaping import (
    escape_html,
    mark_for_script,
    one_line,
    script_json,
)
from tunegate.reports.junit import render_junit
from tunegate.reports.markdown import render_summary
from tunegate.reports.page import render_page

HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\ufeff]")

KNOWN = {
    "accept",
    "aria-current",
    "aria-describedby",
    "aria-hidden",
    "aria-label",
    "aria-labelledby",
    "aria-live",
    "multiple",
    "open",
    "autocomplete",
    "charset",
    "class",
    "colspan",
    "content",
    "cx",
    "cy",
    "data-download",
    "data-help",
    "data-label",
    "for",
    "height",
    "hidden",
    "href",
    "http-equiv",
    "id",
    "lang",
    "method",
    "name",
    "placeholder",
    "r",
    "rel",
    "role",
    "scope",
    "spellcheck",
    "step",
    "tabindex",
    "text-anchor",
    "type",
    "viewbox",
    "width",
    "x",
    "x1",
    "x2",
    "y",
    "y1",
    "y2",
}
"""Every attribute that the templates write."""


class Attributes(HTMLParser):
    """Collects the names of all attributes and the targets of all links."""

    def __init__(self) -> None:
        """Start empty."""
        super().__init__()
        self.names: set[str] = set()
        self.targets: set[str] = set()
        self.icon = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag's attributes."""
        self.names |= {name for name, _ in attrs}
        target = dict(attrs).get("href")
        self.targets |= {target} if target else set()
        if tag == "link" and target:
            self.icon = target


def test_no_payload_becomes_a_tag_or_an_attribute(
    poisoned_run: Run, payloads: tuple[str, ...]
) -> None:
    assert len(set(payloads)) >= 60
    html = render_page(poisoned_run)
    for marker in (
        "<script>alert",
        "<img",
        "<svg onload",
        "<iframe",
        "<base",
        "<!--",
        "<form action",
    ):
        assert marker not in html
    blocks = re.findall(r'<script type="application/json" id="(index|files|texts)">', html)
    assert blocks == ["index", "files", "texts"]
    assert html.count("<script") == html.count("</script") == 1 + len(blocks)
    assert html.count("<style") == html.count("</style") == 1
    inside = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", html, flags=re.DOTALL)
    attributes = Attributes()
    attributes.feed(inside)
    assert attributes.names <= KNOWN
    assert all(target.startswith("#") for target in attributes.targets - {attributes.icon})
    assert "{{7*7}}" in inside
    assert "&lt;script&gt;" in inside


def test_no_hidden_character_reaches_a_file(poisoned_run: Run) -> None:
    for text in (
        render_page(poisoned_run),
        render_summary(poisoned_run),
        render_junit(poisoned_run),
    ):
        assert not HIDDEN.search(text)
        assert "\\u202e" in text
        assert "\\u001b" in text


def test_junit_of_a_poisoned_run_parses(poisoned_run: Run, payloads: tuple[str, ...]) -> None:
    root = ET.fromstring(render_junit(poisoned_run))
    names = [case.get("classname") or "" for case in root.iter("testcase")]
    assert all(any(escape_hidden(bad)[:9] in name for bad in payloads) for name in names[1:])
    for line in render_junit(poisoned_run).splitlines():
        assert not line.startswith("::")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u202eb", "a\\u202eb"),
        ("\x1b[31mred", "\\u001b[31mred"),
        ("nul\x00", "nul\\u0000"),
        ("cr\r\n", "cr\\u000d\n"),
        ("\ud800", "\\ud800"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("a\u200bb", "a\\u200bb"),
        ("x\u200dy", "x\\u200dy"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👩\u200d👧", "👩\u200d👧"),
        ("tab\tline\n", "tab\tline\n"),
    ],
)
def test_hidden_characters_are_written_out(text: str, shown: str) -> None:
    """What cannot be seen is written as an escape; joiners inside other scripts stay."""
    assert escape_hidden(text) == shown


def test_visible_marks_what_it_wrote_out() -> None:
    assert escape_html("<\u202e>") == '&lt;<span class="esc">\\u202e</span>&gt;'
    assert escape_html("\\u202e") == "\\u202e"


def test_one_line_is_one_line_and_short() -> None:
    assert one_line("a\n\n  b") == "a b"
    assert one_line("x" * 500, 10) == "x" * 9 + "…"


TEXTS = st.text(
    st.one_of(st.characters(), st.sampled_from("\x00\x01\x08\x0c\r\n\t\x1b\x7f\\u<&\u200b"))
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(TEXTS, st.lists(TEXTS, max_size=3), max_size=3))
def test_data_of_the_script_holds_every_text_with_its_marks(value: dict[str, list[str]]) -> None:
    """What the browser parses is each text as `mark_for_script` gives it, plain ASCII or not."""
    written = script_json(value)
    assert not set("<>&") & set(written)
    assert json.loads(written) == {
        mark_for_script(key): [mark_for_script(text) for text in texts]
        for key, texts in value.items()
    }


def test_40_000_empty_lines_are_searched_for_commands_in_linear_time() -> None:
    """40 000 empty lines are searched for commands in linear time."""
    text = "\n" * 40_000
    start = time.process_time()
    assert escape_terminal(text + "::error::x") == text + ": :error::x"
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("  ::error::x", "  : :error::x"),
        ("a ##[group]x", "a ## [group]x"),
        ("a ##vso[task.setvariable variable=b]c", "a ## vso[task.setvariable variable=b]c"),
        (
            "a ##teamcity[buildStatus status='SUCCESS']",
            "a ## teamcity[buildStatus status='SUCCESS']",
        ),
        ("## [1] of [2]", "## [1] of [2]"),
    ],
)
def test_no_log_obeys_a_command_in_a_line(line: str, shown: str) -> None:
    assert escape_terminal(line) == shown
