"""Kinds of adapters that cannot be switched on and off on one loaded base, refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunegate.harness.models._model_folder import BOOKKEEPING
from tunegate.harness.records.errors import ModelError

_MERGE = "merge it, and give the merged model as tuned"
_SERVE = "serve it, and give server:URL#NAME as tuned"
_KINDS = {
    "XLORA": f"an X-LoRA adapter weighs several LoRA adapters for each token; {_SERVE}",
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
STARTS = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Beginnings of `init_lora_weights` by which training starts from other base weights."""


def _unknown_to_peft(config: Mapping[str, Any]) -> str | None:
    """Return what the installed PEFT does not know of an adapter, which it would leave out."""
    from dataclasses import fields
    from importlib.metadata import version

    from peft import PeftType
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    kind = config.get("peft_type", "missing")
    kinds = PEFT_TYPE_TO_CONFIG_MAPPING
    fields_of_kind = fields(kinds[PeftType(kind)]) if kind in set(PeftType) else ()
    other = config.keys() - {field.name for field in fields_of_kind} - BOOKKEEPING
    unknown = sorted(name for name in other if config[name] not in (None, False, [], {}, ""))
    if fields_of_kind and not unknown:
        return None
    what = f"{unknown[0]}={config[unknown[0]]!r}" if fields_of_kind else f"peft_type={kind!r}"
    saved = str(config.get("peft_version") or "").partition("@")[0]
    remedy = f", it was saved by {saved}: pip install 'peft>={saved}'" if saved else ""
    return f"adapter_config.json: {what} is unknown to PEFT {version('peft')}{remedy}"


def refuse_unsupported_kind(spec: str, config: Mapping[str, Any]) -> None:
    """Refuse an adapter that cannot be switched on and off on one loaded base."""
    reason = _KINDS.get(str(config.get("peft_type"))) or next(
        (why for name, why in _FIELDS.items() if config.get(name)), None
    )
    start = config.get("init_lora_weights")
    if reason is None and isinstance(start, str) and start.lower().startswith(STARTS):
        reason = (
            f"init_lora_weights={start!r} changes base's own weights; save it as a plain LoRA "
            f"(save_pretrained with path_initial_model_for_weight_conversion), or {_MERGE}"
        )
    if reason := reason or _unknown_to_peft(config):
        raise ModelError(f"{spec}: not supported: {reason}")
