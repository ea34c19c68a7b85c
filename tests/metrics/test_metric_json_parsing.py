"""JSON of models: strict reading, and finding it in fences and prose."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunegate.harness.metrics._json_parsing import (
    Extract,
    UnreadableJson,
    find_json,
    parse_json,
    shorten_text,
)

ANY_TEXT = st.text(st.characters(exclude_categories=()))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{}", {}),
        (' \n{"a": [1, 2.5, -0, true, null]}\t', {"a": [1, 2.5, 0, True, None]}),
        ('"\\ud83d\\ude00"', "😀"),
        ('"\\ud800"', "\ud800"),  # the grammar allows a lone surrogate
        ("1e-400", 0.0),  # underflow is finite
        ("1" * 4300, int("1" * 4300)),
    ],
)
def test_reads_what_the_standard_allows(text: str, value: object) -> None:
    """RFC 8259 JSON, of any type, with white space around."""
    assert parse_json(text) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("NaN", "NaN"),
        ('{"a": Infinity}', "Infinity"),
        ("[-Infinity]", "-Infinity"),
        ("1e400", "1e400"),
        ("-1e400", "-1e400"),
        ("1" * 4301, "4301 digits"),
        ('{"a": 1, "b": 2, "a": 1}', "'a' occurs twice"),
        ('[{"x": {"a": 1, "\\u0061": 2}}]', "'a' occurs twice"),  # the same key, written otherwise
        ("{'a': 1}", "line 1 column 2"),
        ('{"a": 1,}', "line 1"),
        ("[1, 2", "line 1"),
        ("{} {}", "Extra data"),
        ("{} // done", "Extra data"),
        ('"a\nb"', "control character"),
        ("\ufeff{}", "BOM"),
        ("\u00a0{}", "line 1"),  # a no-break space is not JSON's white space
        ("[" * 100_000 + "]" * 100_000, "too deeply"),
        ("True", "line 1"),
        ("01", "Extra data"),
        ("\0", "line 1"),
        ("\ud800", "line 1"),
    ],
)
def test_refuses_what_it_does_not(text: str, words: str) -> None:
    with pytest.raises(UnreadableJson, match=words):
        parse_json(text)


@pytest.mark.parametrize(
    ("text", "value", "where"),
    [
        ('{"a": 1}', {"a": 1}, None),
        ('```json\n{"a": 1}\n```', {"a": 1}, "a ``` fence"),
        ('```\n{"a": 1}\n```', {"a": 1}, "a ``` fence"),
        ('```{"a": 1}```', {"a": 1}, "a ``` fence"),
        ('```json {"a": 1}```', {"a": 1}, "a ``` fence"),
        ('```json\n{"a": 1}', {"a": 1}, "a ``` fence"),  # the closing fence was cut off
        ("Run:\n```sh\nls\n```\nthen\n```json\n[1]\n```", [1], "a ``` fence"),  # the first that is
        ('Here you are: {"a": 1}. Bye!', {"a": 1}, "the text around it"),
        ('As [told] you: {"a": 1}', {"a": 1}, "the text around it"),
        ('The list: [{"a": 1}, {"a": 2}] as asked', [{"a": 1}, {"a": 2}], "the text around it"),
    ],
)
def test_finds_json_when_asked(text: str, value: object, where: str | None) -> None:
    found = find_json(text, "prose")

    assert (found.value, found.where) == (value, where)
    assert json.loads(found.text) == value


@pytest.mark.parametrize(
    "text", ['{"a": 1} or {"a": 2}', "```\nno\n```", "none here", "} {", '{"a": NaN} here', "```"]
)
def test_does_not_guess(text: str) -> None:
    """Two values, broken ones and none are unreadable; the message is about the whole text."""
    with pytest.raises(UnreadableJson) as whole:
        parse_json(text)
    with pytest.raises(UnreadableJson) as extracted:
        find_json(text, "prose")

    assert str(extracted.value) == str(whole.value)


@pytest.mark.parametrize(
    ("text", "extract"),
    [("```\n{}\n```", None), ("See {}.", None), ("See {}.", "fence"), ("```\n{", "fence")],
)
def test_looks_no_further_than_asked(text: str, extract: Extract | None) -> None:
    """Without `extract` a fence is not JSON, and with `fence` prose is not."""
    with pytest.raises(UnreadableJson):
        find_json(text, extract)


def test_a_fence_needs_no_prose() -> None:
    """`fence` finds what stands in a fence, whatever is around it."""
    assert find_json("So {x}:\n```json\n[1]\n```\nBye {y}.", "fence").value == [1]


@given(JSON)
def test_what_json_writes_is_read_back(value: object) -> None:
    assert parse_json(json.dumps(value)) == value


@given(ANY_TEXT)
def test_any_text_is_read_or_unreadable(text: str) -> None:
    ways: tuple[Extract | None, ...] = (None, "fence", "prose")
    for extract in ways:
        try:
            outcome = repr(find_json(text, extract))
        except UnreadableJson as error:
            outcome = str(error)
            outcome.encode()  # fit for a file: no lone surrogate
        assert outcome


@pytest.mark.parametrize(
    "text",
    [
        "{" * 1_000_000,
        "[1," * 300_000,
        "```" * 300_000,
        "```\n{" * 200_000,
        "{}" * 500_000,
        "[[]," * 200_000,
        '{"' * 500_000,
        '"\\' * 500_000,
        "`" * 1_000_000,
        " " * 1_000_000,
    ],
    ids=lambda text: repr(text[:6]),
)
def test_a_megabyte_takes_no_time(text: str) -> None:
    start = time.process_time()
    with pytest.raises(UnreadableJson):
        find_json(text, "prose")

    assert time.process_time() - start < 5


@given(ANY_TEXT, st.integers(200, 400))
def test_reasons_are_short_and_writable(text: str, longest: int) -> None:
    short = shorten_text(text * 50, longest)

    assert len(short.encode()) <= 10 * longest


@pytest.mark.parametrize("longest", [40, 80, 150, 300])
def test_a_shortened_text_is_no_longer_than_asked(longest: int) -> None:
    text = "".join(f"{i:04}" for i in range(200))

    for length in (longest, longest + 1, 800):
        shortened = shorten_text(text[:length], longest)
        assert len(shortened) <= longest
        assert shortened[: longest // 3] == text[: longest // 3]
        assert shortened[-10:] == text[:length][-10:]
