"""`make docs` builds a site in which every page is found and every link leads somewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[1]


class Page(HTMLParser):
    """The links and anchors of one page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element links to and what can be linked to."""
        found = dict(attrs)
        self.links += [value for key in ("href", "src") if (value := found.get(key))]
        self.anchors |= {value for key in ("id", "name") if (value := found.get(key))}


@pytest.fixture(name="site", scope="module")
def _site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the built site."""
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    return folder


def test_every_page_is_built(site: Path) -> None:
    """Each Markdown file under docs/ has its page; the scripts beside them have none."""
    docs = ROOT / "docs"
    pages = [path.relative_to(docs).with_suffix(".html") for path in docs.rglob("*.md")]

    assert [page for page in pages if not (site / page).is_file()] == []
    assert list(site.rglob("*.py")) == []


def test_every_link_leads_somewhere(site: Path) -> None:
    pages = {path: Page(path) for path in site.rglob("*.html") if path.name != "404.html"}
    lost = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            known = not anchor or target not in pages or anchor in pages[target].anchors
            if not target.exists() or not known:
                lost.append((str(path.relative_to(site)), link))

    assert lost == []
    assert sum(len(page.links) for page in pages.values()) > 500


def test_reading_the_site_asks_nobody(site: Path) -> None:
    asked = []
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        asked += [w for w in ("fonts.googleapis", "cdn.", "googletagmanager") if w in text]

    assert asked == []
