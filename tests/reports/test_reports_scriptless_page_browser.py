"""The pages without a script in Chromium: nothing runs, nothing is fetched, a phone is enough."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import compared_runs, past_runs
from tests.compared_runs import candidate
from tunegate.harness.decision.candidates.rank import compare_runs
from tunegate.reports import candidates, history_page

PAGES = ("compare", "history")


@pytest.fixture(scope="module")
def files(payloads: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the pages that the tests open, plain and with hostile texts."""
    folder = tmp_path_factory.mktemp("pages")
    runs = [candidate(n, right, kept=kept) for n, right, kept in RUNS]
    hostile = " ".join(payloads)
    texts = {
        "compare": candidates.render_page(compare_runs(runs)),
        "history": history_page.render_history(past_runs.history_of(*past_runs.FOUR)),
        "compare-poisoned": candidates.render_page(compared_runs.poisoned(hostile)),
        "history-poisoned": history_page.render_history(past_runs.poisoned(hostile)),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return folder


RUNS = (("rank-4", 55, 89), ("rank-16", 70, 88), ("rank-64", 80, 70), ("rank-8", 60, 87))


@pytest.fixture
def open_page(browser: Any, files: Path) -> Iterator[Any]:
    """Return a function that opens a page; at the end, nothing was asked for or complained of."""
    contexts: list[Any] = []
    complaints: list[str] = []
    requests: list[str] = []

    def opened(name: str, *, width: int = 1280, scheme: str = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: requests.append(request.url))
        page.goto((files / f"{name}.html").as_uri())
        page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []


@pytest.mark.parametrize("name", PAGES)
def test_no_payload_runs(open_page: Any, name: str) -> None:
    """With everything open no payload set its mark, and no element is foreign."""
    page = open_page(f"{name}-poisoned")
    page.wait_for_timeout(50)

    assert page.evaluate("window.pwned === undefined")
    foreign = "script, img, iframe, object, embed, base, form, input, marquee"
    assert page.evaluate(f"document.querySelectorAll({foreign!r}).length") == 0


@pytest.mark.parametrize("name", [*PAGES, *(f"{name}-poisoned" for name in PAGES)])
def test_a_phone_never_scrolls_sideways(open_page: Any, name: str) -> None:
    """At 375 px the page is as wide as the screen with everything open."""
    page = open_page(name, width=375)

    assert page.evaluate("document.documentElement.scrollWidth") == 375


@pytest.mark.parametrize("name", PAGES)
def test_the_keyboard_reaches_everything(open_page: Any, name: str) -> None:
    page = open_page(name)
    wanted = page.evaluate("document.querySelectorAll('a, summary, [tabindex=\"0\"]').length")
    seen = set()
    page.keyboard.press("Tab")
    first = page.evaluate("document.activeElement.className")
    for _ in range(wanted + 2):
        seen.add(
            page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)")
        )
        page.keyboard.press("Tab")

    assert first == "skip"
    assert len(seen) >= wanted


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_schemes_are_drawn(open_page: Any, name: str, scheme: str) -> None:
    page = open_page(name, scheme=scheme)

    body = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (body == "rgb(18, 20, 23)") == (scheme == "dark")
    fill = "getComputedStyle(document.querySelector('svg .pl-zone')).fill"
    assert page.evaluate(fill) == {"light": "rgb(228, 242, 234)", "dark": "rgb(23, 50, 37)"}[scheme]


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (375, "dark")])
def test_axe_finds_no_serious_fault(open_page: Any, name: str, width: int, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not there")

    found = axe.Axe().run(open_page(name, width=width, scheme=scheme)).response["violations"]

    serious = [v for v in found if v["impact"] in ("serious", "critical")]
    assert [(v["id"], [n["target"] for n in v["nodes"]][:3]) for v in serious] == []
