"""Adapters as trainers save them, on the bases that people have: what was trained, or why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.base_families import adapters
from tests.base_families.families import FAMILIES, model_class, save_family
from tests.tiny_models import muted
from tunegate.harness.checks.liveness import check_liveness
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.errors import ModelError, NotComparable

SHORT = ("Qwen3_5+", "Mistral3+")
Made = Callable[[str], Path]


@pytest.fixture(name="base", scope="session")
def _base(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The folder of a family's model, made once a session."""
    root = tmp_path_factory.mktemp("bases")

    def make(family: str) -> Path:
        if not (root / family).is_dir():
            save_family(family, root / family)
        return root / family

    return make


def _open(base: Path, adapter: Path) -> dict[str, Any]:
    with muted():
        return dict(open_arms({"base": str(base), "tuned": str(adapter)}))


def _prove(family: str, base: Path, adapter: Path, trained: Any) -> None:
    """Tuned has the logits of what was trained, base those of base, and the proof of it passes."""
    arms = _open(base, adapter)
    with muted():
        assert check_liveness(arms)["tuned"]["status"] == "proven"
    plain = adapters.probe_logits(adapters.own_model(family, base).eval())
    for name, expected in (("tuned", trained), ("base", plain), ("tuned", trained)):
        with arms[name].active() as model:
            found = adapters.probe_logits(model)
        size = expected.shape[0]
        assert (found[:size] - expected).abs().max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("family", SHORT)
@pytest.mark.parametrize("tool", ["trl", "peft", "unsloth", "axolotl", "old"])
def test_a_layout_is_what_was_trained(base: Made, tmp_path: Path, family: str, tool: str) -> None:
    trained = adapters.save_adapter(tool, family, base(family), tmp_path)
    _prove(family, base(family), tmp_path, trained)


@pytest.mark.slow
@pytest.mark.long  # eight tools on fifty-eight families: eight minutes
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tool", adapters.TOOLS)
def test_every_layout_on_every_family(base: Made, tmp_path: Path, family: str, tool: str) -> None:
    trained = adapters.save_adapter(tool, family, base(family), tmp_path)
    if trained is not None:
        _prove(family, base(family), tmp_path, trained)


@pytest.mark.slow
def test_a_vision_tower_that_is_not_loaded_is_left_out(base: Made, tmp_path: Path) -> None:
    """Llama 4's language model is computed alone: LoRA on its tower changes no text, and its
    folder is the same base.
    """
    from safetensors.torch import load_file

    trained = adapters.save_adapter("unsloth", "Llama4+", base("Llama4+"), tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    assert any(".vision_model." in name for name in load_file(file))
    _prove("Llama4+", base("Llama4+"), tmp_path, trained)


@pytest.mark.slow
def test_an_adapter_of_a_vision_tower_alone_is_named(base: Made, tmp_path: Path) -> None:
    adapters.save_adapter("unsloth", "Llama4+", base("Llama4+"), tmp_path)
    adapters.rewrite(tmp_path, lambda t: {k: v for k, v in t.items() if ".vision_model." in k})
    with pytest.raises(ModelError, match=r"trains only parts that text does not use: .*vision_mod"):
        _open(base("Llama4+"), tmp_path)


SPECIAL: dict[str, dict[str, Any]] = {
    "dora": {"use_dora": True},
    "rslora": {"use_rslora": True, "r": 8},
    "one layer": {"layers_to_transform": [1]},
    "head and embeddings": {"modules_to_save": ["lm_head", "embed_tokens"]},
    "some tokens": {"trainable_token_indices": [5, 77, 130]},
    "embeddings by LoRA": {"target_modules": ["q_proj", "embed_tokens", "lm_head"]},
}


@pytest.mark.slow
@pytest.mark.parametrize("outer", [True, False], ids=["own class", "text class"])
@pytest.mark.parametrize("special", SPECIAL)
def test_a_special_adapter_of_either_class(
    base: Made, tmp_path: Path, special: str, outer: bool
) -> None:
    """DoRA, whole modules, tokens and LoRA on embeddings, saved by either class of Qwen3.5."""
    from peft import LoraConfig

    family = "Qwen3_5+"
    load = adapters.own_model if outer else adapters.text_model
    targets = ["q_proj", "v_proj", "in_proj_qkv", "down_proj"]
    config = {"r": 4, "target_modules": targets, "task_type": "CAUSAL_LM", **SPECIAL[special]}
    trained = adapters.train_and_save(load(family, base(family)), LoraConfig(**config), tmp_path)
    _prove(family, base(family), tmp_path, trained)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["Llama", "Gemma3", "Qwen3_5+", "Gemma3+"])
