"""The page in Chromium: nothing a model wrote runs, nothing is fetched, the keyboard works."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.frozen_runs.outputs import load, unpack
from tests.leaked_runs import with_leakage
from tests.standing_runs import beside
from tunegate.harness.records.cases import Case
from tunegate.harness.records.run_folder import Run
from tunegate.reports import page as page_module
from tunegate.reports.case_list import trace_viewer
from tunegate.reports.junit import render_junit
from tunegate.reports.page import render_page

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")


@pytest.fixture(scope="module")
def files(
    make_run: Any,
    poisoned_run: Run,
    code_run: Run,
    poisoned_code_run: Run,
    payloads: tuple[str, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """Write the pages that the tests open."""
    folder = tmp_path_factory.mktemp("pages")
    leaked = with_leakage(make_run("BLOCK"))
    standing = beside(make_run("BLOCK"), " ".join(payloads))
    runs = {"plain": make_run("BLOCK"), "poisoned": poisoned_run, "leaked": leaked}
    runs["standing"] = standing
    runs["traced"] = with_viewer(runs["plain"])
    runs["single"] = runs["plain"]
    runs["shipped"] = make_run("SHIP")
    runs |= {"code": with_samples(code_run), "code_poisoned": poisoned_code_run}
    with contextlib.chdir(folder):
        unpack(folder)
        runs["twelve_gates"] = load("block_regression")
        for name, run in runs.items():
            (folder / f"{name}.html").write_text(render_page(run), encoding="utf-8")
    whole = (folder / "plain.html").stat().st_size
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page_module, "LIMIT", whole - 20_000)
        (folder / "full.html").write_text(render_page(runs["plain"]), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in (*runs, "full")}


def with_samples(run: Run) -> Run:
    """Return a run with five answers of each arm."""
    suites = [s.model_copy(update={"generation": {"samples": 5}}) for s in run.manifest.suites]
    return replace(run, manifest=run.manifest.model_copy(update={"suites": tuple(suites)}))


def with_viewer(run: Run) -> Run:
    """Return a run whose traces a viewer has."""
    origin = {"trace viewer": "https://viewer.test/trace/{trace_id}?uiFind={span_id}"}
    return replace(run, manifest=run.manifest.model_copy(update={"origin": origin}))


@pytest.fixture
def open_page(browser: Any, files: dict[str, Path]) -> Iterator[Any]:
    """Return a function that opens a page; at the end, nothing was asked for or complained of."""
    contexts: list[Any] = []
    complaints: list[str] = []
    requests: list[str] = []

    def refuse(dialog: Any) -> None:
        complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def opened(
        name: str = "plain", *, width: int = 1280, scheme: str = "light", hash_: str = ""
    ) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", refuse)
        page.on("request", lambda request: requests.append(request.url))
        page.goto(files[name].as_uri() + hash_)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert len({url for url in requests if url.startswith("file:")}) <= len(contexts)


SHOWN = "[...document.querySelectorAll('#cases > details')]"
"""The rows of the list."""
OPEN = f"{SHOWN}.map((row) => row.open)"
FIRST = f"{SHOWN}.slice(0, 3).map((row) => row.id)"
FOUND = "document.getElementById('found').textContent"
FOCUS = "document.activeElement.closest('#cases > details')?.id"


def until(page: Any, expression: str) -> None:
    """Wait until an expression is true; Playwright's own way needs eval, which the page bars."""
    for _ in range(100):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(20)
    raise AssertionError(expression)


@pytest.mark.parametrize("name", ["poisoned", "code_poisoned"])
def test_no_payload_runs_even_with_every_case_opened(open_page: Any, name: str) -> None:
    page = open_page(name)
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    page.evaluate("set({ status: 'all' })")
    rows = page.evaluate("places.length")
    foreign = "script:not(body > script), img, iframe, object, embed, base, marquee"
    for _ in range(rows):
        page.keyboard.press("n")
        assert page.evaluate(f"document.querySelectorAll({foreign!r}).length") == 0
    assert page.evaluate("open === cases[places.at(-1)].at")
    page.wait_for_timeout(50)
    assert page.evaluate("window.pwned === undefined")
    assert page.evaluate("document.querySelectorAll('script:not([type])').length") == 1
    assert page.evaluate("document.querySelectorAll('form').length") == 2
    assert page.title().startswith("BLOCK")


