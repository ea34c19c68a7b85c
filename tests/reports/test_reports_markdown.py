"""The summary: its order, its size, and that GitHub finds nothing in it to act on."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from markdown_it import MarkdownIt

from tunegate.harness.records.answers import CellKind, Completion
from tunegate.harness.records.run_folder import Run
from tunegate.reports import escaping, markdown
from tunegate.reports.data import prepare_data
from tunegate.reports.markdown import render_summary
from tunegate.reports.sections import gates
from tunegate.reports.typical_cases import typical_cases

ALLOWED = re.compile(r"</?(?:details|summary|code)>")
GITHUB_LINKS = re.compile(r"(?<!\w)@\w|(?<!\w)#\d|\bGH-\d|https?://|www\.\w", re.IGNORECASE)


def tokens(text: str) -> list[Any]:
    """Return all tokens of a Markdown text, inline ones too."""
    found = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)
    return [t for token in found for t in (token, *(token.children or ()))]


def test_the_order_and_the_headings(make_run: Any) -> None:
    """Verdict, gates, regressions, subjects, provenance, command; headings start at h3."""
    text = render_summary(make_run("BLOCK"))
    titles = re.findall(r"^(#+) (.+)$", text, re.MULTILINE)
    assert [level for level, _ in titles] == ["###"] * 6
    assert titles[0][1] == "✕ tunegate: BLOCK"
    assert [t for _, t in titles[1:]] == [
        "Gates",
        "Regressions",
        "Subjects",
        "Provenance",
        "Reproduce",
    ]
    assert text.count("<details>") == text.count("</details>") == 10
    assert "40 more regressions in the report" in text
    assert "tunegate gate suites/ --base=" in text


def test_the_summary_is_deterministic(make_run: Any) -> None:
    assert render_summary(make_run("SHIP")) == render_summary(make_run("SHIP"))


def test_poison_stays_text(poisoned_run: Run) -> None:
    """No link, image or foreign HTML is in the summary, and no text outside code can ping."""
    for token in tokens(render_summary(poisoned_run)):
        assert token.type not in ("link_open", "image")
        if token.type in ("html_block", "html_inline"):
            assert not re.search(
                r"<(?!/?(?:details|summary|code)>)", ALLOWED.sub("", token.content)
            )
            outside = re.sub(r"<code>.*?</code>", "", token.content)
            assert not GITHUB_LINKS.search(outside)
        if token.type == "text":
            assert not GITHUB_LINKS.search(token.content)


def test_poison_adds_no_heading_and_no_details(poisoned_run: Run) -> None:
    found = tokens(render_summary(poisoned_run))
    assert sum(t.type == "heading_open" for t in found) == 6
    blocks = "".join(t.content for t in found if t.type == "html_block")
    assert blocks.count("<details>") == blocks.count("</details>") <= markdown.CASES


@pytest.mark.parametrize("text", ["a|b", "`x`", "``", "a\nb", "@team", "<b>", "", "`" * 9, "\\|"])
def test_a_code_span_holds_anything_in_a_table(text: str) -> None:
    table = f"| a | b |\n| --- | --- |\n| {escaping.code_span(text)} | {escaping.code_span('x')} |"
    found = tokens(table)
    assert sum(t.type == "td_open" for t in found) == 2
    assert sum(t.type == "code_inline" for t in found) == 2


@pytest.mark.parametrize(
    "text",
    ["# no heading", "- no list", "1. none", "> none", "*a* _b_ [c](d) ![e](f)", "a & b <i>"],
)
def test_prose_renders_as_itself(text: str) -> None:
    found = tokens(escaping.escape_markdown(text))
    assert [t.type for t in found][:2] == ["paragraph_open", "inline"]
    shown = "".join(t.content for t in found if t.type in ("text", "text_special"))
    assert shown.replace(escaping.JOINER, "") == text


def test_a_fence_is_longer_than_what_it_holds() -> None:
    found = tokens(escaping.fenced_block("`````\nout?"))
    assert [t.type for t in found] == ["fence"]
    assert "more characters in the report" in escaping.fenced_block("x" * 9_000)


def test_a_section_that_does_not_fit_is_named(
    make_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(markdown, "LIMIT", 4_000)
    text = render_summary(make_run("BLOCK"))
    assert len(text.encode()) < 4_000
    assert 0 < text.count("<details>") < 10
    assert "more regressions in the report" in text
    assert "In the report only" not in text
    monkeypatch.setattr(markdown, "LIMIT", 1_000)
    text = render_summary(make_run("BLOCK"))
    assert len(text.encode()) < 1_000
    assert "In the report only: Gates" in text


def test_the_limit_counts_bytes(make_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run("BLOCK")
    whole = render_summary(run)
    assert len(whole) < len(whole.encode())
    monkeypatch.setattr(markdown, "LIMIT", len(whole))

    assert len(render_summary(run).encode()) <= len(whole)


def test_hundreds_of_long_regressions_keep_both_sizes(make_run: Any) -> None:
    """A summary stays under GitHub's 1 MiB, and a comment under 3 KB; both whole."""
    run: Run = make_run("BLOCK", tickets=8, questions=500)
    long = Completion(text="änderung " * 1_200, finish_reason="stop")
    cells = tuple(
        replace(c, cell=replace(c.cell, kind=CellKind.GENERATE), completion=long) for c in run.cells
    )
    run = replace(run, cells=cells)
    text, short = render_summary(run), markdown.render_comment(run)
    assert len(text.encode()) <= 900_000
    assert re.search(r"\n[\d,]+ more regressions in the report", text)
    assert "### Reproduce" in text
    assert text.count("<details>") == text.count("</details>") == 10
    assert len(short.encode()) <= 2_600


