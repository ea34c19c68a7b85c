"""Whether the answer has the form of the expected one: prose, list, JSON, code …"""

from __future__ import annotations

import re

from tunegate.harness.contracts.metric import metric
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score
from tunegate.harness.records.text_forms import LIST_ITEM, is_json, script_of

_FENCE = re.compile(r"\A```[^\n]*\n(.*?)(?:\n?```)?\Z", re.DOTALL)
_JSON_START = re.compile(r'\A(?:\{\s*(?:"|\}|\Z)|\[\s*(?:[\[{"\]]|\Z))')
_ROW = re.compile(r"\s*\|.*\|\s*\Z")


@metric(label="answers in the expected form", binary=True, requires=("expected",))
def answer_form(case: Case, completion: Completion) -> Score:
    """Score 1 if the answer has the same form as an expected one, else 0.

    The forms are `empty`, `json`, `code`, `table`, `list`, `word` and `prose`. The letters of both
    texts must also come mostly from one script (Latin, Cyrillic, CJK …). The reason names both
    forms.

    Known problems:
        A list on one line counts as prose. Languages that share a script are not told apart.

    Example:
        Expected `Paris is the capital.`, answer `{"capital": "Paris"}`: 0, `json, expected prose`.
    """
    if completion.text is None:
        return Score.unscored("the completion has no text")
    wanted = [form_of(text) for text in case.expected_texts()]
    if not wanted:
        return Score.unscored("the case has no expected answer")
    form = form_of(completion.text)
    if form in wanted:
        return Score.of(1.0)
    return Score.of(0.0, f"{_words(form)}, expected {_words(wanted[0])}")


def form_of(text: str) -> tuple[str, str]:
    """Return a text's form and the script of most of its letters."""
    text = text.strip()
    return _form(text), script_of(text)


def _form(text: str) -> str:
    if not any(map(str.isalnum, text)):
        return "empty"
    fence = _FENCE.match(text)
    inside = fence.group(1).strip() if fence else text
    if _JSON_START.match(inside) or is_json(inside):
        return "json"
    if fence:
        return "code"
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > 1:
        for form, pattern in (("table", _ROW), ("list", LIST_ITEM)):
            if 2 * sum(bool(pattern.match(line)) for line in lines) > len(lines):
                return form
    return "prose" if len(text.split()) > 1 else "word"


def _words(form: tuple[str, str]) -> str:
    kind, script = form
    return kind if script in ("Latin", "") else f"{kind} ({script})"
