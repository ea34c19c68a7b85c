"""Opening all arms of a run, sharing one load wherever tuned is an adapter of base.

`open_arms({"base": spec, "tuned": spec, …})` is the only way in. A missing base spec is read from
the adapter. The adapter must fit the base: by the weights' hash recorded at training, otherwise by
the base its configuration names; a moved path is no mismatch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import lookup
from harness.errors import ModelError, NotComparable, UsageError
from harness.model import Arm

_PREFIXES = ("replay", "scripted")
"""Backends that a spec names by its prefix; anything else is a Transformers model."""


def open_arms(specs: Mapping[str, str | None], *, dtype: str = "auto") -> dict[str, Arm]:
    """Open every arm.

    Args:
        specs: Arm name → model spec; base may be None if tuned is an adapter.
        dtype: Number format of local models, the same for all arms.

    Raises:
        UsageError: a spec is missing or cannot be opened.
        NotComparable: the adapter was trained on another base.
    """
    if not specs.get("tuned"):
        raise UsageError("no tuned model: say which with --gate-tuned SPEC (CLI: --tuned SPEC)")
    arms: dict[str, Arm] = {}
    loads: dict[Path, Any] = {}
    for name, spec in _with_base(specs).items():
        prefix, _, target = spec.partition(":")
        if prefix in _PREFIXES:
            arms[name] = lookup.find("harness.models", prefix, what="backend")(target)
        else:
            arms[name] = _open_hf(spec, name, loads, dtype)
    return arms


def _with_base(specs: Mapping[str, str | None]) -> dict[str, str]:
    """Return the specs in the order base, tuned, others, with base filled in."""
    tuned, base = specs["tuned"], specs.get("base")
    assert tuned is not None
    if base is None:
        base = _base_of(tuned)
    rest = {n: s for n, s in specs.items() if s is not None and n not in ("base", "tuned")}
    return {"base": base, "tuned": tuned, **rest}


def _base_of(tuned: str) -> str:
    from harness.models import hf

    folder = Path(tuned.removeprefix("hf:")).expanduser()
    if not folder.is_dir():
        hf.resolve(tuned)
    if not hf.is_adapter(folder):
        raise UsageError(
            f"no base model: {tuned} is not an adapter that names one; say it with --gate-base SPEC"
        )
    return str(hf.adapter_config(folder).get("base_model_name_or_path"))


def _open_hf(spec: str, name: str, loads: dict[Path, Any], dtype: str) -> Arm:
    from harness.models import hf

    folder = hf.resolve(spec)
    if not hf.is_adapter(folder):
        loads.setdefault(folder, None)
        loads[folder] = loads[folder] or hf.load(folder, dtype=dtype)
        return hf.HfArm(spec, loads[folder], loads[folder].tokenizer)
    if name == "base":
        raise UsageError(f"base={spec} is an adapter; give the model it was trained on")
    loaded = _base_for(spec, folder, loads)
    hf.attach(loaded, folder, name)
    own = any((folder / f).is_file() for f in ("tokenizer.json", "tokenizer_config.json"))
    tokenizer = hf.load_tokenizer(folder) if own else loaded.tokenizer
    return hf.HfArm(spec, loaded, tokenizer, adapter=name, adapter_folder=folder)


def _base_for(spec: str, folder: Path, loads: Mapping[Path, Any]) -> Any:
    """Return the loaded base of an adapter, after proving that it is the one it was trained on."""
    from harness.models import hf

    base = next(iter(loads.values()), None)
    if base is None:
        raise ModelError(f"{spec} is an adapter, and the base arm is no local model; give a folder")
    recorded = hf.base_record(folder).get("base", {}).get("weights_sha256")
    if recorded is not None:
        if recorded != base.weights_sha256:
            raise NotComparable(
                f"{spec} was trained on weights {recorded[:12]}, not on base "
                f"{base.folder} ({base.weights_sha256[:12]}); give the base it was trained on"
            )
        return base
    _check_config(spec, folder, base)
    return base


def _check_config(spec: str, folder: Path, base: Any) -> None:
    """Without a training record: the named base, if it is here, must have base's weights."""
    from harness.checks.weights import fingerprint
    from harness.models import hf

    named = Path(str(hf.adapter_config(folder).get("base_model_name_or_path", "")))
    if named.is_dir() and named.resolve() != base.folder:
        sha = fingerprint(named)
        if sha != base.weights_sha256:
            raise NotComparable(
                f"{spec} names {named} as its base, whose weights differ from {base.folder}; "
                "give the base it was trained on"
            )
    misfit = _misfit(folder, base.torch_model)
    if misfit:
        raise NotComparable(f"{spec} does not fit {base.folder}: {misfit}; it has another base")


def _misfit(folder: Path, model: Any) -> str | None:
    """Return the first LoRA tensor whose shape does not fit its module of the base."""
    from safetensors import safe_open

    file = folder / "adapter_model.safetensors"
    if not file.is_file():
        return None
    modules = dict(model.named_modules())
    with safe_open(file, framework="pt") as tensors:
        for key in tensors.keys():  # noqa: SIM118 - safe_open is no mapping
            if ".lora_A." not in key:
                continue
            name = key.split(".lora_A.")[0].removeprefix("base_model.model.")
            wanted = tensors.get_slice(key).get_shape()[-1]
            weight = getattr(modules.get(name), "weight", None)
            if weight is None:
                return f"it has no module {name}"
            if weight.dim() == 2 and wanted not in weight.shape:
                return f"{name} takes {weight.shape[-1]} inputs, the adapter {wanted}"
    return None
