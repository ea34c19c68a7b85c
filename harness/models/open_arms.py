"""Opens all arms of a run, sharing one load wherever tuned is an adapter of base.

`open_arms({"base": spec, "tuned": spec, …})` is the only way in. A missing base spec is read from
the adapter. The adapter must fit the base: by the weights' hash recorded at training, otherwise by
the base its configuration names; a moved folder still fits.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from tunegate.harness.contracts import lookup
from tunegate.harness.contracts.model import NOWHERE, Arm, PoolLimits, ServerHosting
from tunegate.harness.models._model_folder import (
    adapter_config,
    base_record,
    hub_name,
    is_adapter,
    require_modules,
    resolve_folder,
)
from tunegate.harness.models.adapters.weight_files import (
    read_json,
    refuse_unsafe,
    weights_fingerprint,
)
from tunegate.harness.records.errors import ModelError, NotComparable, UsageError

ROOM = "tunegate.harness.models"
Backend = Callable[..., Arm]
"""Opens an arm from what follows its prefix in a spec; it may take `limits` and `dtype`, too."""


def open_arms(
    specs: Mapping[str, str | None],
    *,
    dtype: str = "auto",
    base_by: str = "--gate-base SPEC",
    limits: PoolLimits | None = None,
    trusted: bool = False,
    hosting: ServerHosting = NOWHERE,
) -> dict[str, Arm]:
    """Open every arm.

    Args:
        specs: Arm name → model spec; base may be None if tuned is an adapter.
        dtype: Number format of local models, the same for all arms.
        base_by: How the user names the base, for messages.
        limits: How hard backends on a network may be asked.
        trusted: Whether code in a model's folder may be run, of every arm.
        hosting: Where the logs of servers that are started go, and who hears of it.
    """
    if not specs.get("tuned"):
        raise UsageError("no tuned model: name the fine-tune with --gate-tuned SPEC")
    arms: dict[str, Arm] = {}
    loads: dict[Path, Any] = {}
    ordered = _order_specs(specs, base_by)
    together = {n: spec for n, spec in ordered.items() if _prefix(spec) in _TOGETHER}
    bounds = limits or PoolLimits()
    for spec in ordered.values():
        if backend_of(spec) is None:
            resolve_folder(spec)  # a path with a typo is found before weights are read
    slow = {name for name, spec in ordered.items() if name in together or computes_here(spec)}
    for name, spec in sorted(ordered.items(), key=lambda arm: arm[0] in slow):
        backend = backend_of(spec)
        if name in arms:
            continue
        if name in together:
            prefix = _prefix(spec)
            same = {n: other for n, other in together.items() if _prefix(other) == prefix}
            module = import_module(f"{ROOM}.{prefix}")
            arms |= module.open_together(same, bounds, dtype=dtype, hosting=hosting)
        elif backend is None:
            arms[name] = _open_hf(spec, name, arms, loads, dtype, trusted=trusted)
        else:
            taken, offered = (
                inspect.signature(backend).parameters,
                {"limits": bounds, "dtype": dtype},
            )
            options = {key: value for key, value in offered.items() if key in taken}
            arms[name] = backend(spec.partition(":")[2], **options)
    return {name: arms[name] for name in ordered}


def backend_of(spec: str) -> Backend | None:
    """Return the backend that a spec names by its prefix; None for a Transformers model."""
    prefix = _prefix(spec)
    if ":" not in spec or not lookup.has(ROOM, prefix, marked="SPEC"):
        return None
    backend: Backend = lookup.find_object(ROOM, prefix, what="backend")
    return backend


_TOGETHER = ("vllm", "llama_server", "mlx", "classifier")
"""Backends that open all of their arms at once: base and its adapters share a server or a load."""


def _prefix(spec: str) -> str:
    """Return the module that a spec names: that of `llama-server:` is `llama_server`."""
    return spec.partition(":")[0].replace("-", "_")


def is_remote(backend: Backend) -> bool:
    """Return whether a backend asks over a network, within limits."""
    return "limits" in inspect.signature(backend).parameters


def computes_here(spec: str) -> bool:
    """Return whether a spec names a Transformers model of this process: its logits can be had."""
    backend = backend_of(spec)
    if backend is None:
        return True
    decides = getattr(inspect.getmodule(backend), "computes_here", None)
    return decides is not None and bool(decides(spec.partition(":")[2]))


def model_file(spec: str) -> Path | None:
    """Return the folder or GGUF file that a spec names; None where it names none of this machine.

    A backend whose specs name one has a function `model_file(target)`.
    """
    backend = backend_of(spec)
    if backend is None:
        return resolve_folder(spec)
    names = getattr(inspect.getmodule(backend), "model_file", None)
    named: Path | None = None if names is None else names(spec.partition(":")[2])
    return named


def _order_specs(specs: Mapping[str, str | None], base_by: str) -> dict[str, str]:
    """Return the specs in the order base, tuned, others, with base filled in."""
    tuned, base = specs["tuned"], specs.get("base")
    assert tuned is not None
    if base is None:
        base = named_base(tuned, base_by)
    rest = {n: s for n, s in specs.items() if s is not None and n not in ("base", "tuned")}
    return {"base": base, "tuned": tuned, **rest}


def named_base(tuned: str, base_by: str) -> str:
    """Return the spec of the base that an adapter names."""
    prefix = tuned.partition(":")[0]
    if (prefix == "llama-server" and "lora=" in tuned) or (prefix == "mlx" and "?" in tuned):
        return tuned.partition("?")[0]
    if prefix == "classifier":
        raise UsageError(
            f"no base model: give the classifier that is deployed, or majority:ROWS.jsonl, which "
            f"always answers the most frequent label, with {base_by}"
        )
    served = prefix == "vllm"
    path = tuned.partition(":")[2].partition("?")[0] if served else tuned
    folder = resolve_folder(path) if served or backend_of(tuned) is None else None
    adapter = adapter_config(folder) if folder is not None and is_adapter(folder) else {}
    named = adapter.get("base_model_name_or_path")
    if not named:
        raise UsageError(
            f"no base model: {tuned} is not an adapter that names one; give it with {base_by}"
        )
    try:
        resolve_folder(str(named))
    except ModelError as error:
        raise ModelError(
            f"{tuned} names {named} as its base, which is not there; if it was moved, give its "
            f"new path with {base_by}"
        ) from error
    return f"vllm:{named}" if served else str(named)


def _open_hf(
    spec: str,
    name: str,
    arms: Mapping[str, Arm],
    loads: dict[Path, Any],
    dtype: str,
    *,
    trusted: bool,
) -> Arm:
    folder = resolve_folder(spec)
    if name == "base" and is_adapter(folder):
        raise UsageError(f"base={spec} is an adapter; give the model it was trained on")
    require_modules("torch", "transformers")
    from tunegate.harness.models._load_model import load_model, load_tokenizer
    from tunegate.harness.models.adapters.attach import attach_adapter
    from tunegate.harness.models.transformers import HfArm

    if not is_adapter(folder):
        if folder not in loads:
            loads[folder] = load_model(folder, dtype=dtype, trusted=trusted)
        return HfArm(spec, loads[folder], loads[folder].tokenizer)
    loaded = _base_for(spec, folder, arms["base"])
    attach_adapter(loaded, folder, name, spec=spec)
    has_tokenizer = any((folder / f).is_file() for f in ("tokenizer.json", "tokenizer_config.json"))
    tokenizer = load_tokenizer(folder) if has_tokenizer else loaded.tokenizer
    arm = HfArm(spec, loaded, tokenizer, adapter=name, adapter_folder=folder)
    _refuse_lost_tokens(arm)
    return arm


def _refuse_lost_tokens(arm: Any) -> None:
    """Refuse an adapter with tokens of its own whose embeddings were not saved with it."""
    with arm.active() as model:
        rows = int(model.get_input_embeddings().weight.shape[0])
    tokens = len(arm.tokenizer)
    if tokens > rows and tokens > len(arm.loaded.tokenizer):
        raise ModelError(
            f"{arm.spec}: its tokenizer has {tokens} tokens and the model embeddings for {rows}; "
            "save the adapter with save_embedding_layers=True"
        )


def _base_for(spec: str, folder: Path, arm: Arm) -> Any:
    """Return the loaded base of an adapter, after proving that it is the one it was trained on."""
    base = getattr(arm, "loaded", None)
    if base is None:
        raise ModelError(
            f"{spec} is an adapter, and the base arm is not a local model; give a folder"
        )
    refuse_unsafe(folder)
    recorded = (base_record(folder).get("base") or {}).get("weights_sha256")
    if recorded is None:
        _check_config(spec, folder, base)
    elif recorded != base.weights_sha256:
        raise NotComparable(
            f"{spec} was trained on weights {recorded[:12]}, not on base "
            f"{base.folder} ({base.weights_sha256[:12]}); give the base it was trained on"
        )
    return base


_MODEL_SIZE = re.compile(r"\d[bm]\b", re.IGNORECASE)
"""A size, by which a model's name such as `Qwen3-0.6B` differs from other folder names."""


