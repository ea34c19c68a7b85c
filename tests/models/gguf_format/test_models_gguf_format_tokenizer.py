"""What is in a GGUF file besides weights is read as llama.cpp does: splits, bos, positions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.gguf_files import few_stops, needs_gguf, set_keys
from tests.gguf_writer import frequencies, write_gguf
from tests.tiny_models import Tiny, make_tokenizer

pytestmark = needs_gguf


@pytest.fixture(name="folder")
def _folder(tiny: Tiny, tmp_path: Path) -> Path:
    """A tiny Llama that ends its texts at three ids."""
    return few_stops(tiny.base(), tmp_path / "model")


def _fields(path: Path) -> dict[str, Any]:
    from gguf import GGUFReader

    return {key: field.contents() for key, field in GGUFReader(path).fields.items()}


def test_scaled_positions_are_written_and_read(folder: Path, tmp_path: Path) -> None:
    """Llama 3's frequencies reach the file, and the logits of the model read from it."""
    from tunegate.harness.models.gguf import gguf
    from tunegate.harness.models.open_arms import open_arms

    set_keys(
        folder / "config.json",
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 10000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    )
    write_gguf(folder, tmp_path / "m.gguf", "F32")
    base: Any = open_arms({"base": str(folder), "tuned": str(folder)})["base"]
    read: Any = gguf(str(tmp_path / "m.gguf"))
    ids = base.probe_ids()

    assert float((read.probe(ids) - base.probe(ids)).abs().max()) < 1e-4
    # wavelengths of 4 pairs: 2π × 1, 10, 100, 1000; below 32 / 4 untouched, above 32 / 1 whole 8
    config = json.loads((folder / "config.json").read_bytes())
    factors = frequencies(config)
    assert factors.tolist() == [1.0, 8.0, 8.0, 8.0]


@pytest.mark.parametrize("name", ["smollm", "qwen2", "llama-bpe"])
def test_ways_of_splitting_have_llama_cpps_names(folder: Path, tmp_path: Path, name: str) -> None:
    """Digits apart, and the regular expressions of Qwen 2 and Llama 3, come back as they were."""
    from tokenizers import Regex, pre_tokenizers
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    from tunegate.harness.models.gguf import gguf

    tokenizer = make_tokenizer()
    backend = tokenizer.backend_tokenizer
    first: Any = pre_tokenizers.Digits(individual_digits=True)
    if name != "smollm":
        first = pre_tokenizers.Split(Regex(GGUF_PRE_TOKENIZER_SPLITS[name]), "isolated")
        backend.model.ignore_merges = name == "llama-bpe"
    last = pre_tokenizers.ByteLevel(False, use_regex=name == "smollm")
    backend.pre_tokenizer = pre_tokenizers.Sequence([first, last])
    tokenizer.save_pretrained(folder)
    write_gguf(folder, tmp_path / "m.gguf", "F32")

    read: Any = gguf(str(tmp_path / "m.gguf"))
    cut = read.tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str
    text = "The parcel's 1234 refunds,\n\n  it'S"
    assert _fields(tmp_path / "m.gguf")["tokenizer.ggml.pre"] == name
    assert cut(text) == backend.pre_tokenizer.pre_tokenize_str(text)
    assert read.tokenizer(text)["input_ids"] == tokenizer(text)["input_ids"]


def test_a_bos_token_in_front_is_kept(folder: Path, tmp_path: Path) -> None:
    from tunegate.harness.models.gguf import gguf

    make_tokenizer(bos=True).save_pretrained(folder)
    write_gguf(folder, tmp_path / "m.gguf", "F32")
    read: Any = gguf(str(tmp_path / "m.gguf"))

    assert _fields(tmp_path / "m.gguf")["tokenizer.ggml.add_bos_token"] is True
    assert read.tokenizer("a refund")["input_ids"][0] == 1


@pytest.mark.parametrize("bos", [True, False])
def test_what_stands_in_front_is_read_without_transformers(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bos: bool
) -> None:
    """Transformers before 5.23 leaves out what the file says of tokens before a text."""
    from transformers.integrations.gguf import gguf_tokenizer_mapping

    from tunegate.harness.models.gguf import gguf

    newer = gguf_tokenizer_mapping.get_gguf_tokenizer

    def older(*args: Any, **kwargs: Any) -> Any:
        architecture, parts, settings = newer(*args, **kwargs)
        told = ("add_bos_token", "add_eos_token")
        return architecture, parts, {k: v for k, v in settings.items() if k not in told}

    make_tokenizer(bos=bos).save_pretrained(folder)
    write_gguf(folder, tmp_path / "m.gguf", "F32")
    monkeypatch.setattr(gguf_tokenizer_mapping, "get_gguf_tokenizer", older)
    read: Any = gguf(str(tmp_path / "m.gguf"))

    assert (read.tokenizer("a refund")["input_ids"][0] == 1) is bos
