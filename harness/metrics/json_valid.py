"""Whether the answer is JSON."""

from __future__ import annotations

from tunegate.harness.metric import metric
from tunegate.harness.metrics import _json_parsing
from tunegate.harness.records.cases import Case, Completion, Score


@metric(label="valid JSON", binary=True)
def json_valid(
    case: Case, completion: Completion, *, extract: _json_parsing.Extract | None = None
) -> Score:
    """Score 1 if the answer is one strict JSON value, else 0 with the place where it breaks.

    What it does:
        The whole text, white space around it aside, must be JSON as RFC 8259 writes it, of any
        type. What many readers take in silence is an error: NaN, Infinity, a number beyond any
        float, the same key twice in one object, a comma too many.

    Why:
        A program that reads the answer stops at the first wrong character. This measures how often,
        in a suite where no schema is written yet.

    Known problems:
        `42` and `"sorry"` are JSON. Where an object is wanted, use `json_schema` with
        `{"type": "object"}`. JSON nested deeper than about 1,000 levels counts as unreadable, as
        does a whole number of more than 4,300 digits.

    Example:
        `{"city": "Rome"}` scores 1; `{'city': 'Rome'}` and `{"city": "Rome",}` score 0.

    Options:
        extract: `fence` reads JSON inside a ``` fence too, `prose` also JSON inside other text. The
            reason then names its place. Off by default: the program that reads the answer will
            not look for it either.
    """
    if completion.text is None:
        return Score.unscored("the completion has no text")
    try:
        found = _json_parsing.find_json(completion.text, extract)
    except _json_parsing.UnreadableJson as error:
        return Score.of(0.0, f"not JSON: {error}")
    return Score.of(1.0, found.source)
