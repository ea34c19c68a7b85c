"""Saving: weights are checked, then saved with their training card."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunegate.harness.models._chat_template import fingerprint_of
from tunegate.harness.models._model_folder import is_adapter
from tunegate.harness.models._number_format import quantisation_name
from tunegate.harness.models.adapters.weight_files import weights_fingerprint
from tunegate.harness.records.errors import TunegateError
from tunegate.harness.records.files import write_atomic
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.training_card import FILE
from tunegate.trainers import callbacks, peft_adapters
from tunegate.trainers import training_card as record
from tunegate.trainers.arguments import TrainingConfig
from tunegate.trainers.artifacts._base_parts import copy_base_parts
from tunegate.trainers.datasets import thinking_rows
from tunegate.trainers.hardware import current_hardware, peak_cuda_memory, peak_memory

if TYPE_CHECKING:
    from tunegate.trainers.datasets import TrainingRows
    from tunegate.trainers.job import TrainingJob, TrainingMethod

_TRAINING = [
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "num_train_epochs",
    "max_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "max_grad_norm",
    "weight_decay",
    "optim",
    "max_length",
    "train_sampling_strategy",
    "bf16",
    "fp16",
]
_MODEL = ("dtype", "attn_implementation", "load_in_4bit", "load_in_8bit", "use_peft")
_LORA = [
    "lora_r",
    "lora_alpha",
    "lora_dropout",
    "lora_target_modules",
    "lora_modules_to_save",
    "use_rslora",
    "use_dora",
]
_SECRETS = ("token", "api_key", "password")
"""Suffixes of the names of secret options."""


def prepare_folder(folder: Path) -> None:
    """Make the output folder and remove an earlier training's record from it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).unlink(missing_ok=True)


def save_training(
    trainer: Any,
    job: TrainingJob,
    method: TrainingMethod,
    *,
    before: Mapping[str, float],
    seconds: float,
) -> Path:
    """Save weights, tokenizer and record into the output folder and return it."""
    config = job.config
    check_weights(trainer.model, before, rate=config.training.learning_rate)
    folder = Path(config.training.output_dir).resolve()
    drop_reference(trainer.model)
    trainer.save_model(str(folder))
    if not callbacks.is_first_process():
        return folder
    (folder / "training_args.bin").unlink(missing_ok=True)  # a pickle that nothing here reads
    _sort_target_modules(folder / "adapter_config.json")
    base_parts = () if is_adapter(folder) else copy_base_parts(job.base.folder, folder)
    for sentence in base_parts:
        job.say(sentence)
    card = _record(trainer, job, method, folder=folder, seconds=seconds, base_parts=base_parts)
    record.write_card(card, folder)
    return folder


def _record(
    trainer: Any,
    job: TrainingJob,
    method: TrainingMethod,
    *,
    folder: Path,
    seconds: float,
    base_parts: tuple[str, ...],
) -> record.TrainingRecord:
    """Return the training card of the weights in `folder`."""
    config = job.config
    earlier = config.peft.adapter_name_or_path
    written = trainer.processing_class.chat_template
    template = sha256(written) if isinstance(written, str) else None
    return record.TrainingRecord(
        method=method.name,
        base=_identity(job, template),
        files=_files(job.rows),
        went_on_from=record.describe_parent_adapter(Path(earlier)) if earlier else None,
        eval_files=_files(job.evaluation),
        rows=len(trainer.train_dataset),
        thinking_rows=thinking_rows(job.rows.rows),
        hyperparameters=effective_hyperparameters(config, method.settings),
        settings=_settings(config),
        seed=config.training.seed,
        versions=record.training_versions(),
        steps=trainer.state.global_step,
        final_loss=_final_loss(trainer.state.log_history),
        seconds=round(seconds, 3),
        peak_memory_bytes=peak_memory(),
        peak_cuda_memory_bytes=peak_cuda_memory(),
        hardware=current_hardware(),
        chat_template_sha256=template,
        tokenizer_sha256=fingerprint_of(trainer.processing_class),
        weights_sha256=weights_fingerprint(folder),
        base_parts=base_parts,
    )