def test_added_tokens_are_the_fine_tune_s_alone(base: Made, tmp_path: Path, family: str) -> None:
    """A vocabulary that was enlarged in training: tuned has the new rows, base does not.

    Gemma's head is tied to the embeddings. PEFT sees only the vocabulary of a text class grow.
    """
    trained = _enlarge(base(family), family, tmp_path, embeddings=True)
    if family.startswith("Gemma3"):
        adapters.rewrite(tmp_path, lambda t: {k: v for k, v in t.items() if "lm_head" not in k})
    arms = _open(base(family), tmp_path)
    sizes = {}
    for name, arm in arms.items():
        with arm.active() as model:
            found = adapters.probe_logits(model)
        sizes[name] = found.shape[0]
        if name == "tuned":
            assert (found - trained).abs().max() < 1e-4
    assert sizes == {"base": 320, "tuned": 324}
    with muted():
        assert check_liveness(arms)["tuned"]["status"] == "proven"


def _enlarge(base: Path, family: str, out: Path, *, embeddings: bool) -> Any:
    """Train with four more tokens."""
    import torch
    from peft import LoraConfig

    model = adapters.own_model(family, base)
    torch.manual_seed(1)
    model.resize_token_embeddings(324, mean_resizing=False)
    config = LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM")
    config.base_model_name_or_path = str(base)
    return adapters.train_and_save(model, config, out, embeddings=embeddings)


@pytest.mark.slow
def test_added_tokens_without_their_embeddings(base: Made, tmp_path: Path) -> None:
    """PEFT leaves the new rows out on a class with vision: refused, not an index error later."""
    from tests.tiny_models import make_tokenizer

    family = "Qwen3_5+"
    _enlarge(base(family), family, tmp_path, embeddings=False)
    tokenizer = make_tokenizer()
    tokenizer.add_tokens([f"<new{i}>" for i in range(324 - len(tokenizer))])
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"324 tokens.*320.*save_embedding_layers"):
        _open(base(family), tmp_path)


