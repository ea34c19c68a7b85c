"""The page: what it says, that it is the same each time, and that no text escapes its place."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.files import record_json, write_atomic
from tunegate.harness.records.jsonl import record_lines
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import SuiteResult, Verdict
from tunegate.reports import page
from tunegate.reports.page import write_all

VOID = {"meta", "link", "input", "br", "rect", "line", "circle"}


class Outline(HTMLParser):
    """Collects tags, attributes and visible text, and checks that tags are closed in order."""

    def __init__(self, source: str) -> None:
        """Parse `source` at once."""
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self.data: dict[str, Any] = {}
        self.styles: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag that closes itself."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Check that the tag closes the innermost open one."""
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Collect text by where it stands."""
        if self.open and self.open[-1] == "script":
            name = self.tags[-1][1].get("id")
            if name is None:
                self.scripts.append(data)
            else:
                self.data[name] = json.loads(data)
        elif self.open and self.open[-1] == "style":
            self.styles.append(data)
        else:
            self.text += data

    def count(self, tag: str) -> int:
        """Return how often a tag occurs."""
        return sum(name == tag for name, _ in self.tags)


@pytest.fixture(scope="module")
def block(make_run: Any) -> Run:
    """Return a run that ends in BLOCK."""
    run: Run = make_run("BLOCK")
    return run


@pytest.fixture(scope="module")
def html(block: Run) -> str:
    """Return its page."""
    return page.render_page(block)


def test_the_same_run_gives_the_same_bytes(make_run: Any, html: str) -> None:
    assert page.render_page(make_run("BLOCK")) == html


def test_a_run_read_from_disk_gives_the_same_bytes(block: Run, html: str, tmp_path: Path) -> None:
    write_atomic(tmp_path / "manifest.json", record_json(block.manifest))
    write_atomic(tmp_path / "verdict.json", record_json(block.verdict))
    write_atomic(tmp_path / "cases.jsonl", record_lines(block.cases.values()))
    write_atomic(tmp_path / "cells.jsonl", record_lines(block.cells))
    write_atomic(tmp_path / "scores.jsonl", record_lines(block.scores))
    assert page.render_page(Run.load(tmp_path)) == html


def test_tags_are_balanced_and_ids_are_unique(html: str) -> None:
    outline = Outline(html)
    assert not outline.open
    ids = [attrs["id"] for _, attrs in outline.tags if "id" in attrs]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("wish", "word"), [("SHIP", "SHIP"), ("BLOCK", "BLOCK"), ("UNDECIDED", "UNDECIDED")]
)
def test_the_bar_names_the_verdict_and_the_sentence(make_run: Any, wish: str, word: str) -> None:
    run = make_run(wish)
    text = Outline(page.render_page(run)).text
    head = text[: text.index("Gates")]
    assert word in head
    assert run.verdict.sentence in head
    bar = head[: head.index("scored")].split()
    assert {"SmolLM2-135M-Instruct", "checkpoint-120"} <= set(bar)
    assert "105" in head


def test_headings_descend_one_level_at_a_time(html: str) -> None:
    """One h1, and no heading skips a level."""
    levels = [int(level) for level in re.findall(r"<h([1-6])[ >]", html)]
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


def test_sections_come_in_their_order(html: str) -> None:
    titles = re.findall(r'<h2 id="[a-z-]+-title">([^<]+)</h2>', html)
    assert titles == [
        "Gates",
        "Regressions",
        "Forgetting by subject",
        "Improvements",
        "Flipped questions",
        "Changed, but equal",
        "Training data",
        "Errors and gaps",
        "Cost and behaviour",
        "Provenance",
        "Next to other runs",
        "Downloads",
        "Keyboard",
    ]


def test_the_policy_names_the_real_hashes(html: str) -> None:
    outline = Outline(html)
    policy = next(a["content"] for _, a in outline.tags if "http-equiv" in a) or ""
    assert len(outline.scripts) == len(outline.styles) == 1
    for text in (outline.scripts[0], outline.styles[0]):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    names = {name for _, attrs in outline.tags for name in attrs}
    assert not [n for n in names if n == "style" or n.startswith("on")]


def test_nothing_on_the_page_asks_for_anything(html: str) -> None:
    """Links stay on the page; the icon is data; the script builds no HTML from text."""
    outline = Outline(html)
    assert not [a for _, a in outline.tags if "src" in a]
    targets = {a["href"] for tag, a in outline.tags if tag == "a"}
    assert all(target and target.startswith("#") for target in targets)
    (script,) = outline.scripts
    for word in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "fetch("):
        assert word not in script


def listed(html: str) -> list[dict[str, Any]]:
    """Return the rows of the list of cases, each with its texts where the page has them."""
    data = Outline(html).data
    texts = data["texts"]
    rows = data["index"]["cases"]
    return [row | (texts[at] if at < len(texts) else {}) for at, row in enumerate(rows)]


def named(html: str, name: str) -> dict[str, Any]:
    """Return the row of one case."""
    (row,) = (row for row in listed(html) if row["id"] == name)
    return row


def test_every_case_is_in_the_list_once_with_its_scores(block: Run, html: str) -> None:
    index = Outline(html).data["index"]
    assert sorted((row["suite"], row["id"]) for row in index["cases"]) == sorted(block.cases)
    written = {
        (row["suite"], index["metrics"][place]["name"], row["id"], arm): value
        for row in index["cases"]
        for place, *values, _ in row["scores"]
        for arm, value in zip(("base", "tuned"), values, strict=True)
    }
    stored = {(s.suite, s.metric, s.case, s.arm): s.value for s in block.scores}
    assert written.keys() == stored.keys()
    for key, value in stored.items():
        assert written[key] == (None if value is None else pytest.approx(value, rel=1e-5))


def test_regressions_come_newly_failing_first_then_by_size(html: str) -> None:
    rows = [row for row in listed(html) if row["how"] in ("broke", "worse")]
    assert [row["how"] for row in listed(html)[: len(rows)]] == [row["how"] for row in rows]
    assert [row["how"] for row in rows] == sorted(row["how"] for row in rows)
    changes = [
        next(change for place, _, _, change in row["scores"] if place == row["by"])
        for row in rows
        if row["how"] == "worse"
    ]
    assert changes
    assert changes == sorted(changes)
    assert changes[-1] < 0


def test_a_full_page_keeps_every_score_and_the_worst_texts(
    block: Run, html: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = len(html.encode()) - 20_000
    monkeypatch.setattr(page, "LIMIT", limit)
    cut = page.render_page(block)
    assert limit - 5_000 < len(cut.encode()) <= limit
    data, whole = Outline(cut).data, Outline(html).data
    assert data["index"] == whole["index"]
    kept = len(data["texts"])
    assert 0 < kept < len(block.cases)
    assert data["texts"] == whole["texts"][:kept]


def test_choices_mark_the_right_answer_and_each_arms_pick(html: str) -> None:
    choices = next(row for row in listed(html) if row.get("choices"))["choices"]
    assert sum(choice["right"] for choice in choices) == 1
    for arm in (0, 1):
        assert sum(choice["picked"][arm] for choice in choices) == 1
        assert sum(choice["shares"][arm] for choice in choices) == pytest.approx(1, abs=1e-5)


def test_gaps_are_counted_by_reason(html: str) -> None:
    part = html[html.index('id="gaps"') : html.index('id="behaviour"')]
    assert "TimeoutError: no answer within 120 s" in part
    assert part.count("no completion") == 3


def test_few_cases_are_too_few_to_tell(html: str) -> None:
    """A subject under 20 cases shows no number, and only a gate's tag is said to decide."""
    part = html[html.index('id="subjects"') : html.index('id="improvements"')]
    assert "decide only where" in part
    for row in re.findall(r"<tr.*?</tr>", part, re.DOTALL)[1:]:
        n = re.search(r'<td class="num">(\d+)</td>', row)
        if n:
            assert (int(n[1]) < 20) == ("too few to tell" in row)


