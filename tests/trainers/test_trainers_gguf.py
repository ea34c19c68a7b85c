"""GGUF artifacts: what the writer writes, by hand, and what it refuses.

Reading back is tested with `gguf:`, in tests/models.
"""

from __future__ import annotations

import ctypes
import importlib.machinery
import importlib.util
import json
import logging
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.gguf_files import few_stops, set_keys
from tests.tiny_models import Tiny, make_tokenizer, muted
from tunegate.harness.records.errors import ModelError, UsageError
from tunegate.trainers import artifacts
from tunegate.trainers.artifacts import _gguf_tokenizer, _gguf_writer
from tunegate.trainers.artifacts._gguf_writer import write_gguf


@pytest.fixture(name="folder")
def _folder(tiny: Tiny, tmp_path: Path) -> Path:
    """A tiny Llama that ends its texts at three ids."""
    return few_stops(tiny.base(), tmp_path / "model")


def _fields(path: Path) -> dict[str, Any]:
    from gguf import GGUFReader

    return {key: field.contents() for key, field in GGUFReader(path).fields.items()}


def test_metadata_are_the_models(folder: Path, tmp_path: Path) -> None:
    write_gguf(folder, tmp_path / "m.gguf", "Q8_0")
    fields = _fields(tmp_path / "m.gguf")

    # file type 7 is MOSTLY_Q8_0; a head has 32 / 4 = 8 numbers
    expected = {
        "general.architecture": "llama",
        "general.file_type": 7,
        "llama.context_length": 256,
        "llama.embedding_length": 32,
        "llama.block_count": 2,
        "llama.feed_forward_length": 48,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.attention.key_length": 8,
        "llama.rope.dimension_count": 8,
        "llama.rope.freq_base": 10000.0,
        "llama.vocab_size": 320,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 0,
        "tokenizer.ggml.eot_token_id": 9,
        "tokenizer.ggml.eom_token_id": 33,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.add_space_prefix": False,
    }
    assert {key: fields[key] for key in expected} == expected
    assert fields["tokenizer.ggml.tokens"][:2] == ["<|end|>", "<|start|>"]
    assert fields["tokenizer.ggml.token_type"][:3] == [3, 3, 1]
    assert fields["tokenizer.chat_template"] == make_tokenizer().chat_template


def test_rows_of_q_and_k_stand_in_pairs() -> None:
    """A head of 4 rows, halves (0, 1) and (2, 3), is written 0, 2, 1, 3; v stays as it is."""
    config = {"num_attention_heads": 2, "num_key_value_heads": 1}
    rows = np.arange(8, dtype=np.float32)[:, None]

    q = _gguf_writer._reorder_rotary("blk.0.attn_q.weight", rows, config)
    k = _gguf_writer._reorder_rotary("blk.0.attn_k.weight", rows[:4], config)
    v = _gguf_writer._reorder_rotary("blk.0.attn_v.weight", rows, config)
    assert q[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    assert k[:, 0].tolist() == [0, 2, 1, 3]
    assert v[:, 0].tolist() == rows[:, 0].tolist()


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
    factors = _gguf_writer._frequencies(_gguf_writer._config(folder), folder)
    assert factors.tolist() == [1.0, 8.0, 8.0, 8.0]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"model_type": "mistral"}, "model_type='mistral' cannot be written .* only 'llama'"),
        ({"attention_bias": True}, "attention_bias=True cannot be written"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu' cannot be written"),
        (
            {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
            "rope_type='linear' cannot be written",
        ),
        ({"vocab_size": 300}, "the tokenizer has id 319, and the model 300 embeddings"),
    ],
)
def test_other_models_are_refused(
    folder: Path, tmp_path: Path, change: dict[str, Any], text: str
) -> None:
    set_keys(folder / "config.json", **change)

    with pytest.raises(ModelError, match=text):
        write_gguf(folder, tmp_path / "m.gguf", "F32")
    assert not (tmp_path / "m.gguf").exists()


def test_too_many_stop_ids_are_refused(tiny: Tiny, tmp_path: Path) -> None:
    """A file names three ids that end a text; dropping the others would change the answers."""
    with pytest.raises(ModelError, match=r"eos_token_id=\[0, 9, 33.*names one to 3 ids"):
        write_gguf(tiny.base(), tmp_path / "m.gguf", "F32")