@pytest.mark.long  # loads a page for each of sixty payloads, so that none can mask another
def test_each_payload_stays_text_in_every_field(
    open_page: Any, files: dict[str, Path], payloads: tuple[str, ...], poison_with: Any
) -> None:
    page = open_page("single")
    expected = None
    for payload in payloads:
        files["single"].write_text(render_page(poison_with(payload)), encoding="utf-8")
        page.reload()
        page.evaluate(
            "document.querySelectorAll('details').forEach((d) => { d.open = true; });"
            "set({ status: 'all' }); places.forEach(() => step(1, true))"
        )
        page.wait_for_timeout(5)
        assert page.evaluate("window.pwned === undefined && ({}).pwned === undefined"), payload
        assert page.evaluate("open === cases[places.at(-1)].at"), payload
        tags = page.evaluate(TAGS)
        expected = expected or tags
        assert tags == expected, payload


TAGS = """[...new Set([...document.querySelectorAll('*')].flatMap((e) =>
  [e.nodeName, ...[...e.attributes].map((a) => a.name)]))].sort()"""
"""Every name of an element and of an attribute in the document."""


def test_n_and_p_move_through_the_regressions(open_page: Any) -> None:
    page = open_page()
    page.keyboard.press("n")
    assert page.evaluate(OPEN)[:3] == [True, False, False]
    page.keyboard.press("n")
    assert page.evaluate(OPEN)[:3] == [False, True, False]
    page.keyboard.press("p")
    assert page.evaluate(OPEN)[:3] == [True, False, False]
    page.keyboard.press("Escape")
    assert page.evaluate(OPEN)[:3] == [False, False, False]


def test_j_and_k_move_without_opening_and_enter_opens(open_page: Any) -> None:
    """j goes to the next row, k back; Enter opens the row in focus, and again closes it."""
    page = open_page()
    first = page.evaluate(FIRST)
    for key, at in (("j", 0), ("j", 1), ("j", 2), ("k", 1)):
        page.keyboard.press(key)
        assert page.evaluate(FOCUS) == first[at]
    assert not any(page.evaluate(OPEN))
    page.keyboard.press("Enter")
    until(page, "open !== null")
    assert page.evaluate(OPEN)[:3] == [False, True, False]
    assert page.locator(f"#{first[1]} .case-body").is_visible()
    page.keyboard.press("Enter")
    until(page, "open === null")


def test_moving_on_crosses_the_pages_of_the_list(open_page: Any) -> None:
    page = open_page()
    page.evaluate("set({ status: 'all' })")
    page.evaluate("goTo(cases[places[24]].at)")
    page.keyboard.press("n")
    assert page.evaluate("document.activeElement.closest('details').id === cases[places[25]].at")
    assert page.locator("#pages").inner_text().split("\n")[1] == "26 to 50 of 106"
    page.keyboard.press("p")
    assert page.evaluate("open === cases[places[24]].at")


def test_an_opened_row_is_not_under_the_bar(open_page: Any) -> None:
    page = open_page(width=375)
    page.keyboard.press("n")
    page.keyboard.press("n")
    top = "document.activeElement.getBoundingClientRect().top"
    bar = "document.querySelector('.bar').getBoundingClientRect().bottom"
    assert page.evaluate(f"{top} >= {bar}")


def test_the_search_narrows_the_list_and_escape_clears_it(open_page: Any) -> None:
    """/ focuses the search; typing narrows the list; letters are typed, not obeyed."""
    page = open_page()
    before = page.evaluate(FOUND)
    page.keyboard.press("/")
    page.keyboard.type("json_schema returns")
    few = page.evaluate("places.length")
    assert 0 < few < 10
    assert page.evaluate(FOUND) == f"{few} of 106 cases"
    page.keyboard.press("Escape")
    assert page.evaluate(FOUND) == before
    page.keyboard.press("n")
    assert page.evaluate(OPEN)[0]


