"""What an adapter becomes before it is served: merged, rounded to 16 bits, rounded to 4."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import muted
from tests.tiny_vlm import picture_case, pictures, save_vlm, save_vlm_adapter
from tunegate.harness.models.adapters.weight_files import weights_fingerprint
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.errors import MissingExtra, ModelError, UnknownName, UsageError
from tunegate.harness.records.generation import GenerationSettings
from tunegate.trainers import artifacts

BUILT_IN = {"four_bit", "gguf_q4_0", "gguf_q4_k_m", "gguf_q8_0", "merged", "merged_16bit"}


def make(tiny: Any, name: str, out: Path) -> artifacts.BuiltArtifact:
    """Make an artifact of the tiny adapter."""
    with muted():
        return artifacts.build_artifact(
            artifacts.find_artifact(name), tiny.base(), tiny.adapter(), out
        )


def logits(tiny: Any, spec: str) -> tuple[Any, Any]:
    """Return the probe logits of the tiny adapter and of an artifact of it."""
    with muted():
        arms: Any = open_arms(
            {"base": str(tiny.base()), "tuned": str(tiny.adapter()), "shipped": spec}
        )
    ids = arms["base"].probe_ids()
    return arms["tuned"].probe(ids), arms["shipped"].probe(ids)


def test_the_room_is_found_by_name() -> None:
    found = artifacts.available_artifacts()

    assert set(found) >= BUILT_IN
    assert all(found[name].step for name in found)


def test_an_unknown_artifact_is_named() -> None:
    with pytest.raises(UnknownName, match="unknown artifact 'mergd'; did you mean 'merged'"):
        artifacts.find_artifact("mergd")


def test_merging_keeps_the_logits(tiny: Any, tmp_path: Path) -> None:
    """In float32 the merged model computes what base and adapter compute, but for rounding."""
    tuned, shipped = logits(tiny, make(tiny, "merged", tmp_path / "merged").spec)

    assert 0 < float(tuned.abs().max())
    assert float((tuned - shipped).abs().max()) < 1e-4


@pytest.mark.parametrize("name", ["merged", "four_bit"])
def test_artifacts_of_a_model_that_sees_see(name: str, tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    if name == "four_bit":
        pytest.importorskip("bitsandbytes")
    base = save_vlm(tmp_path / "base")
    adapter = save_vlm_adapter(tmp_path / "adapter", base, targets="all-linear")
    with muted():
        made = artifacts.build_artifact(
            artifacts.find_artifact(name), base, adapter, tmp_path / "out"
        )
        arms: Any = open_arms({"base": str(base), "tuned": str(adapter), "shipped": made.spec})
    case = picture_case("a", pictures()[:1])
    tuned, shipped = (arms[n].prompt(case, GenerationSettings()) for n in ("tuned", "shipped"))
    assert tuned == shipped
    apart = arms["tuned"].probe_image() - arms["shipped"].probe_image()
    assert float(apart.abs().max()) < (1e-4 if name == "merged" else 20)


def test_sixteen_bits_round_the_weights(tiny: Any, tmp_path: Path) -> None:
    """Every weight is one of bfloat16's: the logits move, by less than the adapter moved them."""
    import torch
    from safetensors.torch import load_file

    made = make(tiny, "merged_16bit", tmp_path / "out")
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    tuned, shipped = logits(tiny, made.spec)

    assert {t.dtype for t in tensors.values()} == {torch.bfloat16}
    assert 1e-4 < float((tuned - shipped).abs().max()) < 1.0


def test_four_bits_are_nf4(tiny: Any, tmp_path: Path) -> None:
    """The folder opens as a 4-bit model, without the whole weights that it was made of."""
    pytest.importorskip("bitsandbytes")
    made = make(tiny, "four_bit", tmp_path / "out")
    with muted():
        arms = open_arms({"base": str(tiny.base()), "tuned": made.spec})

    quantised = arms["tuned"].loaded.torch_model.config.quantization_config
    assert arms["tuned"].identity["dtype"] == "float32, 4-bit bitsandbytes"
    assert quantised.bnb_4bit_quant_type == "nf4"
    assert [p.name for p in (tmp_path / "out").iterdir() if p.is_dir()] == []


