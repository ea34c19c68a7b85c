"""A real server, `transformers serve`: the answers of the same model in this process."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.short_models import ShortModel, short_model
from tunegate.harness.contracts.model import PoolLimits
from tunegate.harness.engine.inference.local_engine import complete_requests
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.models.server import server
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import ModelError

__all__ = ["short_model"]

PROMPTS = (
    "What is the capital of France?",
    "Write one line of JSON with a name and an age.",
    "Name three colours.",
    "Say hello in German.",
)


@pytest.fixture(scope="module")
def folder(short_model: ShortModel) -> Path:
    """The folder of a model that a server loads in seconds."""
    return short_model.base


@pytest.fixture(scope="module")
def real(folder: Path) -> Iterator[str]:
    """The address of `transformers serve` in float32; it is ended with the tests."""
    import sys

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(folder)]
    command += ["--device", "cpu", "--dtype", "float32", "--port", str(port)]
    command += ["--host", "127.0.0.1"]
    process = subprocess.Popen(
        command,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(30)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise AssertionError("transformers serve did not come up")


def answers_of(answers: Any) -> dict[str, Any]:
    """Return text, reason and tokens of each answer."""
    found = {}
    for answer in answers:
        assert answer.error is None, answer.error
        c = answer.completion
        found[answer.key] = (c.text, c.finish_reason, c.input_tokens, c.output_tokens)
    return found


def uncounted(answers: dict[str, Any]) -> dict[str, Any]:
    """Return the answers without the number of their tokens."""
    return {key: value[:-1] for key, value in answers.items()}


@pytest.mark.slow
def test_a_real_server_answers_as_the_model_here(real: str, folder: Path, ask: Any) -> None:
    """Prompts rendered here and sent as text, which it takes; float32 on both sides; greedy."""
    arm = server(f"{real}?tokenizer={folder}#{folder}", PoolLimits(concurrency=2))
    here: Any = open_arms({"base": str(folder), "tuned": str(folder)})["base"]
    cases = [Case(id=f"c{i}", prompt=text) for i, text in enumerate(PROMPTS)]

    assert arm.identity["prompts"] == "text"
    assert arm.identity["tokenizer_checked"] == "by number of tokens"
    chat: dict[str, Any] = {"template": "chat", "max_new_tokens": 24}
    plain: dict[str, Any] = {"template": "none", "max_new_tokens": 24, "stop": ("\n\n",)}
    expected = answers_of(complete_requests(here, ask(here, cases, **chat)))
    assert answers_of(arm.complete(ask(arm, cases, **chat))) == expected
    cut = answers_of(complete_requests(here, ask(here, cases, **plain)))
    # Of an answer that a text ends, the server counts tokens that are cut off.
    assert uncounted(answers_of(arm.complete(ask(arm, cases, **plain)))) == uncounted(cut)


@pytest.mark.slow
def test_a_real_server_renders_messages_alike(real: str, folder: Path, ask: Any) -> None:
    """Without a tokenizer it is given messages; its template is the one we have."""
    arm = server(f"{real}#{folder}")
    rendering = server(f"{real}?tokenizer={folder}#{folder}")
    cases = [Case(id="c", prompt=PROMPTS[0])]
    asked: dict[str, Any] = {"template": "chat", "max_new_tokens": 16, "system": "Be brief."}

    assert arm.identity["prompts"] == "messages"
    messages = answers_of(arm.complete(ask(arm, cases, **asked)))
    rendered = answers_of(rendering.complete(ask(rendering, cases, **asked)))
    # Nothing here tells that the server counts the end marker.
    assert uncounted(messages) == uncounted(rendered)


@pytest.mark.slow
def test_a_real_server_without_the_model_is_refused(real: str) -> None:
    with pytest.raises(ModelError, match="the server has no model 'gpt-9'; there are: "):
        server(f"{real}#gpt-9")


@pytest.mark.slow
def test_another_tokenizer_is_told_from_that_of_a_real_server(
    real: str, folder: Path, tiny: Any
) -> None:
    with pytest.raises(ModelError, match="of another family"):
        server(f"{real}?tokenizer={tiny.base()}#{folder}")
