"""Images in messages: what is shown of them, and what decides on a prompt."""

from __future__ import annotations

from tunegate.harness.records.images import content_text, hashed_messages

IMAGE = {"type": "image", "image": "receipts/1.png", "sha256": "ab"}
TEXT = {"type": "text", "text": "What is the total?"}


def test_an_image_is_shown_by_its_name() -> None:
    assert content_text("Hi") == "Hi"
    assert content_text([TEXT, IMAGE, "or"]) == "What is the total?\n[image receipts/1.png]\nor"
    assert content_text(None) is None
    assert content_text([TEXT, {"type": "audio"}]) is None


def test_the_hash_decides_and_not_the_name() -> None:
    call = {"role": "assistant", "tool_calls": []}
    turns = [{"role": "user", "content": [TEXT, IMAGE]}, call]

    assert hashed_messages(turns) == [
        {"role": "user", "content": [TEXT, {"type": "image", "sha256": "ab"}]},
        call,
    ]