def test_the_tokenizer_is_the_tuned_arms(tiny: Any, tmp_path: Path) -> None:
    """Its files are copied, not saved again: the template must not change by a byte."""
    make(tiny, "merged", tmp_path / "out")

    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (tmp_path / "out" / name).read_bytes() == (tiny.base() / name).read_bytes()


def test_the_adapters_own_tokenizer_comes_first(tiny: Any, tmp_path: Path, copied: Any) -> None:
    adapter = copied(tiny.adapter())
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (adapter / name).write_bytes((tiny.base() / name).read_bytes())
    (adapter / "chat_template.jinja").write_text("{{ messages[0]['content'] }}", encoding="utf-8")
    with muted():
        artifacts.build_artifact(
            artifacts.find_artifact("merged"), tiny.base(), adapter, tmp_path / "out"
        )

    assert (tmp_path / "out" / "chat_template.jinja").read_text() == "{{ messages[0]['content'] }}"


def test_what_was_made_is_not_made_again(tiny: Any, tmp_path: Path) -> None:
    """The same base and adapter find their artifact; another adapter replaces it."""
    first = make(tiny, "merged", tmp_path / "out")
    again = make(tiny, "merged", tmp_path / "out")
    before = weights_fingerprint(tmp_path / "out")
    with muted():
        artifacts.build_artifact(
            artifacts.find_artifact("merged"), tiny.base(), tiny.adapter(seed=2), tmp_path / "out"
        )

    assert (first.again, again.again) == (False, True)
    assert first.spec == again.spec == str(tmp_path / "out")
    assert first.size == again.size > 10_000
    assert weights_fingerprint(tmp_path / "out") != before


def test_a_folder_with_other_files_is_left_alone(tiny: Any, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")

    with pytest.raises(UsageError, match="holds other files"):
        make(tiny, "merged", tmp_path)
    assert (tmp_path / "thesis.txt").read_text(encoding="utf-8") == "mine"


def test_an_interrupted_making_starts_again(tiny: Any, tmp_path: Path) -> None:
    merged = artifacts.find_artifact("merged")

    def stopped(base: Path, adapter: Path, out: Path) -> str:
        (out / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        artifacts.build_artifact(
            replace(merged, make=stopped), tiny.base(), tiny.adapter(), tmp_path / "out"
        )

    assert make(tiny, "merged", tmp_path / "out").again is False
    assert (tmp_path / "out" / "model.safetensors").stat().st_size > 10_000


def test_virtual_tokens_cannot_be_merged(tiny: Any, tmp_path: Path) -> None:
    from peft import PromptTuningConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    with muted():
        model = AutoModelForCausalLM.from_pretrained(tiny.base())
        config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
        get_peft_model(model, config).save_pretrained(tmp_path / "prompt")

    with pytest.raises(ModelError, match="virtual tokens cannot be merged"), muted():
        artifacts.build_artifact(
            artifacts.find_artifact("merged"), tiny.base(), tmp_path / "prompt", tmp_path / "out"
        )


def test_without_bitsandbytes(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence with the pip line, before anything is loaded."""
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else real(name)
    )

    with pytest.raises(MissingExtra, match=r"4-bit artifact .* 'tunegate\[quantized\]'"):
        make(tiny, "four_bit", tmp_path / "out")


def test_without_mlx_its_artifacts_are_left_out_in_one_line(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TUNEGATE_MLX", raising=False)
    monkeypatch.setenv("TUNEGATE_CACHE", str(tmp_path / "cache"))
    for name in ("mlx", "mlx_4bit"):
        with pytest.raises(ModelError, match="MLX is not installed: `tunegate install mlx`"):
            make(tiny, name, tmp_path / name)


@pytest.mark.skipif("TUNEGATE_MLX" not in os.environ, reason="TUNEGATE_MLX is not set")
def test_mlx_fuses_what_base_and_adapter_compute(tiny: Any, tmp_path: Path) -> None:
    spec = make(tiny, "mlx", tmp_path / "mlx").spec
    tuned, shipped = logits(tiny, spec.removeprefix("mlx:"))

    assert spec == f"mlx:{tmp_path / 'mlx'}"
    assert float((tuned - shipped).abs().max()) < 1e-4
