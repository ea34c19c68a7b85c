"""Secrets of many makers are found wherever they stand; ordinary texts have none."""

from __future__ import annotations

import base64
import json
import random
import string
import subprocess
import sys
import time

import pytest

from tunegate.harness.telemetry.export.redaction import scrub_text
from tunegate.harness.telemetry.export.secret_rules import find_secrets

LETTERS = string.ascii_letters + string.digits


def drawn(count: int, characters: str = LETTERS) -> str:
    """Return random characters, so that no secret stands in this file."""
    return "".join(random.Random(count).choices(characters, k=count))


HEX = "0123456789abcdef"
# Lengths from the makers' documents, or from the rules of Nosey Parker and Kingfisher
SECRETS = {
    "groq": f"gsk_{drawn(52)}",
    "xai": f"xai-{drawn(80)}",
    "langsmith": f"lsv2_pt_{drawn(32, HEX)}_{drawn(10, HEX)}",
    "nvidia": f"nvapi-{drawn(64)}",
    "sendgrid": f"SG.{drawn(22)}.{drawn(43)}",
    "openai": f"sk-proj-{drawn(20)}",
    "anthropic": f"sk-ant-api03-{drawn(93)}AA",
    "huggingface": f"hf_{drawn(34, string.ascii_letters)}",
    "github": f"ghp_{drawn(36)}",
    "gitlab": f"glpat-{drawn(20)}",
    "aws": f"AKIA{drawn(16, string.ascii_uppercase + '234567')}",
    "google": f"AIza{drawn(35)}",
    "slack": f"xoxb-{drawn(12, string.digits)}-{drawn(12, string.digits)}-{drawn(24)}",
    "stripe": f"sk_live_{drawn(24)}",
    "npm": f"npm_{drawn(36)}",
}
PLACES = (
    "my key is {}, please",
    "(see {}).",
    "OUR_TOKEN={}\n",
    '{{"api": "{}"}}',
    json.dumps({"arguments": json.dumps({"value": "{}"})}).replace("{}", "\0"),
)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("maker", SECRETS)
def test_a_key_is_replaced_wherever_it_stands(maker: str, place: str) -> None:
    secret = SECRETS[maker]
    text = place.replace("\0", secret) if "\0" in place else place.format(secret)

    assert scrub_text(text) == text.replace(secret, "<key>")


def test_an_aws_secret_key_is_found_by_its_name() -> None:
    secret = drawn(40, LETTERS + "/+")
    for text in (
        f"aws_secret_access_key = {secret}",
        f'{{"SecretAccessKey": "{secret}"}}',
        json.dumps(json.dumps({"secret_key": secret})),
    ):
        assert scrub_text(text) == text.replace(secret, "<key>")
    assert scrub_text(f"the commit is {secret}") == f"the commit is {secret}"


def test_the_password_of_basic_authentication_is_replaced() -> None:
    encoded = base64.b64encode(b"jo:correct horse").decode()

    assert scrub_text(f"Authorization: Basic {encoded}") == "Authorization: Basic <key>"
    assert scrub_text("a basic understanding") == "a basic understanding"
    assert scrub_text("curl -s -u jo:hunter22 x.io") == "curl -s -u jo:<key> x.io"


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        # the tests of detect-secrets' basic_auth (Apache-2.0)
        ("https://username:password@yelp.com", "https://username:<key>@yelp.com"),
        ("http://localhost:5000/<%= @variable %>", None),
        ('"https://url:8000";@something else', None),
        ("'https://url:8000';@something else", None),
        ("https://url:8000 @something else", None),
        ("https://url:8000/ @something else", None),
        ("postgres://app:s3cret@db/shop", "postgres://app:<key>@db/shop"),
        ("redis://:s3cret@cache:6379/0", "redis://:<key>@cache:6379/0"),
        (r"https:\/\/jo:s3cret@x.io\/a", r"https:\/\/jo:<key>@x.io\/a"),
        ("ssh://git@example.org:22/a", None),
    ],
)
def test_a_password_in_an_address_is_replaced(text: str, scrubbed: str | None) -> None:
    if scrubbed is None:
        assert find_secrets(text) == []
    else:
        assert scrub_text(text) == scrubbed