def _identity(job: TrainingJob, template: str | None) -> record.BaseIdentity:
    """Return the base; for a hub id with its revision and its commit in the cache."""
    base = job.base
    local = Path(base.name).is_dir()
    rounded = job.quantization_config()
    return record.BaseIdentity(
        path=base.name,
        revision=None if local else job.config.model.model_revision,
        commit=None if local else base.folder.name,
        weights_sha256=base.weights_sha256,
        chat_template_sha256=template,
        trained_as=None if rounded is None else quantisation_name(rounded),
    )


def _files(rows: TrainingRows | None) -> tuple[record.DatasetFile, ...]:
    return tuple(record.DatasetFile(**asdict(file)) for file in (rows.files if rows else ()))


def _settings(config: TrainingConfig) -> dict[str, Any]:
    """Return every option but secrets; values that JSON cannot hold become text."""
    method_options = {} if config.own is None else vars(config.own)
    options = {
        "training": config.training.to_dict(),
        "model": vars(config.model),
        "peft": vars(config.peft),
        "data": vars(config.data) | method_options,
    }
    text = json.dumps(_hide_secrets(options), default=str)
    plain: dict[str, Any] = json.loads(text, parse_constant=str)
    return plain


def _hide_secrets(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {
        str(key): "<hidden>" if inner and str(key).endswith(_SECRETS) else _hide_secrets(inner)
        for key, inner in value.items()
    }


def effective_hyperparameters(
    config: TrainingConfig, settings: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the effective values that decide the training, under TRL's names."""
    import torch

    names = {name: getattr(config.training, name, None) for name in (*_TRAINING, *settings)}
    names |= {name: getattr(config.model, name) for name in _MODEL}
    if config.own is not None:
        names |= vars(config.own)
    if config.model.use_peft:
        names |= {name: getattr(config.model, name) for name in _LORA}
    names["peft"] = peft_adapters.peft_kind(config)
    if names["peft"] in peft_adapters.VIRTUAL_TOKENS:
        names |= asdict(config.peft)
    if config.peft.adapter_name_or_path:
        names["adapter_name_or_path"] = config.peft.adapter_name_or_path
    names["float32_matmul_precision"] = config.data.float32_matmul_precision
    names["threads"] = torch.get_num_threads()
    plain: dict[str, Any] = json.loads(json.dumps(names, default=str))
    return plain


def _final_loss(history: list[dict[str, Any]]) -> float | None:
    losses = [entry["loss"] for entry in history if "loss" in entry]
    return round(float(losses[-1]), 6) if losses else None


def _sort_target_modules(path: Path) -> None:
    """Sort the module names: PEFT writes a set in the order of string hashes."""
    if path.is_file():
        value = json.loads(path.read_bytes())
        if isinstance(value.get("target_modules"), list):
            value["target_modules"].sort()
            write_atomic(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def tensor_sums(model: Any) -> dict[str, float]:
    """Return the sum of each trained tensor, to see later whether any has changed."""
    import torch

    trained = ((name, p) for name, p in model.named_parameters() if p.requires_grad)
    return {name: float(p.detach().sum(dtype=torch.float64)) for name, p in trained}


def check_weights(model: Any, before: Mapping[str, float], *, rate: float) -> None:
    """Refuse weights that are not finite or have not changed."""
    after = tensor_sums(model)
    if not all(math.isfinite(total) for total in after.values()):
        raise TunegateError(
            f"the training diverged: weights are not finite; lower learning_rate={rate}"
        )
    if after == before:
        raise TunegateError(
            f"the training changed nothing: no weight has moved; check learning_rate={rate} and "
            "the steps"
        )


def drop_reference(model: Any) -> None:
    """Remove TRL's frozen copy of the first adapter, which would be saved as a second adapter."""
    if "ref" in getattr(model, "peft_config", {}):
        model.delete_adapter("ref")
