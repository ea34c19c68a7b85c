"""Adapters of random weights under the names and in the configurations that trainers save.

| tool | class that is trained | modules are chosen by |
|---|---|---|
| TRL | the first of `architectures` | `all-linear`, a vision tower included |
| PEFT | the text class, `AutoModelForCausalLM` | leaf names |
| Unsloth | the first of `architectures` | `get_peft_regex`: text and vision; `target_parameters` |
| LLaMA-Factory | the first of `architectures` | full names with a vision tower, else leaf names |
| Axolotl | the same, layers in wrappers | an expression for layers, `target_parameters` |
| ms-swift | the first of `architectures` | `get_multimodal_target_regex`: a prefix and leaf names |
| old | the class with vision as it was before Transformers 4.52 | leaf names |
| compiled | the first of `architectures`, by `torch.compile` | leaf names |

Sources, as of the releases in docs/reference/compatibility.md: `create_model_from_path` (TRL),
`unsloth_zoo/peft_utils.py` and `get_moe_target_parameters` (Unsloth), `model_utils/visual.py`
(LLaMA-Factory), `examples/*/*.yaml` (Axolotl), `swift/utils/transformers_utils.py` (ms-swift).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.base_families.families import model_class
from tests.tiny_models import muted

PROBE = [5, 77, 130, 21, 260, 48, 9, 110]
"""Token ids on which a saved adapter is compared with what was trained."""
TOOLS = ("trl", "peft", "unsloth", "llama_factory", "axolotl", "ms_swift", "old", "compiled")
_CANNOT = {
    "GPT2": ("unsloth", "axolotl", "ms_swift"), "Mpt": ("axolotl", "ms_swift"),
    "Mllama+": ("peft",),
    "Qwen3VL+": ("peft",), "Qwen2_5_VL+": ("peft",), "Glm4v+": ("peft",),
}  # fmt: skip
"""Family → tools whose expressions find no module in it, or that have no text class for it."""
_MAMBA = ("mamba", "mamba2", "falcon_mamba", "falcon_h1", "nemotron_h")
"""Model types of which PEFT refuses `out_proj`."""
_VISION = ("visual", "vision", "audio", "projector", "embed_vision", "connector", "multi_modal")


def save_adapter(tool: str, family: str, base: Path, out: Path) -> Any:
    """Write an adapter as the tool saves it.

    Returns:
        Logits of the trained model on the probe, [vocabulary]; None where the tool cannot train
        the family.
    """
    import torch

    if tool in _CANNOT.get(family, ()):
        return None
    torch.manual_seed(3)
    model = text_model(family, base) if tool == "peft" else own_model(family, base)
    names = [name for name in linear_names(model) if not _is_vision(name)]
    if tool == "old" and not _was_nested(model):
        return None
    config = _config(tool, model, names)
    return train_and_save(model, config, out, rename=_RENAMES.get(tool))


def train_and_save(
    model: Any,
    config: Any,
    out: Path,
    *,
    rename: Callable[[str], str] | None = None,
    embeddings: bool | str = "auto",
) -> Any:
    """Give a model an adapter of random weights, save it, and return its logits on the probe."""
    import torch
    from peft import get_peft_model

    with muted():
        tuned = get_peft_model(model, config).eval()
        for name, parameter in tuned.named_parameters():
            if re.search("lora_(B|embedding_A|embedding_B)", name):
                torch.nn.init.normal_(parameter, std=0.2)
            elif re.search("modules_to_save|trainable_tokens", name):
                with torch.no_grad():
                    parameter.add_(torch.randn_like(parameter) * 0.2)
        tuned.save_pretrained(out, save_embedding_layers=embeddings)
    if rename is not None:
        rewrite(out, lambda tensors: {rename(name): value for name, value in tensors.items()})
    return probe_logits(tuned)


def rewrite(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change the tensors of an adapter's file."""
    from safetensors.torch import load_file, save_file

    file = folder / "adapter_model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def probe_logits(model: Any) -> Any:
    """Logits behind the probe's last token, [vocabulary]."""
    import torch

    with torch.inference_mode(), muted():
        return model(input_ids=torch.tensor([PROBE]), use_cache=False).logits[0, -1]


def own_model(family: str, base: Path) -> Any:
    """The class that the folder names; Llama 4's own fails at text, so its forward is the inner."""
    model = model_class(family).from_pretrained(base)
    if family == "Llama4+":
        model.forward = model.language_model.forward
    return model


def text_model(family: str, base: Path) -> Any:
    """The text model in a class of its own, with the weights of the one with vision."""
    from transformers import AutoModelForCausalLM

    model = model_class(family).from_pretrained(base)
    if not family.endswith("+"):
        return model
    text = AutoModelForCausalLM.from_config(model.config.get_text_config())
    inner = getattr(model, "language_model", None) or model.get_decoder()
    if hasattr(inner, "lm_head"):
        text.load_state_dict(inner.state_dict())
    else:
        text.model.load_state_dict(inner.state_dict())
        text.lm_head.load_state_dict(model.lm_head.state_dict())
    return text


