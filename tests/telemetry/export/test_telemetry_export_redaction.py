"""Redactions by name: the default, none, and a function of the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunegate.harness.records.errors import UsageError
from tunegate.harness.telemetry.export.redaction import (
    content_of,
    find_redaction,
    mask_values,
    scrub_text,
)


def test_redactions_are_found_by_name() -> None:
    assert find_redaction("pii") is scrub_text
    assert find_redaction("none") is None
    assert content_of(False, "pii") is None
    content = content_of(True, "pii")
    assert content is not None
    assert content.clean("a@b.io") == "<email>"


def test_a_function_of_the_project_is_a_redaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "our_redaction.py").write_text("hide = lambda text: 'gone'\nlevel = 3\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    content = content_of(True, "our_redaction:hide")
    assert content is not None
    assert content.clean("x") == "gone"
    with pytest.raises(UsageError, match="must be a function from text to text"):
        find_redaction("our_redaction:level")


@pytest.mark.parametrize("name", ["pi", "all", "nowhere.at_all:fn"])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=name.partition(":")[0]):
        content_of(False, name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to anna.k+shop@mail.example.org.", "write to <email>."),
        ("two: a@b.io,c@d.de", "two: <email>,<email>"),
        ("call +49 (0)30 901820 now", "call <phone> now"),
        ("call +1-202-555-0143", "call <phone>"),
        ("(202) 555-0143", "<phone>"),
        ("202.555.0143", "<phone>"),
        ("Tel. 030/9018200", "Tel. <phone>"),
        ("card 4111 1111 1111 1111 ok", "card <card> ok"),  # Visa's test number
        ("5500-0000-0000-0004", "<card>"),  # Mastercard's
        ("378282246310005", "<card>"),  # American Express's, 15 digits
        ("IBAN DE89 3704 0044 0532 0130 00", "IBAN <iban>"),  # the standard's own example
        ("DE89 3704 0044 0532 0130 00 IS MINE", "<iban> IS MINE"),
        ("GB29NWBK60161331926819", "<iban>"),
        ("from 203.0.113.7:443", "from <ip>:443"),
        ("host 2001:db8::8a2e:370:7334 up", "host <ip> up"),
        ("key sk-proj-abcdefghijklmnop123456", "key <key>"),
        ("AKIAIOSFODNN7EXAMPLE", "<key>"),
        ("Authorization: Bearer abcdef0123456789ABCDEF==", "Authorization: Bearer <key>"),
    ],
)
def test_personal_data_and_keys_are_removed(text: str, expected: str) -> None:
    assert scrub_text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "order 1234567890123456 is late",  # 16 digits whose check digit is wrong
        "on 2026-11-25 at 10:30:00",
        "version 1.2.3 and 10.4.0.1234",
        "GB29NWBK60161331926818 fails its check",
        "the price is 1,299.00 EUR, 3.14159265358979",
        "localhost is 127.0.0.1 and ::1",
        "0000 0000 0000 0000",
        "a @ b, @handle, user@localhost",
        "std::vector<int> and a::b",
        "ratio 3:4:5",
        "",
    ],
)
def test_order_numbers_dates_and_code_stay(text: str) -> None:
    assert scrub_text(text) == text


@pytest.mark.parametrize("piece", ["a", "1", "1 ", "a.", "+1", "(0", "AA11 ", "a@b.", ":", "eyJa."])
def test_time_is_linear_in_the_text(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    assert len(scrub_text(text)) <= len(text) + 10_000


SAMPLES = (
    "Mail jo@example.org or +1 202 555 0143.",
    "card 4111 1111 1111 1111, iban DE89370400440532013000",
    "key sk-abcdefghij0123456789 and 10.1.2.3",
    "order 12345, 2026-11-02, 17.5 %",
    "<email> a@b.example",
)


@given(st.lists(st.sampled_from(SAMPLES), max_size=4), st.text(max_size=30))
def test_masking_all_kinds_is_scrubbing(parts: list[str], between: str) -> None:
    text = f" {between} ".join(parts)
    kinds = ("email", "phone", "card", "iban", "ip", "key")

    assert mask_values(text, kinds=kinds) == scrub_text(text)


def test_masking_keeps_the_given_values() -> None:
    text = "jo@example.org, ann@example.org, +1 202 555 0143"

    assert mask_values(text, kinds=["email"], keep=["ann@example.org"]) == (
        "<email>, ann@example.org, +1 202 555 0143"
    )


def test_a_private_key_is_removed_whole() -> None:
    begin, end = (f"-----{word} RSA PRIVATE KEY-----" for word in ("BEGIN", "END"))
    key = f"{begin}\nMIIEvQIBADANBgkq\nhkiG9w0BAQEF\n{end}"

    assert scrub_text(f"it is {key}, sorry") == "it is <key>, sorry"
