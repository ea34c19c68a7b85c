"""`ollama:`: a model of a running Ollama, by its address, its prompt's text and its files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import ollama_recording
from tests.fake_programs import Program
from tests.fake_server import FakeServer
from tests.gguf_files import few_stops, needs_gguf, rewritten
from tests.gguf_writer import write_gguf
from tests.tiny_models import Tiny, make_tokenizer
from tunegate.harness.models.ollama import HOST, host_address, ollama
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.errors import ModelError

Start = Callable[..., FakeServer]


class _Ollama(Program):
    """An Ollama whose model is made of named blobs."""

    modelfile = ""

    def __call__(self, model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        reply = super().__call__(model, path, body)
        return {**reply, "modelfile": self.modelfile} if path == "/api/show" else reply


@pytest.fixture(name="run")
def _run(fake_server: Start, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Start an Ollama with the model `support:latest` of a Modelfile."""

    def start(modelfile: str = "") -> None:
        program = _Ollama(make_tokenizer(), "Ollama")
        program.modelfile = modelfile
        models: dict[str, dict[str, Any]] = {"support:latest": {"owned_by": "library"}}
        fake = fake_server(reply=program, models=models, pages=program.pages)
        monkeypatch.setenv(HOST, fake.url.removesuffix("/v1"))

    return start


@pytest.mark.parametrize(
    ("named", "address"),
    [
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:1234", "http://127.0.0.1:1234"),
        ("http://box", "http://box:80"),
        ("https://box/", "https://box:443"),
        ("box:99", "http://box:99"),
        ("[::]:5", "http://[::1]:5"),
    ],
)
def test_the_address_is_read_as_ollama_reads_it(named: str, address: str) -> None:
    assert host_address({HOST: named}) == address


def test_a_model_is_asked_by_messages_under_its_own_spec(run: Callable[..., None]) -> None:
    run()
    arm: Any = open_arms({"base": "ollama:support", "tuned": "ollama:support:latest"})["base"]

    assert (arm.spec, arm.where.model) == ("ollama:support", "support:latest")
    assert (arm.identity["backend"], arm.identity["prompts"]) == ("ollama", "messages")
    assert arm.weights_spec is None


def test_the_file_of_a_model_is_not_the_part_that_reads_images(
    fake_server: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ollama writes both as FROM, the model first (server/images.go)."""
    pages = {"/api/version": ollama_recording.VERSION, "/api/ps": ollama_recording.PS}
    models = {ollama_recording.NAME: ollama_recording.CARD}
    fake = fake_server(reply=ollama_recording.reply, models=models, pages=pages)
    monkeypatch.setenv(HOST, fake.url.removesuffix("/v1"))

    assert ollama("assistant").identity["weights_sha256"] == ollama_recording.MODEL


def test_mistakes_are_one_line(run: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    for target, words in (
        ("", "names no model"),
        ("support?tokeniser=x", "unknown option 'tokeniser'; did you mean 'tokenizer'"),
        ("support?weights=", "weights= names nothing"),
        ("suport", "did you mean 'support:latest'"),
    ):
        with pytest.raises(ModelError, match=words) as caught:
            ollama(target)
        assert str(caught.value).startswith(f"ollama:{target}: ")
        assert "\n" not in str(caught.value)


def test_a_missing_file_is_told_before_ollama_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOST, "http://127.0.0.1:9")

    for named, missing in (("nowhere.gguf", r"nowhere\.gguf"), (",", r"\.")):
        with pytest.raises(ModelError, match=f"weights={missing}: no such file"):
            ollama(f"support?weights={named}")


@needs_gguf
def test_files_are_compared_by_hash_or_tensor_by_tensor(
    run: Callable[[str], None], tiny: Tiny, tmp_path: Path
) -> None:
    """`ollama create` may write a file anew: then its tensors are compared."""
    folder = few_stops(tiny.base(), tmp_path / "model")
    mine, anew, other = (tmp_path / f"{name}.gguf" for name in ("mine", "anew", "other"))
    write_gguf(folder, mine, "F16")
    rewritten(mine, anew, **{"general.name": "written anew"})
    write_gguf(folder, other, "Q8_0")
    blobs = {path: _as_blob(path) for path in (mine, anew, other)}

    run(f"FROM {blobs[mine]}\n")
    assert ollama(f"support?weights={mine}").identity["files_checked"] == "by the hash of the file"
    run(f"FROM {blobs[anew]}\n")
    assert ollama(f"support?weights={mine}").identity["files_checked"] == "tensor by tensor"
    run(f"FROM {blobs[other]}\n")
    with pytest.raises(ModelError, match=r"FROM is another file than .*: blk.0.attn_k.weight"):
        ollama(f"support?weights={mine}")
    run(f"FROM /gone/sha256-{'0' * 64}\n")
    with pytest.raises(ModelError, match="cannot be read here to compare the tensors"):
        ollama(f"support?weights={mine}")
    run(f"FROM {blobs[mine]}\nADAPTER {blobs[other]}\n")
    with pytest.raises(ModelError, match="Ollama has an adapter on it"):
        ollama(f"support?weights={mine}")


def _as_blob(path: Path) -> Path:
    content = path.read_bytes()
    blob = path.parent / f"sha256-{hashlib.sha256(content).hexdigest()}"
    blob.write_bytes(content)
    return blob
