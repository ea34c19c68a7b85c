"""GGUF artifacts: made by llama.cpp's programs, with a Modelfile; what is missing is one line."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.gguf_files import few_stops, needs_gguf
from tests.llama_cpp_programs import make_programs, real_llama_cpp
from tests.tiny_models import Tiny, muted
from tunegate.harness.models.gguf_format import converters
from tunegate.harness.records.errors import MissingExtra, ModelError
from tunegate.trainers import artifacts
from tunegate.trainers.artifacts import gguf

pytestmark = needs_gguf


@pytest.fixture(name="folder")
def _folder(tiny: Tiny, tmp_path: Path) -> Path:
    """A tiny Llama that ends its texts at three ids."""
    return few_stops(tiny.base(), tmp_path / "model")


@pytest.fixture(name="llama_cpp")
def _llama_cpp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with stand-ins for llama.cpp's programs, which is used."""
    sentencepiece = ModuleType("sentencepiece")
    sentencepiece.__spec__ = importlib.machinery.ModuleSpec("sentencepiece", None)
    monkeypatch.setitem(sys.modules, "sentencepiece", sentencepiece)
    home = make_programs(tmp_path / "llama.cpp")
    monkeypatch.setenv(converters.HOME, str(home))
    return home


def _made(name: str, folder: Path, adapter: Path, out: Path) -> artifacts.BuiltArtifact:
    with muted():
        return artifacts.build_artifact(artifacts.find_artifact(name), folder, adapter, out)


@pytest.mark.usefixtures("llama_cpp")
@pytest.mark.parametrize(
    ("name", "error"), [("gguf_f16", 0.1), ("gguf_q8_0", 2.0), ("gguf_q4_k_m", 0.1)]
)
def test_an_adapter_becomes_a_file(
    tiny: Tiny, folder: Path, tmp_path: Path, name: str, error: float
) -> None:
    from tunegate.harness.models.open_arms import open_arms

    made = _made(name, folder, tiny.adapter(), tmp_path / "out")
    specs = {"base": str(folder), "tuned": str(tiny.adapter()), "shipped": made.spec}
    arms: Any = open_arms(specs)
    ids = arms["base"].probe_ids()
    base, tuned, shipped = (arms[n].probe(ids) for n in specs)
    file = f"model-{name.removeprefix('gguf_')}.gguf"

    assert made.spec == f"gguf:{tmp_path / 'out' / file}"
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == ["Modelfile", file, artifacts.MARK]
    assert float((shipped - tuned).abs().max()) < error
    assert float((shipped - tuned).abs().mean()) < float((shipped - base).abs().mean())
    assert arms["shipped"].probe_ids() == ids


@pytest.mark.usefixtures("llama_cpp")
def test_an_adapter_becomes_a_lora_file_beside_base(
    tiny: Tiny, folder: Path, tmp_path: Path
) -> None:
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    out = tmp_path / "out"
    made = _made("gguf_lora", folder, tiny.adapter(), out)

    assert made.spec == f"llama-server:{out}/base-16bit.gguf?lora={out}/adapter-f32.gguf"
    assert "FROM ./base-16bit.gguf\nADAPTER ./adapter-f32.gguf\n" in (out / "Modelfile").read_text()
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_without_llama_cpp_it_is_left_out_in_one_line(
    tiny: Tiny, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(converters.HOME, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ModelError) as caught:
        _made("gguf_q8_0", folder, tiny.adapter(), tmp_path / "out")
    assert str(caught.value) == (
        "convert_hf_to_gguf.py is not on PATH; get it with `git clone --depth 1 "
        "https://github.com/ggml-org/llama.cpp` (nothing to build) and name the folder: "
        "--llama-cpp DIR"
    )


def test_what_the_converter_refuses_is_its_own_last_line(llama_cpp: Path, folder: Path) -> None:
    (folder / "unknown").touch()

    with pytest.raises(ModelError, match=r"^convert_hf_to_gguf\.py refused the model: Not.*ange"):
        converters.convert("convert_hf_to_gguf.py", folder, "--outfile", llama_cpp / "m.gguf")


def test_a_failed_rounding_is_one_line(llama_cpp: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"llama-quantize refused the model: .*failed to quant"):
        converters.quantise(llama_cpp / "a.gguf", tmp_path / "b.gguf", "Q6_K")


def test_packages_of_the_converter_are_named_by_their_extra(
    llama_cpp: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "sentencepiece" else name
    )

    with pytest.raises(MissingExtra, match=r"a GGUF file needs .*tunegate\[gguf\]"):
        converters.convert("convert_hf_to_gguf.py", folder, "--outfile", llama_cpp / "m.gguf")


def test_without_a_quantiser_nothing_is_merged(
    tiny: Tiny, llama_cpp: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (llama_cpp / "build" / "bin" / "llama-quantize").unlink()
    monkeypatch.delattr(gguf, "_merged")

    with pytest.raises(ModelError, match=r"llama-quantize.*build it with cmake"):
        _made("gguf_q4_k_m", folder, tiny.adapter(), tmp_path / "out")


@pytest.mark.slow
@pytest.mark.long
@real_llama_cpp
@pytest.mark.parametrize(("architecture", "words"), [("mistral", "llama-spm"), ("qwen2", "qwen2")])
def test_the_real_converter_writes_what_the_adapter_computes(
    tmp_path: Path, architecture: str, words: str
) -> None:
    from tunegate.harness.models.open_arms import open_arms

    base, adapter = _family(architecture, words, tmp_path)
    made = _made("gguf_f16", base, adapter, tmp_path / "out")
    arms: Any = open_arms({"base": str(base), "tuned": str(adapter), "shipped": made.spec})
    ids = arms["base"].probe_ids()
    before, tuned, shipped = (arms[n].probe(ids) for n in ("base", "tuned", "shipped"))

    assert arms["shipped"].probe_ids() == ids
    assert float((shipped - tuned).abs().mean()) < 0.02 * float((before - tuned).abs().mean())


def _family(architecture: str, words: str, place: Path) -> tuple[Path, Path]:
    """Save a tiny model with a vocabulary that llama.cpp's clone brings, and an adapter of it."""
    import torch
    from transformers import AutoModelForCausalLM

    from tests.tiny_models import _save_adapter, make_config
    from tunegate.harness.models.gguf_format.file import read_gguf
    from tunegate.harness.models.gguf_format.tokenizer import gguf_tokenizer

    home = Path(os.environ[converters.HOME])
    tokenizer = gguf_tokenizer(read_gguf(home / "models" / f"ggml-vocab-{words}.gguf"), None)
    config = make_config(architecture)
    config.vocab_size = len(tokenizer)
    config.sliding_window = None  # llama.cpp has none for Mistral
    config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(place / "base")
    tokenizer.save_pretrained(place / "base")
    _save_adapter(place / "adapter", place / "base", 1, dead=False)
    return place / "base", place / "adapter"