def linear_names(model: Any) -> list[str]:
    """Names of the linear layers but the head, and those that PEFT refuses in Mamba's layers."""
    mamba = model.config.model_type in _MAMBA
    return [
        name
        for name, module in model.named_modules()
        if type(module).__name__ in ("Linear", "Conv1D")
        and "lm_head" not in name
        and not (mamba and name.endswith("out_proj"))
        and not name[-1].isdigit()
    ]


def _is_vision(name: str) -> bool:
    return any(word in name for word in _VISION)


def _leaves(names: Sequence[str]) -> list[str]:
    return sorted({name.rpartition(".")[2] for name in names})


def _config(tool: str, model: Any, names: Sequence[str]) -> Any:
    from peft import LoraConfig

    leaves = _leaves(names)
    nested = any("language_model" in name for name in names)
    more: dict[str, Any] = {}
    targets: Any = leaves
    if tool == "trl" and not _some_linear_is_refused(model):
        targets = "all-linear"
    elif tool == "unsloth":
        targets = _unsloth_regex(model)
        found = [re.sub(r"^(?!mlp\.)\w+\.", "", name) for name in _experts(model)]
        more["target_parameters"] = found or None
    elif tool in ("trl", "llama_factory", "old", "compiled") and nested:
        targets = list(names)
    elif tool in ("axolotl", "ms_swift"):
        head = next(iter(_layer_prefixes(names)))
        if tool == "ms_swift":
            targets = rf"^({re.escape(head)}(?=\.).*\.({'|'.join(leaves)}))$"
        else:
            targets = rf"{head}.layers.[\d]+.(.+\.)?({'|'.join(leaves)})"
            more["target_parameters"] = _experts(model) or None
    elif tool == "peft":
        more = {"rank_pattern": {leaves[0]: 2}, "alpha_pattern": {leaves[0]: 32}}
    if type(model).__name__.startswith("GPT2"):
        more["fan_in_fan_out"] = True
    return LoraConfig(r=4, lora_alpha=16, target_modules=targets, task_type="CAUSAL_LM", **more)


def _some_linear_is_refused(model: Any) -> bool:
    """Whether PEFT cannot train every linear layer: a router that returns two tensors, Mamba."""
    routed = any(name.endswith("router") for name, _ in model.named_modules())
    return model.config.model_type in _MAMBA or (routed and "llama4" in model.config.model_type)


def _layer_prefixes(names: Sequence[str]) -> Iterator[str]:
    """What of the names is in front of `.layers.0.`."""
    for name in names:
        head, found, _ = name.partition(".layers.")
        if found:
            yield head


def _experts(model: Any) -> list[str]:
    """Experts that are one tensor a layer, as `lora_target_parameters` names them."""
    expert = re.compile(r"(\w+\.experts\.(?:gate_up|down)_proj)$")
    found = (expert.search(name) for name, _ in model.named_parameters())
    return sorted({match[1] for match in found if match})


_COMPONENTS = "self_attn|attention|attn|mixer|mlp|feed_forward|ffn|dense"
_EMBEDDERS = (
    "embed_vision.embedding_projection|vision_embedder.patch_dense|patch_embedder.input_proj"
)
"""Linear layers of Gemma's vision towers that are in none of these components."""


def _unsloth_regex(model: Any) -> str:
    """Return an expression for the modules that `get_peft_regex` chooses: text and vision."""
    mamba = model.config.model_type in _MAMBA
    linear = [n for n, module in model.named_modules() if type(module).__name__ == "Linear"]
    numbered = [name for name in linear if re.search(r"\.\d+\.", name)]
    leaves = {*_leaves(numbered)} - {"router", *(("out_proj",) if mamba else ())}
    last = rf"\.(?:{'|'.join(map(re.escape, sorted(leaves)))})"
    inside = rf".*?(?:{_COMPONENTS}).*?{last}"
    part = rf".*?(?:vision|visual|image|patch|language|text){inside}"
    expression = rf"{part}|model\.layers\.\d+(?!.*\.experts\.\d)\.{inside}"
    if not any(re.fullmatch(expression, name) for name in linear):
        expression = inside
    flat = [name for name in linear if re.search(rf"(?:{_EMBEDDERS})$", name)]
    if flat and model.config.model_type.startswith("gemma"):
        expression = "|".join([expression, *map(re.escape, flat)])
    others = [n for n, _ in model.named_modules() if re.fullmatch(expression, n)]
    wrong = "|".join(re.escape(name) for name in others if name not in linear)
    return rf"(?!(?:{wrong})$)(?:{expression})" if wrong else expression


def _was_nested(model: Any) -> bool:
    return hasattr(getattr(model, "model", None), "language_model")


_RENAMES: dict[str, Callable[[str], str]] = {
    "axolotl": lambda key: re.sub(r"(\.layers\.\d+)\.", r"\1._checkpoint_wrapped_module.", key),
    "old": lambda key: key.replace(
        "base_model.model.model.language_model.", "base_model.model.language_model.model."
    ),
    "compiled": lambda key: key.replace("base_model.model.", "base_model.model._orig_mod."),
}