def test_the_search_reads_what_models_wrote(open_page: Any) -> None:
    page = open_page()
    page.evaluate("set({ status: 'all', text: 'Let me know if you need more' })")
    found = page.evaluate("places.map((at) => cases[at].suite)")
    assert found
    assert set(found) == {"support_json"}


@pytest.mark.parametrize(
    ("changes", "test"),
    [
        ({"suite": "support_json"}, "row.suite === 'support_json'"),
        ({"tag": "logic"}, "row.tags.includes('logic')"),
        ({"status": "fixed"}, "row.how === 'fixed'"),
        ({"status": "gap"}, "row.gap"),
        (
            {"metric": "choice_probability", "high": "-20"},
            "row.scores.some((score) => metricOf(score).name === 'choice_probability'"
            " && score[2] - score[1] <= -0.2)",
        ),
    ],
)
def test_a_filter_lets_through_exactly_what_it_says(
    open_page: Any, changes: dict[str, str], test: str
) -> None:
    page = open_page()
    page.evaluate("(changes) => set({ status: 'all', ...changes })", changes)
    wanted = page.evaluate(f"cases.filter((row) => {test}).map((row) => row.at)")
    assert 0 < len(wanted) < 106
    assert page.evaluate("places.map((at) => cases[at].at)") == wanted


def test_the_address_reopens_filters_and_case(open_page: Any, files: dict[str, Path]) -> None:
    page = open_page()
    page.locator("#filters select[name=suite]").select_option("general_knowledge")
    page.locator("#statuses button", has_text="newly passing").click()
    page.keyboard.press("n")
    page.keyboard.press("n")
    hash_, view = page.evaluate("location.hash"), "[open, places, JSON.stringify(wanted)]"
    assert "suite=general_knowledge" in hash_
    again = open_page(hash_=hash_)
    assert again.evaluate(view) == page.evaluate(view)
    assert again.locator(f"#{page.evaluate('open')} .case-body").is_visible()


def test_the_completions_are_shown_in_each_way(open_page: Any) -> None:
    """d marks words, lines or nothing; s makes one text of two; t puts one in the other's place."""
    page = open_page()
    page.evaluate("set({ status: 'fixed', suite: 'support_json' })")
    page.keyboard.press("n")
    count = "document.querySelectorAll('#cases {}').length"
    assert page.evaluate(count.format("pre > del")) > 0
    base = page.locator("#cases .side-base pre").inner_text()
    marked = [page.evaluate("document.querySelector('#cases del').textContent.length")]
    page.keyboard.press("d")
    marked.append(page.evaluate("document.querySelector('#cases del').textContent.length"))
    assert marked[0] < marked[1]
    page.keyboard.press("d")
    assert page.evaluate(count.format("pre > :is(del, ins)")) == 0
    page.keyboard.press("d")
    page.keyboard.press("s")
    assert page.evaluate(count.format("figure pre")) == 1
    one = "[...document.querySelector('#cases figure pre').childNodes]"
    kept = f"{one}.filter((n) => n.nodeName !== 'INS').map((n) => n.textContent).join('')"
    assert "".join(page.evaluate(kept).split()) == "".join(base.split())
    page.keyboard.press("t")
    assert page.locator("#cases figcaption").all_inner_texts() == ["base"]
    page.keyboard.press("t")
    assert page.locator("#cases figcaption").all_inner_texts() == ["tuned"]


def open_code(page: Any, name: str) -> None:
    """Open a case of the run whose answers are code."""
    page.locator("#cases .cid", has_text=name).click()
    until(page, "document.querySelectorAll('#cases .case-body').length === 1")


def lines(page: Any, selector: str) -> list[str]:
    """Return the text of elements, white space included."""
    texts: list[str] = page.locator(selector).all_text_contents()
    return texts