def test_a_comment_is_a_marker_a_heading_and_plain_text_in_a_fence(
    make_run: Any, poisoned_run: Run
) -> None:
    """What a reader sees in the fence is the plain text, but for where its lines break."""
    for run in (make_run("BLOCK"), make_run("SHIP"), poisoned_run):
        text = markdown.render_comment(run)
        found = MarkdownIt("commonmark", {"html": True}).parse(text)

        assert text.startswith("<!-- tunegate -->\n### ")
        kinds = ["html_block", "heading_open", "inline", "heading_close", "fence"]
        assert [token.type for token in found] == kinds
        assert all(line.isprintable() for line in found[-1].content.splitlines())
        if run is not poisoned_run:
            plain = " ".join(markdown.comment_lines(prepare_data(run)))
            assert found[-1].content.split() == plain.split()


def test_what_a_comment_leaves_out_is_counted(
    make_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("BLOCK")
    lines = [*markdown.comment_lines(prepare_data(run))]
    whole = markdown.render_comment(run)
    monkeypatch.setattr(markdown, "COMMENT", 900)
    short = markdown.render_comment(run)

    assert "more lines in report.html" not in whole
    assert len(short.encode()) <= 900 < len(whole.encode())
    (left_out,) = re.findall(r"^… (\d+) more lines in report.html$", short, re.MULTILINE)
    kept = lines[: len(lines) - int(left_out)]
    assert kept[-1][:40] in short
    assert lines[len(kept)][:40] not in short


def test_a_run_without_anything_has_a_summary(make_run: Any) -> None:
    run = make_run("SHIP")
    verdict = run.verdict.model_copy(update={"suites": ()})
    manifest = run.manifest.model_copy(update={"filtered": ("-x stopped it",), "suites": ()})
    empty = replace(run, verdict=verdict, manifest=manifest, cases={}, cells=(), scores=())
    text = render_summary(empty)
    assert "No gate was judged." in text
    assert "\\-x stopped it" in text
    assert "No subject has enough cases." in text


def test_a_gate_on_a_tag_says_so(sliced_run: Run) -> None:
    rows = [row for row in render_summary(sliced_run).splitlines() if row.startswith("| ")]
    page = str(gates.render(prepare_data(sliced_run)))

    assert sum("`choice_probability` on `logic`" in row for row in rows) == 1
    assert sum("on `logic`" in row for row in rows) == 2
    assert page.count('<span class="chip">tag logic</span>') == 2


def test_an_interval_has_its_level_and_a_case_what_is_expected(make_run: Any) -> None:
    """Of every gate with an interval; the cases show the expected text before both answers."""
    run = make_run("BLOCK")
    text = render_summary(run)
    rows = [line for line in text.splitlines() if line.startswith(("| ✕", "| ✓", "| ?"))]

    assert rows
    assert all(re.search(r" to [^|]* \(\d+(\.\d+)? %\) \|", row) for row in rows if " to " in row)
    worst = prepare_data(run).regressions[0].case
    for expected in worst.expected_texts():
        assert f"expected:\n\n```\n{expected}\n```" in text


def test_the_typical_cases_are_a_table_under_the_headline(make_run: Any) -> None:
    run = make_run("BLOCK")
    found = typical_cases(prepare_data(run))
    lines = render_summary(run).splitlines()
    at = lines.index("| case | asked | expected | base | tuned |")

    assert found is not None
    assert at == 6
    rows = lines[at + 2 : at + 5]
    assert [row.split("`")[1] for row in rows] == [case.view.name for case in found.cases]
    assert all(row.count(" | ") == 4 for row in rows)
    assert lines[at + 5] == ""


def test_a_case_of_code_has_the_lines_that_differ_and_what_running_it_found(code_run: Run) -> None:
    text = render_summary(code_run)
    assert "\ntuned: `assert f(5) == 25: got 10, not 25`\n" in text
    assert "\n-     return n * n\n+     return n + n\n" in text


def test_a_run_without_a_sandbox_says_so_at_the_top(code_run: Run, unboxed_run: Run) -> None:
    head, _, _ = render_summary(unboxed_run).partition("### Gates")
    assert "without a sandbox" in head
    assert "without a sandbox" not in render_summary(code_run)
