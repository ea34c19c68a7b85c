"""Payloads in the report: `python -m benchmarks.attacks pages`.

What models wrote, prompts, expected answers, tags and ids hold markup, scripts and control
characters. The page is parsed: no element, attribute or address may come from a payload. Where
Chromium is installed it opens the page too, and no payload may run.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

from markdown_it import MarkdownIt

from benchmarks.attacks.attempt import AttackAttempt, Outcome
from benchmarks.attacks.project import AttackedProject, N, answer, question
from benchmarks.attacks.undeserved_ship import play_desk

MARK = "pwn7291"
RUN = f"document.documentElement.dataset.{MARK}=1"
PAYLOADS = (
    f"<script>{RUN}</script>",
    f"</script><script>{RUN}</script>",
    f"--><svg onload={RUN}>",
    f"]]><img src=x onerror={RUN}>",
    f"\"><img src=x onerror='{RUN}'>",
    f"'><input autofocus onfocus={RUN}>",
    f"<iframe src=javascript:parent.{RUN}>",
    f"<a href=javascript:{RUN} {MARK}>x</a>",
    f"<video><source onerror={RUN}></video>",
    f"<style>@import 'https://h.invalid/{MARK}';</style>",
    f"<base href=https://h.invalid/{MARK}/>",
    f"<meta http-equiv=refresh content='0;url=https://h.invalid/{MARK}'>",
    f"</title><img src=x onerror={RUN}>",
    f"{{{{constructor.constructor('{RUN}')()}}}}",
    f"&lt;script&gt;{RUN}&lt;/script&gt;&#60;img src=x onerror={RUN}&#62;",
    f"<scr\0ipt>{RUN}</scr\0ipt>",
    f"\u202e>tpircs<{RUN}\u202c<script>{RUN}</script>",
    f"```\n</code></pre><img src=x onerror={RUN}>\n```",
    f"[x](javascript:{RUN}) <https://h.invalid/{MARK}>",
    f"<think><script>{RUN}</script></think><img src=x onerror={RUN}>",
    f"<tool_call></code><script>{RUN}</script></tool_call>",
    f"<a href='&#106;avascript:{RUN}' {MARK}>x</a>",
    f'![x](https://h.invalid/{MARK}.png "><script>{RUN}</script>")',
    f"| a | <img src=x onerror={RUN}> |\n|---|---|\n$(document).ready({RUN})",
)
FIELDS = (
    "completion",
    "prompt",
    "expected",
    "id",
    "tags",
    "metadata",
    "reasoning",
    "cluster",
    "transcript",
)


def attempts() -> Iterator[AttackAttempt]:
    """Yield the attacks: all payloads in one field of the run after another."""
    for field in FIELDS:
        yield AttackAttempt(
            f"{len(PAYLOADS)} payloads as {field}",
            lambda field=field: _page(field),  # type: ignore[misc]
        )


def _page(field: str) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        project = AttackedProject(Path(folder))
        project.begin()
        _poison(project, field)
        done = project.gate()
        page = project.run / "report.html"
        if not page.is_file():
            output = (done.stdout + done.stderr).strip()
            refused = done.returncode == 2 and "Traceback" not in output
            return refused, f"refused: {output.splitlines()[-1]:.80}"
        elements = _Elements()
        elements.feed(page.read_text(encoding="utf-8"))
        wrong = [*elements.wrong, *_markdown(project.run), *_broken_xml(project.run)]
        ran, how = _in_browser(page)
        return not wrong and not ran, f"exit {done.returncode}, {how}: {wrong[:2] or 'only text'}"


def _poison(project: AttackedProject, field: str) -> None:
    cases = [question(i) for i in range(N)]
    answers = [answer("tuned", i) for i in range(N)]
    base = [answer("base", i) for i in range(N)]
    if field == "transcript":
        _poison_transcript(project)
        return
    for number, payload in enumerate(PAYLOADS):
        case = cases[number]
        if field == "completion":
            answers[number]["completion"] = base[number]["completion"] = payload
        elif field == "id":
            case["id"] = answers[number]["id"] = base[number]["id"] = payload
        elif field == "reasoning":
            answers[number]["reasoning"] = base[number]["reasoning"] = payload
        elif field == "tags":
            case["tags"] = [payload]
        elif field == "metadata":
            case["metadata"] = {payload: payload}
        else:
            case[field] = payload if field == "cluster" else f"{payload} {number}"
    project.cases(cases)
    project.answers("tuned", answers)
    project.answers("base", base)


def _poison_transcript(project: AttackedProject) -> None:
    """Have both arms call a tool with payloads, and the tool answer with them."""
    play_desk("", project)
    desk = project.folder / "suites/orders/desk.py"
    desk.write_text(desk.read_text("utf-8").replace('return "done"', "return shelf"), "utf-8")
    for arm in ("base", "tuned"):
        script = json.loads((project.folder / f"{arm}.json").read_text(encoding="utf-8"))
        for number, payload in enumerate(PAYLOADS):
            call = {"name": "shelve", "arguments": {"shelf": payload}}
            answers = [f"<tool_call>{json.dumps(call)}</tool_call>", payload]
            script["turns"][f"q{number:02}"] = answers
        project.write(f"{arm}.json", json.dumps(script))


class _Elements(HTMLParser):
    """Collects what no page of ours has."""

    FOREIGN = frozenset({"iframe", "object", "embed", "base", "math", "img", "video"})

    def __init__(self) -> None:
        super().__init__()
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self.FOREIGN:
            self.wrong.append(f"<{tag}>")
        for name, value in attrs:
            scripted = name.startswith("on") or "javascript:" in (value or "").lower()
            away = name in ("src", "href", "action") and not (value or "").startswith("#")
            leaves = away and "h.invalid" in (value or "")
            if scripted or leaves or MARK in name:
                self.wrong.append(f"<{tag} {name}={value!r:.60}>")


def _markdown(run: Path) -> Iterator[str]:
    """Yield raw tags that the summary gives to GitHub: those outside of code."""
    tokens = MarkdownIt("commonmark").parse((run / "summary.md").read_text(encoding="utf-8"))
    inline = [child for token in tokens for child in token.children or ()]
    for token in (*tokens, *inline):
        if token.type.startswith("html_") and re.search(
            r"<(script|img|svg|i?frame)", token.content
        ):
            yield f"summary.md holds a tag: {token.content:.60}"


def _broken_xml(run: Path) -> Iterator[str]:
    try:
        ElementTree.parse(run / "junit.xml")
    except ElementTree.ParseError as error:
        yield f"junit.xml: {error}"


def _in_browser(page: Path) -> tuple[bool, str]:
    """Open the page in Chromium, if there is one; return whether a payload ran."""
    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if browser is None:
        return False, "parsed"
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000",
         "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if "<html" not in done.stdout:
        return False, f"parsed (Chromium ended with {done.returncode})"
    opening = done.stdout[done.stdout.index("<html") :].partition(">")[0]
    return f"data-{MARK}" in opening, "parsed and opened"