@pytest.mark.parametrize("levels", [0, 1, 2, 3])
@pytest.mark.parametrize("name", ["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "])
def test_a_private_key_in_json_is_replaced_whole(name: str, levels: int) -> None:
    begin, end = (f"-----{word} {name}PRIVATE KEY-----" for word in ("BEGIN", "END"))
    body = "\n".join(drawn(64, LETTERS + "+/") for _ in range(8))
    text, cut = f"{begin}\n{body}\n{end}", f"{begin}\n{body[:300]}"
    for _ in range(levels):
        text, cut = (json.dumps({"key": value}) for value in (text, cut))

    assert drawn(64, LETTERS + "+/")[:20] not in scrub_text(text)
    assert "PRIVATE KEY" not in scrub_text(text)
    assert drawn(64, LETTERS + "+/")[:20] not in scrub_text(cut)  # as a recorder cut it
    for scrubbed in (scrub_text(text), scrub_text(cut)):
        for _ in range(levels):  # what was JSON still is
            scrubbed = json.loads(scrubbed)["key"]


def test_what_was_json_is_json_afterwards() -> None:
    """A key that was cut off does not take the next field with it."""
    begin, body = "-----BEGIN PRIVATE KEY-----", drawn(64)
    whole = f"{begin}\n{body}\n-----END PRIVATE KEY-----"
    fields = {"a": f"{begin}\n{body}", "b": whole, "c": "fine", "d": SECRETS["groq"]}
    for text in (
        json.dumps(fields),
        json.dumps([json.dumps(fields)]),
        json.dumps(fields, indent=1),
    ):
        scrubbed = json.loads(scrub_text(text))
        scrubbed = json.loads(scrubbed[0]) if isinstance(scrubbed, list) else scrubbed
        assert scrubbed == {"a": "<key>", "b": "<key>", "c": "fine", "d": "<key>"}


@pytest.mark.parametrize(
    "text",
    [
        "Use `model.config.hidden_size` and `hf_hub_download(repo_id=repo_id)`.",
        "The access token is in the header; see the key points and the secret garden.",
        "GTACCATGGTGTACCTGCTCCTGTACCATGGTGTACCTGCTCCT",
        "encryption, access controls, GDPR/compliance",
        "for key, value in sorted(counts.items()): print(key, value)",
        "commit 4d8f3c91a0be5ac1d9f7b8f2d6e3c4a5b6c7d8e9",
        "id 550e8400-e29b-41d4-a716-446655440000",
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "gpt-4o-2024-08-06, ft:gpt-4o-mini-2024-07-18:org::9ABCdefG",
        "-----BEGIN CERTIFICATE-----",
        "the bearer responsibilities, and .sk-toggleable__content in a style sheet",
        "",
    ],
)
def test_ordinary_texts_hold_no_secret(text: str) -> None:
    assert find_secrets(text) == []


@pytest.mark.parametrize(
    "piece",
    [
        "curl ", "curl -u a:", "sk-", "-----BEGIN PRIVATE KEY-----", "basic aaaa", "://a:b",
        "key = aB1", "secret: ", "eyJhbGciOiJI.", "kind: secret\n", '{"private_key": "', "bitly\n",
    ],
)  # fmt: skip
def test_time_grows_with_the_text_only(piece: str) -> None:
    text = piece * (100_000 // len(piece))
    begun = time.process_time()
    scrub_text(text)
    # Up to 0.16 s; a rule whose time grows with the square, `curl-auth-header`, takes 18 s.
    assert time.process_time() - begun < 4


def test_the_rules_are_read_at_the_first_text_only() -> None:
    code = (
        "import tunegate.harness.telemetry.export.redaction as r, "
        "tunegate.harness.telemetry.export.secret_rules as s\n"
        "assert s._keyword_index.cache_info().currsize == 0\n"
        "r.scrub_text('a')\n"
        "assert s._keyword_index.cache_info().currsize == 1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
