"""The diffs: what is marked, what is not, and how much work they may cost."""

from __future__ import annotations

import random
import time

from tunegate.reports.text_diff import (
    WORD_LIMIT,
    DiffSegment,
    TextDiff,
    compare_lines,
    compare_texts,
    line_diff,
)


def marked(diff: TextDiff) -> tuple[list[str], list[str]]:
    """Return the changed stretches of each side."""
    changed = [segment for segment in diff.segments if segment.changed]
    return [s.base for s in changed if s.base], [s.tuned for s in changed if s.tuned]


def texts(diff: TextDiff) -> tuple[str, str]:
    """Return both sides whole."""
    return "".join(s.base for s in diff.segments), "".join(s.tuned for s in diff.segments)


def test_only_what_differs_is_marked() -> None:
    base, tuned = "The parcel is on its way.", "The parcel is still on its way."
    diff = compare_texts(base, tuned)
    assert marked(diff) == ([], ["still"])
    assert texts(diff) == (base, tuned)


def test_white_space_is_kept_and_never_marked() -> None:
    diff = compare_texts('{"a": 1}\n', '{"a":\n  1}')
    assert marked(diff) == ([], [])
    assert texts(diff) == ('{"a": 1}\n', '{"a":\n  1}')
    assert diff.note == "The completions differ in white space only."


def test_equal_and_empty_texts_need_no_note() -> None:
    """Nothing is marked where nothing differs; an empty side has no text."""
    assert compare_texts("same", "same").note is None
    assert texts(compare_texts("", "new")) == ("", "new")
    assert compare_texts("", "").segments == ()


def test_one_accidental_common_word_does_not_split_a_change() -> None:
    diff = compare_texts("alpha beta the gamma delta", "one two the three four")
    assert marked(diff) == (["alpha beta the gamma delta"], ["one two the three four"])


def test_wide_scripts_are_compared_by_character() -> None:
    assert marked(compare_texts("我喜欢红色的花", "我喜欢白色的花")) == (["红"], ["白"])


def test_looping_text_is_cut_and_fast() -> None:
    """200,000 words a side take under a second, and the cut is said."""
    rng = random.Random(0)
    texts = [" ".join(rng.choices(["a", "b", "c"], k=200_000)) for _ in range(2)]
    start = time.perf_counter()
    diff = compare_texts(*texts)
    assert time.perf_counter() - start < 1
    assert f"{WORD_LIMIT:,} words" in (diff.note or "")


def test_lines_of_base_stand_before_those_of_tuned() -> None:
    """A fenced diff lists removed lines first; every line has a mark of its own."""
    assert line_diff("same\nold", "same\nnew") == "  same\n- old\n+ new"
    assert line_diff("", "::error::x") == "- (empty)\n+ ::error::x"
    assert "(40 more lines)" in line_diff("x\n" * 99, "y")


def test_code_is_compared_by_whole_lines() -> None:
    """Indentation is a difference; a line break at the end of the text is not."""
    base, tuned = "for x in y:\n    a\n    b\nc", "for x in y:\n    a\nb\nc\n"
    diff = compare_lines(base, tuned)
    assert marked(diff) == (["    b\n"], ["b\n"])
    assert texts(diff) == (base, tuned)
    assert diff.note is None
    assert compare_lines("a\n", "a").note == "The completions differ in white space only."
    assert compare_lines("", "a").segments == (DiffSegment("", "a", changed=True),)
    assert compare_lines("", "").segments == ()


def test_code_that_loops_is_cut_and_fast() -> None:
    rng = random.Random(0)
    base, tuned = ("\n".join(rng.choices("abc", k=200_000)) for _ in range(2))
    start = time.process_time()
    diff = compare_lines(base, tuned)
    assert time.process_time() - start < 1
    assert f"{WORD_LIMIT:,} lines" in (diff.note or "")
    assert {side.count("\n") for side in texts(diff)} == {WORD_LIMIT}


def test_white_space_at_the_end_takes_linear_time() -> None:
    base, tuned = "a" + "\n" * 19_999, "b" + " " * 19_999
    start = time.process_time()
    diff = compare_texts(base, tuned)
    assert time.process_time() - start < 1
    assert texts(diff) == (base, tuned)
