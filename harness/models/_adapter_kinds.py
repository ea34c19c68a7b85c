"""Adapter kinds: those that cannot be computed on one base, and why; named before weights are read.

What PEFT can save is more than what one loaded base can switch on and off. Whatever is not listed
here is attached by PEFT, and then proven: every tensor has its place, the logits change with the
adapter, and base's own return without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunegate.harness.errors import ModelError

_MERGE = "merge it, and give the merged model as tuned"
_SERVE = "serve it, and give server:URL#NAME as tuned"
_KINDS = {
    "XLORA": f"an X-LoRA adapter weighs several LoRA adapters anew for each token; {_SERVE}",
    "POLY": "a Poly adapter needs task ids with each prompt, which a suite does not have",
    "MULTITASK_PROMPT_TUNING": (
        "multitask prompt tuning needs task ids with each prompt, which a suite does not have"
    ),
}
"""PEFT's name of a kind → why it is refused."""
_FIELDS = {
    "alora_invocation_tokens": (
        f"an activated LoRA (aLoRA) acts only behind its invocation tokens; {_SERVE}"
    ),
    "arrow_config": f"an Arrow adapter chooses among several LoRA adapters per token; {_SERVE}",
    "kasa_config": f"a KaSA adapter drops parts of base's own weights; {_MERGE}",
    "layer_replication": f"its layers are copies of base's, in a deeper model; {_MERGE}",
}
"""Field of `adapter_config.json` → why a LoRA adapter that uses it is refused."""
_STARTS = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Beginnings of `init_lora_weights` by which training starts from other base weights."""


def refuse_unsupported_kind(spec: str, config: Mapping[str, Any]) -> None:
    """Refuse an adapter that cannot be switched on and off on one loaded base.

    Args:
        spec: How the user names the adapter.
        config: The content of `adapter_config.json`.

    Raises:
        ModelError: it is of such a kind; with its name and what to do.
    """
    reason = _KINDS.get(str(config.get("peft_type"))) or next(
        (why for name, why in _FIELDS.items() if config.get(name)), None
    )
    start = config.get("init_lora_weights")
    if reason is None and isinstance(start, str) and start.lower().startswith(_STARTS):
        reason = (
            f"init_lora_weights={start!r} changes base's own weights; save it as a plain LoRA "
            f"(save_pretrained with path_initial_model_for_weight_conversion), or {_MERGE}"
        )
    if reason is not None:
        raise ModelError(f"{spec}: not supported: {reason}")
