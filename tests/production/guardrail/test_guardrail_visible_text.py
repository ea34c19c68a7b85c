"""Visible text: what a reader sees, and where it came from."""

from __future__ import annotations

from tunegate.harness.production.guardrail.visible_text import visible_characters, visible_text


def test_visible_text_keeps_what_is_seen() -> None:
    tags = "".join(chr(0xE0000 + ord(c)) for c in "hi")

    assert visible_text("a\u200bb\n\tc" + tags) == "ab\n\tchi"
    assert visible_text("plain\x00") == "plain\x00"
    assert visible_text("\uff54\uff20\u0663\u2011\u0661\u00a0é\u3164") == "t@3-1 é"


def test_a_character_knows_its_place_in_the_original() -> None:
    assert list(visible_characters("a\u200bé")) == [(0, "a"), (2, "é")]