def test_code_is_compared_by_line_and_a_long_equal_stretch_is_folded(
    open_page: Any, code_run: Run
) -> None:
    page = open_page("code")
    open_code(page, "square")
    assert lines(page, "#cases del") == ["    return n * n\n"]
    assert lines(page, "#cases ins") == ["Sure:\n", "    return n + n\n"]
    for arm in ("base", "tuned"):
        fold = page.locator(f".side-{arm} .code details")
        assert fold.get_attribute("open") is None
        assert fold.locator("summary").inner_text() == "16 equal lines"
        stored = next(
            c.completion
            for c in code_run.cells
            if c.completion and (c.cell.case, c.cell.arm) == ("square", arm)
        )
        assert "".join(lines(page, f".side-{arm} .line")) == stored.text
    tops = "[...document.querySelectorAll('#cases :is(del, ins)')].map((e) => e.offsetTop)"
    base, _, tuned = page.evaluate(tops)
    assert base == tuned
    page.keyboard.press("d")
    assert page.locator("#cases :is(del, ins), #cases .filler").count() == 0
    page.keyboard.press("d")
    page.keyboard.press("s")
    assert lines(page, "#cases figure :is(del, ins).line") == [
        "Sure:\n",
        "    return n * n\n",
        "    return n + n\n",
    ]


def test_indentation_is_a_difference_of_code(open_page: Any) -> None:
    page = open_page("code")
    open_code(page, "sum")
    assert lines(page, "#cases del") == ["print(total)"]
    assert lines(page, "#cases ins") == ["\tprint(total)"]
    style = "getComputedStyle(document.querySelector('#cases .line'))"
    assert page.evaluate(f"{style}.whiteSpaceCollapse || {style}.whiteSpace").startswith("p")
    assert "monospace" in page.evaluate(f"{style}.fontFamily")


def test_the_failing_test_is_under_the_arm_that_fails_it(open_page: Any) -> None:
    page = open_page("code")
    open_code(page, "square")
    assert page.locator(".side-base .ran").inner_text() == "code_tests 100 %"
    assert page.locator(".side-tuned .ran").inner_text().split("\n\n") == [
        "code_tests 0 %",
        "assert f(5) == 25: got 10, not 25",
    ]
    assert page.locator("#cases .hint", has_text="The first of 5 answers").count() == 1
    page.keyboard.press("b")
    assert page.locator("#cases .ran").count() == 0
    mark = "getComputedStyle(document.querySelector('#cases .line:is(del, ins)'), '::before')"
    assert page.evaluate(f"{mark}.content") == "none"


@pytest.mark.parametrize(
    ("case", "texts"),
    [
        ("square", ["assert f(2) == 4\n\nassert f(5) == 25", "def f(n):\n    return n ** 2"]),
        ("sum", ["import sys\n", "input:\n3 4\noutput:\n7"]),
        ("paid", ["shop", "SELECT name FROM staff WHERE pay > 2"]),
    ],
)
def test_hidden_tests_and_the_solution_are_folded(
    open_page: Any, case: str, texts: list[str]
) -> None:
    page = open_page("code")
    open_code(page, case)
    fold = page.locator("#cases details.inner", has_text="How it is checked")
    assert not fold.locator("pre").first.is_visible()
    fold.locator("summary").click()
    assert fold.locator("pre").all_text_contents() == texts
    page.evaluate("(text) => set({ status: 'all', text })", texts[-1].split("\n")[0])
    assert case in page.evaluate("places.map((at) => cases[at].id)")


def test_a_case_names_its_trace_and_leads_to_the_viewer(open_page: Any, make_run: Any) -> None:
    """Both ids can be copied or are selected; the link has them, and following it is up to me."""
    known = trace_viewer(with_viewer(make_run("BLOCK")))
    assert known is not None
    page = open_page("traced")
    page.keyboard.press("n")
    suite, name = page.evaluate("[cases[placeOf.get(open)].suite, cases[placeOf.get(open)].id]")
    trace, span = known.ids.trace_id, known.ids.case(suite, name)

    assert not page.locator(".traced").is_visible()
    page.get_by_text("Trace", exact=True).click()
    assert page.locator(".traced code").all_inner_texts() == [trace, span]
    link = page.locator(".traced a")
    assert link.get_attribute("href") == f"https://viewer.test/trace/{trace}?uiFind={span}"
    assert link.get_attribute("rel") == "noopener noreferrer"
    page.locator(".traced button").last.click()
    until(
        page, "/Copied|Selected/.test(document.querySelectorAll('.traced button')[1].textContent)"
    )
    held = page.evaluate("navigator.clipboard ? null : String(getSelection())")
    assert held in (None, span)
    page.keyboard.press("b")
    assert page.locator(".traced").count() == 0


