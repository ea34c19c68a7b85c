"""Prefix leak: a server that answers an arm from the cache of another is found, others are not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fake_server import FakeServer
from tests.models.servers.caching_server import CachingServer
from tests.tiny_models import make_tokenizer
from tunegate.harness.contracts.model import Arm
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.models.servers.dialects.ollama import DIALECT as OLLAMA
from tunegate.harness.models.servers.prefix_leak import (
    PREFIXES,
    find_prefix_leaks,
    measure_movement,
)

Start = Callable[..., FakeServer]
PAIR = ("base", "tuned")


@pytest.fixture(name="serve")
def _serve(
    fake_server: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[dict[str, Arm], CachingServer]]:
    """Open base and tuned of a caching server."""
    monkeypatch.delenv("TUNEGATE_SERVER_KEY", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(tmp_path / "saved")

    def start(owner: str = "vllm", *, query: bool = True, **how: Any) -> Any:
        server = CachingServer(tokenizer, **how)
        fake = fake_server(reply=server, models={name: {"owned_by": owner} for name in PAIR})
        folder = f"?tokenizer={tmp_path}/saved" if query else ""
        return open_arms({name: f"server:{fake.url}{folder}#{name}" for name in PAIR}), server

    return start


@pytest.mark.parametrize(
    ("owner", "switch"),
    [
        ("vllm", "--no-enable-prefix-caching"),
        ("sglang", "--disable-radix-cache"),
        ("llamacpp", "--no-cache-prompt"),
        ("somebody", "switch its prefix cache off"),
    ],
)
def test_a_cache_that_mixes_up_its_arms_is_found_and_its_switch_named(
    serve: Any, owner: str, switch: str
) -> None:
    arms, server = serve(owner, keyed=False)

    leaks = find_prefix_leaks(arms, ())

    found = leaks.record[PAIR]
    assert found["status"] == "leaks"
    assert 0.5 < found["c"] <= 1.1
    assert {found["arm"], found["towards"]} == set(PAIR)
    assert "base and tuned leak into each other on http://127.0.0.1:" in leaks.refusal
    assert switch in leaks.refusal
    assert server.questions == 2 * 2 * PREFIXES == 64  # once more, to be sure


@pytest.mark.parametrize("owner", ["vllm", "llamacpp"])
def test_a_cache_that_keeps_its_arms_apart_is_proven(serve: Any, owner: str) -> None:
    leaks = find_prefix_leaks(serve(owner)[0], ())

    assert leaks.refusal == ""
    assert leaks.record[PAIR]["status"] == "isolated"
    assert leaks.record[PAIR]["prefixes"] == 16
    assert abs(leaks.record[PAIR]["c"]) <= leaks.record[PAIR]["limit"]


def test_a_request_without_cache_cannot_leak(serve: Any) -> None:
    """What a `llama-server:` arm sends wins over what its log-probabilities are asked with."""
    arms, server = serve("llamacpp", keyed=False)
    for name, arm in arms.items():
        plain = {**arm.client.form.plain, "cache_prompt": False}
        form = dataclasses.replace(arm.client.form, plain=plain)
        arms[name] = dataclasses.replace(arm, client=dataclasses.replace(arm.client, form=form))
    server.cache.clear()

    assert find_prefix_leaks(arms, ()).record[PAIR]["status"] == "isolated"
    assert server.cache == {}


def test_a_leak_shows_in_greedy_answers(serve: Any) -> None:
    """Where no log-probabilities are reported: whole answers turn."""
    leaking, sound = (serve(reports=False, keyed=keyed)[0] for keyed in (False, True))

    assert find_prefix_leaks(leaking, ()).record[PAIR]["status"] == "leaks"
    assert find_prefix_leaks(sound, ()).record[PAIR]["status"] == "isolated"


@pytest.mark.parametrize(
    "how",
    [
        {"noise": 3.0, "steady": False},
        {"noise": 3.0, "steady": False, "keyed": False},
        {"apart": 0.0},
        {"apart": 0.0, "keyed": False},
    ],
)
def test_an_unsteady_server_or_equal_arms_are_no_evidence(serve: Any, how: Any) -> None:
    leaks = find_prefix_leaks(serve(**how)[0], ())

    assert leaks.refusal == ""
    assert leaks.record[PAIR]["status"] == "unknown"


def test_a_server_that_fails_over_the_check_is_noted(serve: Any) -> None:
    leaks = find_prefix_leaks(serve(fails=lambda path: True)[0], ())

    assert leaks.refusal == ""
    assert leaks.record[PAIR]["status"] == "unknown"
    assert "the server failed" in leaks.record[PAIR]["why"]


def test_servers_of_their_own_and_stored_answers_are_not_asked(serve: Any) -> None:
    (arms, server), (others, other) = serve(keyed=False), serve(keyed=False)

    apart = find_prefix_leaks({"base": arms["base"], "tuned": others["tuned"]}, ())
    stored = find_prefix_leaks(arms, PAIR)
    runners: Any = {n: dataclasses.replace(arm, dialect=OLLAMA) for n, arm in arms.items()}

    assert apart.record == find_prefix_leaks(runners, ()).record == {}
    assert stored.record[PAIR]["status"] == "not checked"
    assert server.questions == other.questions == 0


def test_movement_is_the_share_of_the_way_to_the_other_arm() -> None:
    """Cold (1, 0) as base and (0, 1) as tuned: 1/2 of the way for tuned warm, 0 for base."""
    answers = {
        (arm, place, turn): {1: 1.0, 2: 0.0}
        if arm == "base"
        else {1: 0.5, 2: 0.5}
        if turn < 2
        else {1: 0.0, 2: 1.0}
        for arm in PAIR
        for place in range(4)
        for turn in range(4)
    }

    assert measure_movement(answers, "tuned") == (0.5, 0.25)
    assert measure_movement(answers, "base") == (0.0, 0.25)
