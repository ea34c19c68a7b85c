"""`llama-server:`: files become one server each, adapters fields of a request; it ends with us."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.gguf_files import few_stops, needs_gguf
from tests.gguf_writer import write_gguf, write_lora
from tests.llama_cpp_programs import make_programs
from tests.tiny_models import Tiny
from tunegate.harness.contracts.model import PoolLimits, ServerHosting
from tunegate.harness.models import llama_server
from tunegate.harness.models.gguf_format import converters
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.errors import ModelError

pytestmark = needs_gguf


@pytest.fixture(scope="module", name="files")
def _files(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with base.gguf, other.gguf and lora.gguf."""
    place = tmp_path_factory.mktemp("gguf")
    for name, kind in (("base", "F16"), ("other", "Q8_0")):
        write_gguf(few_stops(tiny.base(), place / name), place / f"{name}.gguf", kind)
    write_lora(place / "lora.gguf", rank=4)
    return place


@pytest.fixture(name="program")
def _program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for llama-server, which is used."""
    home = make_programs(tmp_path / "llama.cpp")
    monkeypatch.setenv(converters.HOME, str(home))
    monkeypatch.delenv(converters.SERVER, raising=False)
    return home / "build" / "bin" / "llama-server"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("?lorra=x", "unknown option 'lorra'; did you mean 'lora'"),
        ("?lora=", "lora= has no value"),
        ("?scale=much", "scale='much' is not a number"),
        ("?context=8", "context='8' is not a number of tokens from 16 on"),
        ("?lora=nowhere.gguf", "nowhere.gguf: no such file"),
        ("?tokenizer=nowhere", "nowhere: no such folder"),
        ("?weights=nowhere", "nowhere: no such folder"),
    ],
)
def test_mistakes_in_a_spec_are_one_line_before_the_server_is_looked_for(
    files: Path, monkeypatch: pytest.MonkeyPatch, query: str, message: str
) -> None:
    monkeypatch.setenv(converters.SERVER, str(files / "no-llama-server"))

    with pytest.raises(ModelError, match=message):
        llama_server.llama_server(f"{files}/base.gguf{query}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "qwen2"}, "an adapter of a qwen2 model, and .* is llama"),
        ({"wide": 48}, r"tensor blk\.0\.attn_v\.weight\.lora_a has no place in"),
    ],
)
def test_an_adapter_of_another_model_is_refused(
    files: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    write_lora(tmp_path / "l.gguf", rank=4, **change)

    with pytest.raises(ModelError, match=message):
        llama_server.parse_llama_server_spec(
            f"llama-server:{files}/base.gguf?lora={tmp_path}/l.gguf"
        )


def test_an_adapter_is_added_to_the_unpacked_weights(files: Path) -> None:
    """scale · alpha / rank · B·A, on v of the first layer alone."""
    from gguf import GGUFReader

    from tunegate.harness.models.gguf import gguf

    plain, tuned = (
        dict(gguf(f"{files}/base.gguf{query}").loaded.torch_model.named_parameters())  # type: ignore[attr-defined]
        for query in ("", f"?lora={files}/lora.gguf&scale=0.5")
    )
    a, b = (tensor.data for tensor in GGUFReader(files / "lora.gguf").tensors)
    changed = [name for name in plain if not plain[name].equal(tuned[name])]

    assert changed == ["model.layers.0.self_attn.v_proj.weight"]
    step = (tuned[changed[0]] - plain[changed[0]]).detach().numpy()
    assert step == pytest.approx(0.5 * 8 / 4 * (b @ a), abs=1e-5)


def test_arms_of_a_file_share_a_server_and_differ_by_their_requests(
    files: Path, program: Path, tmp_path: Path
) -> None:
    base = f"llama-server:{files}/base.gguf"
    specs = {"base": base, "tuned": f"{base}?lora={files}/lora.gguf&scale=0.5"}
    specs["shipped"] = f"llama-server:{files}/other.gguf?context=64"
    said: list[str] = []
    hosting = ServerHosting(tmp_path, said.append)
    arms: Any = open_arms(specs, limits=PoolLimits(concurrency=2), hosting=hosting)

    assert arms["base"].process is arms["tuned"].process is not arms["shipped"].process
    scales = [arm.client.form.plain.get("lora") for arm in arms.values()]
    assert scales == [[{"id": 0, "scale": 0.0}], [{"id": 0, "scale": 0.5}], None]
    assert arms["tuned"].probed[0][0].endswith('lora [{"id": 0, "scale": 0.5}]')
    assert {arm.dialect.name for arm in arms.values()} == {"llama.cpp"}
    assert {arm.client.form.prompts for arm in arms.values()} == {"token ids"}
    assert [arm.settings.context for arm in arms.values()] == [256, 256, 64]
    assert arms["tuned"].weights_spec == (
        f"gguf:{files}/base.gguf?lora={files}/lora.gguf&scale=0.5"
    )
    assert said[0] == (
        f"starting {program} for base and tuned: log {tmp_path}/llama-server-base.log"
    )
    assert len({arm.fingerprint for arm in arms.values()}) == 3
    logprobs = arms["base"].next_logprobs([[1, 2], [3]])
    assert [len(one) for one in logprobs] == [20, 20]
    assert logprobs[0][2] == -3.0
    process = arms["base"].process
    arms.clear()
    for _ in range(100):
        if not process.alive:
            break
        process.stop()
        time.sleep(0.05)
    assert not process.alive


def test_base_of_an_adapter_is_its_file(files: Path, program: Path) -> None:
    arms: Any = open_arms(
        {"base": None, "tuned": f"llama-server:{files}/base.gguf?lora={files}/lora.gguf"}
    )

    assert arms["base"].spec == f"llama-server:{files}/base.gguf"
    arms["base"].process.stop()


def test_a_server_that_does_not_start_is_the_last_error_of_its_log(
    files: Path, program: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes((files / "base.gguf").read_bytes())

    with pytest.raises(ModelError, match=r"llama-server for base ended while it started: .*broken"):
        llama_server.llama_server(str(broken))


@pytest.mark.parametrize(("named", "words"), [(True, "is not there"), (False, "is not on PATH")])
def test_a_missing_server_is_one_line(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool, words: str
) -> None:
    monkeypatch.delenv(converters.HOME, raising=False)
    monkeypatch.delenv(converters.SERVER, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    if named:
        monkeypatch.setenv(converters.SERVER, str(tmp_path / "llama-server"))

    with pytest.raises(ModelError, match=rf"{words}; install llama\.cpp .*--llama-cpp DIR"):
        llama_server.llama_server(f"{files}/base.gguf")


def test_arms_with_different_contexts_do_not_share_a_server(files: Path, program: Path) -> None:
    specs = [f"llama-server:{files}/base.gguf?context={n}" for n in (64, 128)]

    with pytest.raises(ModelError, match=r"context=128, and .* has 64; give both one"):
        open_arms({"base": specs[0], "tuned": specs[1]})
