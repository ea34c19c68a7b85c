"""Load a sequence classifier: a model with its head, or an adapter that brings the head.

Transformers fills a head that is missing from the weights with random numbers, and PEFT saves a
head only where `task_type` or `modules_to_save` names it (huggingface/peft#577, #2171). Such a
classifier gives other labels at each load, so it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunegate.harness.models._load_model import (
    load_tokenizer,
    load_weights,
    refuse_nan,
    refuse_unused,
    silence_libraries,
)
from tunegate.harness.models._model_folder import need_quantiser, prefix_errors, require_modules
from tunegate.harness.models._number_format import number_format, stored_format
from tunegate.harness.models.adapters.tensor_names import core_name, plain_name, split_name
from tunegate.harness.models.adapters.weight_files import (
    read_json,
    refuse_unsafe,
    weights_fingerprint,
)
from tunegate.harness.models.transformers import LoadedModel
from tunegate.harness.records.errors import ModelError
from tunegate.harness.records.wording import count_noun

_SAVE = "peft saves it with task_type='SEQ_CLS' or modules_to_save (huggingface/peft#577, #2171)"
_COUNT = 7919
"""Labels of a head without weights; no other dimension of a model has this size."""


@dataclass(frozen=True, slots=True)
class AdapterHead:
    """The head in an adapter's file."""

    modules: frozenset[str]
    """Modules whose whole weights the file holds, by `core_name`."""
    outputs: int | None
    """Outputs of the head; None if the file has no head."""

    def brings(self, tensor: str) -> bool:
        """Return whether the file holds the module of a tensor."""
        return core_name(split_name(tensor)[0]) in self.modules


_NO_ADAPTER = AdapterHead(frozenset(), None)


def adapter_head(adapter: Path, base: Path) -> AdapterHead:
    """Return the head that an adapter's file holds."""
    from safetensors import safe_open

    require_modules("torch", "transformers", "peft")
    refuse_unsafe(adapter)
    last = core_name(split_name(_output_weight(base))[0])
    modules, outputs = set(), None
    with (
        prefix_errors(f"{adapter}: the adapter cannot be read"),
        safe_open(adapter / "adapter_model.safetensors", framework="pt") as file,
    ):
        for key in sorted(file.keys()):
            module, part = split_name(plain_name(key))
            if part.removeprefix("modules_to_save.") in ("weight", "bias"):
                modules.add(core_name(module))
                if core_name(module) == last and part.endswith("weight"):
                    outputs = int(file.get_slice(key).get_shape()[0])
    return AdapterHead(frozenset(modules), outputs)


def _output_weight(folder: Path) -> str:
    """Return the name of the weight that computes the labels, in this architecture."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    silence_libraries()
    with prefix_errors(f"{folder}: cannot be a classifier"), torch.device("meta"):
        config = AutoConfig.from_pretrained(folder, num_labels=_COUNT, trust_remote_code=False)
        kind: Any = AutoModelForSequenceClassification
        model = kind.from_config(config)
    names = [n for n, p in model.named_parameters() if p.dim() == 2 and p.shape[0] == _COUNT]
    if len(names) != 1:
        raise ModelError(f"{folder}: {type(model).__name__} has no head of its own")
    return str(names[0])


def load_classifier(
    folder: Path, *, dtype: str, head: AdapterHead = _NO_ADAPTER, spec: str | None = None
) -> LoadedModel:
    """Load a model folder with its head, or with room for the head that an adapter brings."""
    require_modules("torch", "transformers")
    refuse_unsafe(folder)
    need_quantiser(folder)
    silence_libraries()
    from transformers import AutoModelForSequenceClassification

    size: dict[str, Any] = {} if head.outputs is None else {"num_labels": head.outputs}
    model, report = load_weights(AutoModelForSequenceClassification, folder, dtype=dtype, **size)
    for name, stored, wanted in sorted(report["mismatched_keys"]):
        if not head.brings(name):
            raise ModelError(
                f"{folder}: {name} is stored as {tuple(stored)}, and the classifier needs "
                f"{tuple(wanted)}; copy the folder again"
            )
    if lost := sorted(name for name in report["missing_keys"] if not head.brings(name)):
        raise ModelError(_lost_head(folder, lost[0], spec))
    refuse_unused(model, report["unexpected_keys"], folder)
    refuse_nan(model.named_parameters(), folder)
    return LoadedModel(
        torch_model=model.eval(),
        tokenizer=load_tokenizer(folder),
        folder=folder,
        weights_sha256=weights_fingerprint(folder),
        dtype=number_format(model),
        stored=stored_format(folder, model.config),
    )


def refuse_lost_head(folder: Path) -> None:
    """Refuse a model folder whose weights lack the head that computes the labels or the score."""
    from safetensors import safe_open

    head = _output_weight(folder)
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            if head in file.keys():  # noqa: SIM118  # no mapping
                return
    raise ModelError(_lost_head(folder, head, None))


def _lost_head(folder: Path, tensor: str, spec: str | None) -> str:
    random = "Transformers would draw it at random at each load"
    if spec is None:
        return (
            f"{folder}: its head is lost: {tensor} is missing from the weights, and {random}; save "
            "the model of the class …ForSequenceClassification that was trained"
        )
    return (
        f"{spec}: its head is lost: {tensor} is neither in the adapter nor in its base {folder}, "
        f"and {random}; {_SAVE}: save the adapter again, or train it again"
    )


def read_labels(
    loaded: LoadedModel, adapter: Path | None, outputs: int
) -> tuple[tuple[str, ...], bool]:
    """Return the labels in the order of the head's outputs, and whether several may apply.

    An adapter's own config.json comes before its base's. Without labels it is a regression.
    """
    path = adapter / "config.json" if adapter is not None else None
    adapter_config = read_json(path) if path is not None and path.is_file() else None
    config: Mapping[str, Any] = (
        adapter_config if adapter_config is not None else loaded.torch_model.config.to_dict()
    )
    where = path if adapter_config is not None else loaded.folder / "config.json"
    several = config.get("problem_type") == "multi_label_classification"
    if config.get("problem_type") == "regression" or (outputs == 1 and not several):
        if outputs != 1:
            raise ModelError(f"{where}: a regression of {outputs} numbers; only one can be gated")
        return (), False
    named = {int(i): str(label).strip() for i, label in (config.get("id2label") or {}).items()}
    labels = tuple(named.get(index, "") for index in range(outputs))
    if len(named) != outputs or len({*labels}) != outputs or "" in labels:
        raise ModelError(
            f"{where}: id2label names {count_noun(len(named), 'label')}, and the head has "
            f"{outputs} outputs; write each output's label into id2label"
        )
    return labels, several
