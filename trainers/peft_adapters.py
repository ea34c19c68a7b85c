"""PEFT adapters: what `--peft KIND` trains, each by PEFT's own configuration.

| kind | trained | saved as |
|---|---|---|
| `lora` | two small matrices next to each linear layer (TRL's `--lora_…` options) | adapter |
| `qlora` | the same, on a base in 4 bits: NF4 with double quantisation | adapter |
| `dora` | LoRA with the length of each weight row apart | adapter |
| `prompt` | embeddings of virtual tokens in front of the prompt | adapter |
| `prefix` | keys and values of virtual tokens in every layer | adapter |
| `ia3` | one factor for each key, value and feed-forward channel | adapter |
| `bitfit` | the biases, and nothing else (`trainers/bitfit.py`) | whole model |
| `none` | all weights | whole model |

Without `--peft`, TRL's own `--use_peft`, `--load_in_4bit` and `--use_dora` have the same effect.
`--adapter_name_or_path` continues training an existing adapter.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunegate.harness.models.adapters.weight_files import refuse_unsafe
from tunegate.harness.records.errors import MissingExtra, ModelError, UsageError

if TYPE_CHECKING:
    from tunegate.trainers.arguments import TrainingConfig
    from tunegate.trainers.base_model import BaseModel

COMMON = ("lora", "qlora", "dora", "ia3", "none")
"""Kinds that every method that writes texts can train."""
VIRTUAL_TOKENS = ("prompt", "prefix")
"""Kinds that put tokens in front of every prompt."""
WHOLE = ("bitfit", "none")
"""Kinds that are saved as a whole model."""
_LORA = ("lora", "qlora", "dora")
PAGED = "paged_adamw_32bit"
"""Optimizer of QLoRA on a GPU: its state moves to the processor's memory when the GPU's is short
(https://arxiv.org/abs/2305.14314, section 3)."""


def settle_peft_options(config: TrainingConfig, allowed: tuple[str, ...]) -> None:
    """Write what `--peft` means into TRL's own options, and refuse what contradicts it."""
    options, kind = config.model, config.peft.peft
    _refuse_contradictions(config)
    if kind is not None:
        options.use_peft = kind not in WHOLE
        options.use_dora = options.use_dora or kind == "dora"
    if kind == "qlora":
        options.load_in_4bit, options.bnb_4bit_quant_type = True, "nf4"
        options.use_bnb_nested_quant = True
    if options.load_in_4bit or options.load_in_8bit:
        _need_quantiser(config)
    kind = peft_kind(config)
    if kind not in allowed:
        raise UsageError(
            f"--peft {kind}: this method cannot train it; allowed are {', '.join(allowed)}"
        )


def peft_kind(config: TrainingConfig) -> str:
    """Return the kind that is trained, by `--peft` or by TRL's own options."""
    options = config.model
    if config.peft.adapter_name_or_path:
        return _kind_of_adapter(Path(config.peft.adapter_name_or_path))
    if config.peft.peft is not None:
        return config.peft.peft
    if not options.use_peft:
        return "none"
    return "qlora" if options.load_in_4bit else "dora" if options.use_dora else "lora"


def peft_config(config: TrainingConfig, base: BaseModel) -> Any:
    """Return PEFT's configuration of a new adapter; None without one."""
    kind = peft_kind(config)
    if kind in WHOLE or config.peft.adapter_name_or_path:
        return None
    if kind in _LORA:
        from trl import get_peft_config  # type: ignore[attr-defined]  # TRL re-exports lazily

        return get_peft_config(config.model)
    import peft

    task = config.model.lora_task_type
    if kind == "ia3":
        targets = config.model.lora_target_modules
        return peft.IA3Config(task_type=task, target_modules=targets)
    tokens = config.peft.num_virtual_tokens
    if kind == "prefix":
        return peft.PrefixTuningConfig(task_type=task, num_virtual_tokens=tokens)
    text: dict[str, Any] = {}
    if config.peft.prompt_tuning_init == "TEXT":
        initial_text = config.peft.prompt_tuning_init_text
        text = {"prompt_tuning_init_text": initial_text, "tokenizer_name_or_path": base.name}
    return peft.PromptTuningConfig(
        task_type=task,
        num_virtual_tokens=tokens,
        prompt_tuning_init=config.peft.prompt_tuning_init,
        **text,
    )


def attach_adapter(config: TrainingConfig, base: BaseModel) -> Any:
    """Return the base with the adapter of `--adapter_name_or_path` on it, ready to train."""
    from peft import PeftModel
    from trl import get_quantization_config  # type: ignore[attr-defined]  # TRL re-exports lazily
    from trl.trainer.utils import create_model_from_path

    folder = Path(str(config.peft.adapter_name_or_path))
    refuse_unsafe(folder)
    _check_base(folder, base)
    keys = dict(config.training.model_init_kwargs)
    if quantised := get_quantization_config(config.model):
        keys["quantization_config"] = quantised
    model = create_model_from_path(base.name, **keys)
    return PeftModel.from_pretrained(model, folder, is_trainable=True)


def restore_adapter(model: Any, checkpoint: Path) -> None:
    """Load the trained adapter of a checkpoint that also holds a reference's.

    On resuming, Transformers before 5.23 loads only the reference, and continues from the adapter's
    first weights with the optimizer's later state.
    """
    others = [path.parent for path in checkpoint.glob("*/adapter_model.safetensors")]
    if others and (checkpoint / "adapter_model.safetensors").is_file():
        model.load_adapter(str(checkpoint), "default", is_trainable=True)


def train_in_training_kernels(model: Any) -> None:
    """Keep bitsandbytes from repacking 4-bit weights on a CPU.

    bitsandbytes 0.50 keeps using its evaluation kernel, which has no gradient, once a model was
    evaluated: the training would learn nothing.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _refuse_contradictions(config: TrainingConfig) -> None:
    options, kind = config.peft, config.peft.peft
    if kind in WHOLE and (config.model.load_in_4bit or config.model.load_in_8bit):
        raise UsageError(f"--peft {kind}: weights in 4 or 8 bits cannot be trained; leave it out")
    if options.adapter_name_or_path and kind not in (None, "qlora"):
        raise UsageError(
            f"--peft {kind}: --adapter_name_or_path goes on with that adapter as it is; leave "
            "one of the two out"
        )
    if options.prompt_tuning_init == "TEXT" and not options.prompt_tuning_init_text:
        raise UsageError("--prompt_tuning_init TEXT: give it with --prompt_tuning_init_text")
    if options.num_virtual_tokens < 1:
        raise UsageError(f"--num_virtual_tokens={options.num_virtual_tokens}: must be at least 1")


def _need_quantiser(config: TrainingConfig) -> None:
    import torch

    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtra("training on a base in 4 or 8 bits", "quantized")
    if torch.cuda.is_available() and "optim" not in config.given:
        config.training.optim = PAGED


def _kind_of_adapter(folder: Path) -> str:
    try:
        value = json.loads((folder / "adapter_config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise ModelError(
            f"--adapter_name_or_path={folder}: not the folder of an adapter "
            "(no adapter_config.json that can be read)"
        ) from error
    kinds = {"PROMPT_TUNING": "prompt", "PREFIX_TUNING": "prefix", "IA3": "ia3"}
    return kinds.get(str(value.get("peft_type")), "lora")


def _check_base(folder: Path, base: BaseModel) -> None:
    """Refuse an adapter that was trained on other weights, by its record."""
    from tunegate.harness.records import training_card

    path = folder / training_card.FILE
    if not path.is_file():
        return
    recorded = json.loads(path.read_bytes())["base"]
    if recorded["weights_sha256"] != base.weights_sha256:
        raise ModelError(
            f"{folder}: was trained on {recorded['path']}, whose weights are not those of "
            f"{base.name}; give its own base"
        )