def test_provenance_says_what_differs(html: str) -> None:
    part = html[html.index('id="provenance"') :]
    rows = {r.split("<")[0]: r for r in part.split('<th scope="row">')[1:]}
    assert "differs" in rows["adapter_sha256"]
    assert "= equal" in rows["template_sha256"]
    assert "&#39;--tuned=runs/my lora&#39;" in part


def test_provenance_says_where_the_run_was_made(block: Run) -> None:
    """Commit, CI job and machine stand there if they are known; of an older run nothing does."""
    origin = {"commit": "0f3c", "CI job": "https://git.test/runs/17"}
    made = replace(block, manifest=block.manifest.model_copy(update={"origin": origin}))

    html = page.render_page(made)

    assert '<tr><th scope="row">commit</th><td><code>0f3c</code></td></tr>' in html
    assert '<tr><th scope="row">CI job</th><td><code>https://git.test/runs/17</code></td>' in html
    assert '<th scope="row">commit</th>' not in page.render_page(block)


def test_an_empty_completion_says_so(block: Run) -> None:
    """An empty answer is a text without words; only a missing one is said to be missing."""
    name = next(s.case for s in block.scores if s.metric == "json_schema" and s.value == 0)
    cells = tuple(
        replace(c, completion=Completion(text=""))
        if c.cell.case == name and c.cell.arm == "tuned"
        else c
        for c in block.cells
    )
    shown = named(page.render_page(replace(block, cells=cells)), name)
    assert "lacks" not in shown
    assert not any(tuned for _, tuned, *_ in shown["diff"])
    missing = next(row for row in listed(page.render_page(block)) if row.get("gap"))
    assert missing["lacks"] == ["tuned"]