def base_name_note(tuned: Arm) -> str | None:
    """Return that an adapter names another base than it is on, where only names can be compared.

    Base is known by its hub id, its configuration or its folder, where the name has a size in it.
    None where the weights were compared.
    """
    folder: Path | None = getattr(tuned, "adapter_folder", None)
    if folder is None or (base_record(folder).get("base") or {}).get("weights_sha256"):
        return None
    named = str(adapter_config(folder).get("base_model_name_or_path") or "")
    base: Path = getattr(tuned, "loaded", None).folder  # type: ignore[union-attr]
    configured = str(read_json(base / "config.json").get("_name_or_path") or "")
    names = [name for name in (hub_name(base), configured, base.name) if name]
    names = [name for name in names if _MODEL_SIZE.search(_last_name(name))]
    if not named or not names or Path(named).is_dir():
        return None
    if _last_name(named) in map(_last_name, names):
        return None
    return (
        f"the adapter was trained on {named} by its adapter_config.json, and base is {names[0]}: "
        "if that is not the same model, give the base that it was trained on"
    )


def _last_name(model: str) -> str:
    """Return the last part of a hub id or path, without its revision."""
    return re.split(r"[/\\]", model.rstrip("/\\"))[-1].partition("@")[0].lower()


def _check_config(spec: str, folder: Path, base: Any) -> None:
    """Without a training record: the named base must have base's weights, as far as can be seen.

    A named folder that is here is compared by content, a hub id with the id base came from.
    """
    name = str(adapter_config(folder).get("base_model_name_or_path", ""))
    named, hub_id = Path(name), hub_name(base.folder)
    if named.is_dir():
        differs = (
            named.resolve() != base.folder and weights_fingerprint(named) != base.weights_sha256
        )
    else:
        differs = hub_id is not None and name.count("/") == 1 and name != hub_id
    if differs:
        raise NotComparable(
            f"{spec} names {name} as its base, whose weights differ from {hub_id or base.folder}; "
            "give the base it was trained on"
        )