def test_a_run_without_traces_shows_none(open_page: Any) -> None:
    page = open_page("plain")
    page.keyboard.press("n")
    assert page.locator(".case-body").count() == 1
    assert page.locator(".traced").count() == 0


def test_blind_mode_tells_nothing_of_the_arms(open_page: Any) -> None:
    """Nothing inside the list says base or tuned; the arm behind the better letter is kept."""
    page = open_page()
    page.evaluate("set({ status: 'fixed', suite: 'support_json' })")
    page.keyboard.press("b")
    page.keyboard.press("n")
    text = page.locator("#cases").inner_text()
    assert "A is better" in text
    for word in ("base", "tuned", "newly", "json_schema", "→"):
        assert word not in text
    arm = page.evaluate("sidesOf(cases[placeOf.get(open)])[1][0]")
    page.get_by_role("button", name="B is better").click()
    assert page.evaluate("marks[open].better") == arm


def test_marks_and_notes_stay_and_are_saved_as_json(open_page: Any) -> None:
    """m marks the open case; a note is kept with it; both outlive a reload and come out whole."""
    page = open_page()
    page.keyboard.press("n")
    page.keyboard.press("m")
    page.locator("#cases textarea").fill("drops the field; ask data")
    assert page.locator("#marks").inner_text().startswith("1 reviewed")
    page.reload()
    with page.expect_download() as download:
        page.locator("#save-review").click()
    saved = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    (case,) = saved["cases"]
    assert case["note"] == "drops the field; ask data"
    assert case["reviewed"][:4].isdigit()
    assert page.evaluate(f"{SHOWN}[0].querySelector('.cid').textContent") == case["case"]
    page.keyboard.press("m")
    assert page.locator("#marks").inner_text().startswith("nothing reviewed")


def test_the_downloads_hold_what_the_page_holds(open_page: Any, make_run: Any) -> None:
    page = open_page()
    got = {}
    for name in ("csv", "json", "junit"):
        with page.expect_download() as download:
            page.locator(f"[data-download={name}]").click()
        got[name] = Path(download.value.path()).read_text(encoding="utf-8")
    run = make_run("BLOCK")
    rows = list(csv.DictReader(io.StringIO(got["csv"])))
    stored = {(s.suite, s.metric, s.case): s.value for s in run.scores if s.arm == "tuned"}
    values = {(r["suite"], r["metric"], r["case"]): r["tuned"] for r in rows}
    assert values.keys() == stored.keys()
    for key, value in stored.items():
        if value is None:
            assert values[key] == ""
        else:
            assert float(values[key]) == pytest.approx(value, rel=1e-5)
    cases = {(c["suite"], c["case"]): c for c in json.loads(got["json"])["cases"]}
    assert cases.keys() == run.cases.keys()
    assert got["junit"] == render_junit(run)
    page.locator("[data-download=markdown]").click()
    until(page, "document.getElementById('copied').textContent !== ''")


def test_a_spreadsheet_runs_no_formula_of_a_case(open_page: Any) -> None:
    """A field that a spreadsheet would take for a formula begins with an apostrophe."""
    page = open_page()
    assert page.evaluate("field('=cmd()')") == "'=cmd()"
    assert page.evaluate("field('a,\"b\"')") == '"a,""b"""'
    assert page.evaluate("field(-0.5)") == "-0.5"