def test_a_run_that_failed_before_scoring_still_has_a_page(block: Run) -> None:
    verdict = block.verdict.model_copy(
        update={"verdict": Verdict.ERROR, "sentence": "the disk is full", "suites": (), "arms": {}}
    )
    manifest = block.manifest.model_copy(update={"suites": (), "filtered": ("-k refunds",)})
    empty = replace(block, cases={}, cells=(), scores=(), verdict=verdict, manifest=manifest)
    text = Outline(page.render_page(empty)).text
    assert "ERROR" in text
    assert "The run has no suites." in text
    assert "-k refunds" in text


def test_not_comparable_and_hold_have_words_of_their_own(block: Run) -> None:
    for verdict, word in ((Verdict.NOT_COMPARABLE, "NOT COMPARABLE"), (Verdict.HOLD, "HOLD")):
        changed = block.verdict.model_copy(update={"verdict": verdict})
        assert f"<title>{word} ·" in page.render_page(replace(block, verdict=changed))


def test_each_section_offers_the_contract() -> None:
    """A section is a module with TITLE, ORDER and render; orders are distinct."""
    found = page.discover_sections().values()
    assert len({section.ORDER for section in found}) == len(found) >= 8
    for section in found:
        assert isinstance(section.TITLE, str)
        assert callable(section.render)


