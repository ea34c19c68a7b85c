"""Whether the answer is JSON."""

from __future__ import annotations

from tunegate.harness.contracts.metric import metric
from tunegate.harness.metrics import _json_parsing
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


@metric(label="valid JSON", binary=True)
def json_valid(
    case: Case, completion: Completion, *, extract: _json_parsing.Extract | None = None
) -> Score:
    """Score 1 if the answer is one strict JSON value, else 0 with the place where it breaks.

    NaN, Infinity, duplicate keys and trailing commas are errors (RFC 8259).

    Known problems:
        `42` and `"sorry"` are JSON. Where you want an object, use `json_schema`.

    Example:
        `{"city": "Rome"}` scores 1; `{'city': 'Rome'}` and `{"city": "Rome",}` score 0.

    Options:
        extract: `fence` also reads JSON inside a ``` fence, `prose` also JSON inside other
            text.
    """
    if completion.text is None:
        return Score.unscored("the completion has no text")
    try:
        located = _json_parsing.find_json(completion.text, extract)
    except _json_parsing.UnreadableJson as error:
        return Score.of(0.0, f"not JSON: {error}")
    return Score.of(1.0, located.source)