def test_a_gate_lists_the_cases_that_speak_against_it(open_page: Any, make_run: Any) -> None:
    run = make_run("BLOCK")
    place, suite, floor = next(
        (place, suite.name, gate)
        for place, (suite, gate) in enumerate((s, g) for s in run.verdict.suites for g in s.gates)
        if gate.kind == "floor"
    )
    below = {
        row.case
        for row in run.scores
        if (row.suite, row.metric, row.arm) == (suite, floor.metric, "tuned")
        and row.value is not None
        and row.value < floor.margin
    }
    page = open_page()
    link = page.locator(f"a[href='#cases&status=all&gate={place}']")
    assert link.text_content() == f"Show the {len(below)} cases below the floor"
    link.click()

    shown = page.evaluate("places.map((at) => [cases[at].suite, cases[at].id])")
    assert {(suite, case) for case in below} == {tuple(pair) for pair in shown}
    assert page.evaluate("form.elements.gate.value") == str(place)


def test_cases_are_sorted_by_score_and_difference(open_page: Any) -> None:
    page = open_page()
    page.evaluate("set({ status: 'all', metric: 'choice_probability', order: 'tuned' })")
    scores = page.evaluate("places.map((at) => asked(cases[at])[2])")
    known = [score for score in scores if score is not None]
    assert len(set(known)) > 5
    assert scores[: len(known)] == sorted(known)
    page.evaluate("set({ order: 'gain' })")
    changes = page.evaluate("places.map((at) => asked(cases[at])[3]).filter((x) => x !== null)")
    assert changes == sorted(changes, reverse=True)
    page.evaluate("set({ order: 'loss' })")
    changes = page.evaluate("places.map((at) => asked(cases[at])[3]).filter((x) => x !== null)")
    assert changes == sorted(changes)


@pytest.mark.parametrize("name", ["plain", "twelve_gates"])
def test_a_telephone_shows_every_column(open_page: Any, name: str) -> None:
    """At 375 pixels no table is wider than its frame, folded ones included, nor the page long.

    Before a fold is opened the page of two suites has at most 8,600 pixels.
    """
    page = open_page(name, width=375)
    assert page.evaluate("document.documentElement.scrollHeight") <= 8_600
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    page.wait_for_timeout(100)
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    wide = page.evaluate(
        "[...document.querySelectorAll('.scroll')].filter((s) => s.scrollWidth > s.clientWidth + 1)"
        ".map((s) => s.getAttribute('aria-label'))"
    )
    assert wide == []


OVERLAPS = """[
  ...document.querySelectorAll("#gates .gate > tr:first-child, .typical tbody tr")
  ].filter((row) => {
    const boxes = [...row.cells].filter((cell) => cell.firstChild).map((cell) => {
      const range = document.createRange();
      range.selectNodeContents(cell);
      return range.getBoundingClientRect();
    });
    return boxes.some((a, i) => boxes.some((b, j) => i < j && a.left < b.right - 1 &&
      b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1));
  }).length"""
"""How many rows have cells whose texts overlap."""


@pytest.mark.parametrize("name", ["plain", "twelve_gates", "shipped"])
def test_no_cell_of_a_gate_or_a_typical_case_overlaps_another(open_page: Any, name: str) -> None:
    for width in (320, 390, 1280):
        assert open_page(name, width=width).evaluate(OVERLAPS) == 0


@pytest.mark.parametrize("name", ["plain", "twelve_gates", "shipped"])
def test_the_first_screen_of_a_telephone_has_a_case_with_both_answers_side_by_side(
    open_page: Any, name: str
) -> None:
    """At 390 by 844 pixels; a link leads to the whole case."""
    page = open_page(name, width=390)
    boxes = [
        page.locator(f".typical tbody tr:first-child td[data-label={arm}]").bounding_box()
        for arm in ("Base", "Tuned")
    ]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    assert max(box["y"] + 60 for box in boxes) <= 844
    page.locator(".typical a").first.click()
    until(page, f"{OPEN}.includes(true)")


def test_the_gate_of_the_headline_comes_first(open_page: Any) -> None:
    """In the terminal, too: of a SHIP the gain, of a BLOCK the gate that was lost."""
    first = "document.querySelector('#gates .gate th').textContent"
    assert "gain" in open_page("shipped").evaluate(first)
    assert "choice_probability" in open_page("plain").evaluate(first)