@pytest.mark.slow
def test_experts_of_older_transformers(base: Made, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    r, scale = 2, 8 / 2
    torch.manual_seed(4)
    model = model_class("Mixtral").from_pretrained(base("Mixtral")).eval()
    tensors, sizes = {}, {"w1": (32, 48), "w3": (32, 48), "w2": (48, 32)}
    with torch.no_grad():
        for layer in range(2):
            experts = model.model.layers[layer].mlp.experts
            for expert in range(4):
                for leaf, (inside, outside) in sizes.items():
                    a, b = torch.randn(r, inside) * 0.2, torch.randn(outside, r) * 0.2
                    name = f"base_model.model.model.layers.{layer}.block_sparse_moe.experts"
                    tensors[f"{name}.{expert}.{leaf}.lora_A.weight"] = a
                    tensors[f"{name}.{expert}.{leaf}.lora_B.weight"] = b
                    rows = {"w1": slice(0, 48), "w3": slice(48, 96), "w2": slice(None)}[leaf]
                    weight = experts.down_proj if leaf == "w2" else experts.gate_up_proj
                    weight[expert, rows] += scale * b @ a
    save_file(tensors, tmp_path / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": r, "lora_alpha": 8,
        "target_modules": ["w1", "w2", "w3"], "base_model_name_or_path": str(base("Mixtral")),
    }  # fmt: skip
    (tmp_path / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    _prove("Mixtral", base("Mixtral"), tmp_path, adapters.probe_logits(model))


def _drop(tensors: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in tensors.items() if "layers.1.self_attn.q_proj.lora_B" not in k}


def _add(tensors: dict[str, Any]) -> dict[str, Any]:
    name = next(k for k in tensors if "layers.1.self_attn.q_proj.lora_A" in k)
    return {**tensors, name.replace("layers.1", "layers.7"): tensors[name].clone()}


def _empty(tensors: dict[str, Any]) -> dict[str, Any]:
    return {
        k: v[:0].clone() if "layers.1.self_attn.q_proj.lora_B" in k else v
        for k, v in tensors.items()
    }


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "missing": (_drop, r"tensor .*layers\.1\.self_attn\.q_proj\.lora_B.* is missing"),
    "extra": (_add, r"it has no module model\.(language_model\.)?layers\.7\.self_attn\.q_proj"),
    "empty, as ZeRO-3 leaves it": (_empty, r"layers\.1\.self_attn\.q_proj"),
}


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["trl", "peft"])
@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_adapter_is_refused_by_its_tensor(
    base: Made, tmp_path: Path, broken: str, tool: str
) -> None:
    change, message = BROKEN[broken]
    adapters.save_adapter(tool, "Qwen3_5+", base("Qwen3_5+"), tmp_path)
    adapters.rewrite(tmp_path, change)
    with pytest.raises((ModelError, NotComparable), match=message) as caught:
        _open(base("Qwen3_5+"), tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("bias", ["all", "lora_only"])
def test_trained_biases_of_base_are_named(base: Made, tmp_path: Path, bias: str) -> None:
    """They would change base itself; what to do instead."""
    from peft import LoraConfig

    config = LoraConfig(r=4, target_modules=["c_attn"], bias=bias, fan_in_fan_out=True)
    adapters.train_and_save(adapters.own_model("GPT2", base("GPT2")), config, tmp_path)
    with pytest.raises(ModelError, match=rf"bias='{bias}' trains base's own biases.*; merge it"):
        _open(base("GPT2"), tmp_path)


@pytest.mark.slow
def test_a_vision_tensor_on_a_text_class_is_named(base: Made, tmp_path: Path) -> None:
    adapters.save_adapter("trl", "Qwen3_5+", base("Qwen3_5+"), tmp_path / "adapter")
    adapters.text_model("Qwen3_5+", base("Qwen3_5+")).save_pretrained(tmp_path / "text")
    for file in base("Qwen3_5+").glob("tokenizer*"):
        (tmp_path / "text" / file.name).write_bytes(file.read_bytes())
    adapters.rewrite(
        tmp_path / "adapter",
        lambda t: {
            **t,
            **{
                k.replace("language_model.layers.0.mlp", "visual.blocks.0.mlp"): v.clone()
                for k, v in t.items()
            },
        },
    )
    name = tmp_path / "adapter" / "adapter_config.json"
    value = json.loads(name.read_text(encoding="utf-8"))
    value["base_model_name_or_path"] = "someone/qwen"
    name.write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(
        NotComparable, match=r"no module model\.visual\.blocks\.0.*Qwen3_5ForCausalLM"
    ):
        _open(tmp_path / "text", tmp_path / "adapter")


@pytest.mark.slow
@pytest.mark.parametrize(
    "trained",
    [
        {"modules_to_save": ["embed_tokens", "lm_head"]},
        {"trainable_token_indices": {"embed_tokens": [320, 321]}},
    ],
    ids=["modules_to_save", "trainable_tokens"],
)
def test_tokens_that_base_lacks_are_named(
    tiny: Any, tmp_path: Path, trained: dict[str, Any]
) -> None:
    """Changes to embeddings of 322 rows cannot be put onto 320; the message has rows and remedy."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"], **trained)
    with muted():
        model: Any = AutoModelForCausalLM.from_pretrained(tiny.base())
        model.resize_token_embeddings(322)
        get_peft_model(model, config).save_pretrained(tmp_path / "adapter")

    with pytest.raises(NotComparable, match=r"322 rows and base's 320: tokens were added.*resize"):
        open_arms({"base": str(tiny.base()), "tuned": str(tmp_path / "adapter")})