def test_a_tensor_without_a_name_is_refused(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights["model.layers.0.self_attn.q_proj.lora_A.weight"] = weights["model.norm.weight"].clone()
    save_file(weights, folder / "model.safetensors", {"format": "pt"})

    with pytest.raises(
        ModelError, match=r"tensor .*lora_A\.weight has no place.*merge the adapter"
    ):
        write_gguf(folder, tmp_path / "m.gguf", "F32")


def test_a_quantisation_that_cannot_be_written_is_refused(folder: Path, tmp_path: Path) -> None:
    """K-quants are llama.cpp's own; the ones that can be written are listed."""
    with pytest.raises(UsageError, match=r"quantisation='Q4_K' cannot be written; F32, F16, BF16"):
        write_gguf(folder, tmp_path / "m.gguf", "Q4_K")


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


def test_embeddings_without_tokens_are_filled_up(folder: Path) -> None:
    """Ids behind the vocabulary are unused (type 5): the file has one token an embedding."""
    parts = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tokens, types = _gguf_tokenizer._tokens(parts, 322, folder)

    assert tokens[320:] == ["[PAD320]", "[PAD321]"]
    assert types[319:] == [1, 5, 5]


def test_other_tokenizers_are_refused(folder: Path, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save_pretrained(folder)
    with pytest.raises(ModelError, match=r"its way of cutting texts has no name in llama\.cpp"):
        write_gguf(folder, tmp_path / "m.gguf", "F32")

    words = Tokenizer(models.WordLevel({"<|end|>": 0, "a": 1}, unk_token="a"))
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<|end|>").save_pretrained(folder)
    with pytest.raises(ModelError, match="only plain byte-level BPE tokenizers are written"):
        write_gguf(folder, tmp_path / "m.gguf", "F32")


_needs_llama_cpp = pytest.mark.skipif(
    importlib.util.find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed"
)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("gguf_q8_0", 2.0),
        ("gguf_q4_0", 30.0),
        pytest.param("gguf_q6_k", 10.0, marks=_needs_llama_cpp),
        pytest.param("gguf_q4_k_m", 30.0, marks=_needs_llama_cpp),
    ],
)
def test_an_adapter_becomes_a_file(
    tiny: Tiny,
    folder: Path,
    tmp_path: Path,
    name: str,
    error: float,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Merged and rounded, it lies nearer to tuned than to base; one file is left, and the mark.

    Of the rows that are too short for a K-quant llama.cpp prints nothing.
    """
    from tunegate.harness.models.open_arms import open_arms

    with muted():
        made = artifacts.build_artifact(
            artifacts.find_artifact(name), folder, tiny.adapter(), tmp_path / "out"
        )
        printed = capfd.readouterr().err
        specs = {"base": str(folder), "tuned": str(tiny.adapter()), "shipped": made.spec}
        arms: Any = open_arms(specs)
    ids = arms["base"].probe_ids()
    base, tuned, shipped = (arms[n].probe(ids) for n in specs)
    files = sorted(path.name for path in (tmp_path / "out").iterdir())

    assert "falling back" not in printed
    assert files == [f"model-{name.removeprefix('gguf_')}.gguf", artifacts.MARK]
    assert 1e-3 < float((shipped - tuned).abs().max()) < error
    assert float((shipped - tuned).abs().mean()) < float((shipped - base).abs().mean())
    assert arms["shipped"].probe_ids() == ids


def test_llama_cpp_rounds_to_k_quants(
    tiny: Tiny, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets a file in float32 and the mixture's number; its error code is a line.

    Meanwhile its log is off: warnings of llama.cpp have the number of llama-cpp-python's errors.
    """
    from gguf import GGUFReader, LlamaFileType

    asked: list[tuple[int, str]] = []
    log, levels = logging.getLogger("llama-cpp-python"), list[int]()
    before, codes = log.level, [0, 1]
    llama = ModuleType("llama_cpp")
    llama.__spec__ = importlib.machinery.ModuleSpec("llama_cpp", None)

    class Params(ctypes.Structure):
        _fields_ = [("ftype", ctypes.c_int)]

    def quantise(plain: bytes, out: bytes, params: Any) -> int:
        kinds = {t.tensor_type.name for t in GGUFReader(plain.decode()).tensors}
        asked.append((params._obj.ftype, "+".join(sorted(kinds))))
        levels.append(log.level)
        Path(out.decode()).write_bytes(Path(plain.decode()).read_bytes())
        return codes.pop(0)

    found: dict[str, Any] = {
        "llama_model_quantize_default_params": Params,
        "llama_model_quantize": quantise,
        "LLAMA_FTYPE_MOSTLY_Q4_K_M": int(LlamaFileType.MOSTLY_Q4_K_M),
    }
    for key, value in found.items():
        setattr(llama, key, value)
    monkeypatch.setitem(sys.modules, "llama_cpp", llama)

    def made(out: Path) -> artifacts.BuiltArtifact:
        with muted():
            wanted = artifacts.find_artifact("gguf_q4_k_m")
            return artifacts.build_artifact(wanted, folder, tiny.adapter(), out)

    assert made(tmp_path / "one").spec == f"gguf:{tmp_path / 'one' / 'model-q4_k_m.gguf'}"
    assert asked == [(15, "F32")]
    with pytest.raises(ModelError, match=r"llama\.cpp did not write it in Q4_K_M \(code 1\)"):
        made(tmp_path / "two")
    assert (levels, log.level) == ([logging.CRITICAL] * 2, before)