def test_write_all_writes_what_people_and_ci_read(block: Run, html: str, tmp_path: Path) -> None:
    paths = write_all(block, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(paths)
    assert paths["report.html"].read_text(encoding="utf-8") == html


def test_a_huge_answer_is_cut_and_said_to_be(block: Run) -> None:
    """An answer of 5 MB leaves the page small, with a note where the rest is."""
    name = next(s.case for s in block.scores if s.metric == "json_schema" and s.value == 0)
    cells = tuple(
        replace(c, completion=Completion(text="loop " * 1_000_000))
        if c.cell.case == name and c.cell.arm == "tuned"
        else c
        for c in block.cells
    )
    html = page.render_page(replace(block, cells=cells))
    assert len(html) < 1_000_000
    assert "Shown up to 2,000 words a side" in named(html, name)["note"]


def test_a_further_arm_stands_beside_base_and_tuned(block: Run) -> None:
    key = next(iter(block.cases))
    own = next(c for c in block.cells if (c.cell.suite, c.cell.case) == key)
    further = replace(
        own, cell=replace(own.cell, arm="recorded"), completion=Completion(text="As it was.")
    )
    shown = named(page.render_page(replace(block, cells=(*block.cells, further))), key[1])
    assert shown["others"] == [["recorded", "As it was."]]
    assert [cell["arm"] for cell in shown["cells"]] == ["base", "tuned", "recorded"]


def test_a_conversation_shows_every_turn(block: Run) -> None:
    """Messages appear with their roles; a turn that is not text appears as JSON."""
    key = next(iter(block.cases))
    turns = (
        {"role": "system", "content": "Be terse."},
        {"role": "assistant", "content": None, "tool_calls": [{"name": "look_up"}]},
        {"role": "user", "content": [{"type": "text", "text": "part one"}]},
    )
    case = Case(id=key[1], messages=turns, expected=("a", "b"), context="source", tags=("t",))
    scores = tuple(
        replace(s, value=float(s.arm == "base"), reason=None)
        if (s.suite, s.case) == key and s.metric == "json_schema"
        else s
        for s in block.scores
    )
    cases = {**block.cases, key: block.cases[key].model_copy(update={"case": case})}
    question = named(page.render_page(replace(block, cases=cases, scores=scores)), key[1])[
        "question"
    ]
    assert [label for label, _ in question] == ["system", "assistant", "user", "context"]
    for (_, text), word in zip(question, ("terse", "look_up", "part one", "source"), strict=True):
        assert word in text


def suite_without_gates(suite: SuiteResult) -> SuiteResult:
    """Return the suite with its gates taken away."""
    return suite.model_copy(update={"gates": ()})


def test_a_suite_without_gates_is_named(block: Run) -> None:
    suites = tuple(map(suite_without_gates, block.verdict.suites))
    verdict = block.verdict.model_copy(update={"suites": suites})
    assert "This suite has no gates." in page.render_page(replace(block, verdict=verdict))


def test_importing_the_reports_loads_nothing_heavy() -> None:
    """Jinja, markupsafe and rapidfuzz are loaded by rendering, not by importing."""
    heavy = "{'jinja2', 'markupsafe', 'rapidfuzz', 'torch'}"
    code = f"import sys, tunegate.reports.page; print(*({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""


def test_a_suite_without_a_say_comes_last_and_bears_no_verdict(make_run: Any) -> None:
    run = make_run("BLOCK")
    first, second = run.verdict.suites
    assert (Verdict.SHIP, Verdict.BLOCK) == (first.verdict, second.verdict)
    shown = tuple(gate.model_copy(update={"advisory": True}) for gate in second.gates)
    suites = (first, second.model_copy(update={"gates": shown}))

    before = page.render_page(run)
    after = page.render_page(
        replace(run, verdict=run.verdict.model_copy(update={"suites": suites}))
    )

    assert before.index(f"Gates of {second.name}") < before.index(f"Gates of {first.name}")
    assert after.index(f"Gates of {first.name}") < after.index(f"Gates of {second.name}")
    assert "ADVISORY" not in Outline(before).text
    heading = re.search(rf"<h3>{second.name}.*?</h3>", after)
    assert heading is not None
    assert "ADVISORY" in heading[0]
    assert "BLOCK" not in heading[0]


def test_a_run_without_a_sandbox_says_so_above_the_gates(code_run: Run, unboxed_run: Run) -> None:
    hero, _, _ = page.render_page(unboxed_run).partition('id="gates"')
    assert "without a sandbox" in hero
    boxed = code_run.manifest.model_copy(update={"sandbox": "bubblewrap 0.11.0"})
    text = page.render_page(replace(code_run, manifest=boxed))
    assert "without a sandbox" not in text
    assert "bubblewrap 0.11.0" in text