def test_a_link_opens_the_section_that_is_folded(open_page: Any) -> None:
    """On a narrow window the contents lead to a section, which opens; a wide one folds none."""
    page = open_page(width=375)
    inside = "document.querySelector('#provenance > .part').open"
    assert not page.evaluate(inside)
    page.locator(".toc a[href='#provenance']").click()
    until(page, inside)
    assert open_page(width=1280).evaluate(inside)


def test_a_list_of_ten_thousand_cases_is_a_small_document(open_page: Any) -> None:
    """However many cases there are, 25 rows are drawn."""
    page = open_page()
    page.evaluate("set({ status: 'all' })")
    assert page.evaluate(f"{SHOWN}.length") == 25
    assert page.evaluate("document.querySelectorAll('*').length") < 2_000


def test_cases_of_the_training_rows_are_marked_and_found(open_page: Any) -> None:
    page = open_page("leaked", hash_="#cases&status=all&trained=1")
    assert page.evaluate(FOUND).startswith("1 of ")
    assert page.locator("#cases .chip", has_text="in training rows").is_visible()
    page.keyboard.press("n")
    told = page.locator("#cases .notice", has_text="In training rows.")
    assert "13 words in a row, t.jsonl:17; left out of the gates." in told.inner_text()
    page.get_by_label("In training rows").uncheck()
    assert page.evaluate("places.length") == page.evaluate("cases.length")
    assert not open_page("plain").get_by_label("In training rows").is_visible()


def test_a_full_page_says_which_texts_it_lacks(open_page: Any) -> None:
    """A notice above the list, and in a case without texts; its scores are shown."""
    page = open_page("full")
    bodies = page.evaluate("JSON.parse(document.getElementById('texts').textContent).length")
    page.locator("#held").wait_for()
    notice = page.locator("#held").inner_text()
    page.evaluate("set({ status: 'all' }); draw(cases.at(-1).at); step(0, true)")
    last = page.locator(".case-body").inner_text()
    assert f"the texts of the first {bodies:,} of 106 cases" in notice
    assert "the texts of this case are in cases.jsonl" in last
    assert "choice_probability" in last or "json_schema" in last


def test_help_opens_and_closes(open_page: Any) -> None:
    page = open_page()
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()


def test_a_link_to_a_case_opens_it(open_page: Any) -> None:
    page = open_page()
    anchor = page.evaluate("cases.find((row) => row.how === 'fixed').at")
    page.evaluate(f"location.hash = {anchor!r}")
    until(page, f"Boolean(document.getElementById({anchor!r})?.open)")
    page.get_by_role("link", name="Show them in the list").first.click()
    until(page, "wanted.status === 'fixed,better' && open === null")


@pytest.mark.parametrize("name", ["plain", "poisoned", "leaked", "standing", "code_poisoned"])
def test_a_phone_never_scrolls_sideways(open_page: Any, name: str) -> None:
    """At 375 px the page is as wide as the screen, folded and with everything open."""
    page = open_page(name, width=375)
    width = "document.documentElement.scrollWidth"
    assert page.evaluate(width) == 375
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert page.evaluate(width) == 375
    for _ in range(3):
        page.keyboard.press("n")
        assert page.evaluate(width) == 375


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [
        ("plain", 1280, "light"),
        ("standing", 375, "dark"),
        ("code", 1280, "light"),
        ("code", 375, "dark"),
        pytest.param("plain", 375, "light", marks=pytest.mark.long),
        pytest.param("leaked", 1280, "dark", marks=pytest.mark.long),
    ],
)
def test_axe_finds_no_serious_fault(open_page: Any, name: str, width: int, scheme: str) -> None:
    page = open_page(name, width=width, scheme=scheme)
    page.evaluate("document.querySelectorAll('.how, .fold').forEach((d) => { d.open = true; })")
    page.keyboard.press("n")
    page.wait_for_timeout(50)
    found = axe.Axe().run(page).response["violations"]
    serious = [v for v in found if v["impact"] in ("serious", "critical")]
    assert [(v["id"], [n["target"] for n in v["nodes"]][:3]) for v in serious] == []


