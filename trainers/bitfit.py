"""BitFit: only the biases are trained (https://arxiv.org/abs/2106.10199).

Many architectures have none (Llama, Qwen3, SmolLM). Where their configuration can switch biases on
(`attention_bias`, `mlp_bias`), they are added as zeros: the model computes the same, and what is
saved is a plain model of that architecture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tunegate.harness.records.errors import UsageError

if TYPE_CHECKING:
    from tunegate.trainers import callbacks
    from tunegate.trainers.base_model import BaseModel


_SWITCHES = ("attention_bias", "mlp_bias")


def load_bitfit_model(base: BaseModel, kwargs: dict[str, Any], say: callbacks.Say) -> Any:
    """Return the base with its biases alone to be trained."""
    import torch
    from transformers import AutoConfig
    from trl.trainer.utils import create_model_from_path

    model = create_model_from_path(base.name, **kwargs)
    if not _biases(model):
        config = AutoConfig.from_pretrained(base.name, revision=kwargs.get("revision"))
        switches = [name for name in _SWITCHES if hasattr(config, name)]
        if not switches:
            raise UsageError(
                f"--peft bitfit: {config.model_type} has no biases, and its configuration cannot "
                "add any; use --peft ia3, which trains about as few weights"
            )
        for name in switches:
            setattr(config, name, True)
        model = create_model_from_path(base.name, config=config, **kwargs)
        with torch.no_grad():
            for bias in _biases(model):
                bias.zero_()
        say(f"{config.model_type} has no biases: added as zeros ({', '.join(switches)}=true)")
    model.requires_grad_(False)
    for bias in _biases(model):
        bias.requires_grad_(True)
    return model


def _biases(model: Any) -> list[Any]:
    return [weight for name, weight in model.named_parameters() if name.endswith(".bias")]