def test_conversations_come_together_and_cases_become_lines_of_a_suite(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of the conversation, under a heading; what was kept is saved as cases.jsonl."""
    unpack(tmp_path)
    monkeypatch.chdir(tmp_path)
    run = load("undecided_replayed")
    (tmp_path / "page.html").write_text(render_page(run), encoding="utf-8")
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto((tmp_path / "page.html").as_uri())

    page.locator("select[name=order]").select_option("talk")
    ids = page.locator("#cases .cid").all_inner_texts()
    heads = page.locator("#cases .talk").all_inner_texts()
    page.keyboard.press("n")
    page.get_by_role("button", name="Keep as a case of a suite").click()
    with page.expect_download() as download:
        page.locator("#save-cases").click()
    (line,) = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    with page.expect_download() as review:
        page.locator("#save-review").click()
    saved = json.loads(Path(review.value.path()).read_text(encoding="utf-8"))
    context.close()

    pairs = [(ids[at], ids[at + 1]) for at in range(0, 24, 2)]
    assert all(int(b[1:]) == int(a[1:]) + 1 and int(a[1:]) % 2 == 0 for a, b in pairs)
    assert len(heads) == 13  # 25 rows: the last pair goes on on the next page
    assert "2 cases" in heads[0]
    assert Case.model_validate_json(line) == run.cases["production", ids[0]].case
    assert "line" not in saved["cases"][0]


def test_other_runs_are_shown_next_to_the_run(open_page: Any, files: dict[str, Path]) -> None:
    page = open_page("plain")
    page.set_input_files("#pick input", [files["shipped"]])
    until(page, "document.querySelectorAll('#next-to table').length > 0")
    gates = page.locator("#next-to table").first.inner_text()
    assert "BLOCK" in gates
    assert "SHIP" in gates
    rows = page.locator("#next-to table").first.locator("tbody tr").count()
    assert rows == 1 + page.evaluate("new Set(run.about.gates.map(gateKey)).size")
    folder = page.evaluate("others[0].about.folder")
    assert page.inner_text("#compare-command").endswith(f" {folder}")
    for case in page.evaluate("cases.slice(0, 3).map((row) => row.at)"):
        page.evaluate(f"location.hash = '#{case}'")
        until(page, f"{SHOWN}.some((row) => row.open && row.id === '{case}')")
        said = page.locator("#cases details[open] figcaption", has_text="tuned of ")
        assert said.count() == 1
        stored = page.evaluate(
            f"others[0].texts[others[0].places.get(caseKey(cases[placeOf.get('{case}')]))].diff"
            ".map((part) => typeof part === 'string' ? part : part[1]).join('')"
        )
        assert said.locator("xpath=../pre").inner_text() == (stored or "(empty)")
    page.locator("#next-to button").click()
    assert page.locator("#next-to table").count() == 0


def test_a_file_that_is_no_page_of_a_run_is_named(
    open_page: Any, files: dict[str, Path], tmp_path: Path
) -> None:
    wrong = {
        "notes.html": "<h1>notes</h1>",
        "empty.html": '<script type="application/json" id="index">{}</script>',
        "verdict.json": "{}",
    }
    for name, text in wrong.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    page = open_page("plain")
    page.set_input_files("#pick input", [*(tmp_path / name for name in wrong), files["plain"]])
    until(page, "document.getElementById('picked').textContent !== ''")
    told = page.inner_text("#picked")
    for name in wrong:
        assert f"{name}: not the page of a run" in told
    assert "is here already" in told
    assert page.locator("#next-to table").count() == 0


@pytest.mark.parametrize("width", [1280, 375])
def test_a_hostile_page_is_only_text_in_another(
    open_page: Any, files: dict[str, Path], width: int
) -> None:
    page = open_page("plain", width=width)
    page.set_input_files("#pick input", [files["poisoned"], files["standing"]])
    until(page, "others.length === 2 || document.getElementById('picked').textContent !== ''")
    assert page.evaluate("others.length") >= 1
    page.evaluate("document.querySelector('#other-runs .part').open = true")
    page.evaluate(f"location.hash = '#' + {SHOWN}[0].id")
    until(page, f"{SHOWN}.some((row) => row.open)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#next-to script, #next-to img, #next-to iframe").count() == 0
