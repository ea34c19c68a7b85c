"""`classifier:PATH`: a model with a classification head, or an adapter of one, in this process.

PATH is a folder of `AutoModelForSequenceClassification`, or of a PEFT adapter that holds its head.
It answers with a label and the probabilities of all labels; several labels if its `problem_type` is
`multi_label_classification`; a number if its head has one output. A case is a `prompt`, with the
second text of a pair as `context`. An adapter of a classifier that is an arm, too, shares its load.

Options behind `?`: `max_length=N` cuts longer texts, which are refused without it; `base=FOLDER` is
where the base of an adapter is now.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from tunegate.harness.contracts.model import NOWHERE, PoolLimits, Prompt, Request, ServerHosting
from tunegate.harness.models._chat_template import PROBES, fingerprint_of
from tunegate.harness.models._load_classifier import (
    adapter_head,
    load_classifier,
    read_labels,
)
from tunegate.harness.models._load_model import load_tokenizer
from tunegate.harness.models._model_folder import (
    adapter_config,
    base_record,
    is_adapter,
    resolve_folder,
)
from tunegate.harness.models.adapters.attach import attach_adapter
from tunegate.harness.models.adapters.weight_files import weights_fingerprint
from tunegate.harness.models.transformers import LoadedModel
from tunegate.harness.records.answers import CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import (
    ModelError,
    NotComparable,
    OutOfMemory,
    unknown_name_message,
)
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.hashing import sha256

SPEC = "classifier:PATH[?max_length=N&base=FOLDER]"
SECOND = "\n\n--- second text ---\n\n"
"""Between the texts of a pair, where a prompt is shown."""
NONE = "(no label)"
"""The answer of a classifier of several labels that chooses none."""
_TOGETHER = 32
"""Texts of equal length that are computed at once, without any padding."""
_OPTIONS = ("max_length", "base")


@dataclass(frozen=True)
class HfClassifier:
    """One classifier: a loaded model, or one adapter on it."""

    spec: str
    loaded: LoadedModel
    tokenizer: Any
    labels: tuple[str, ...]
    """Labels in the order of the head's outputs; empty if it gives a number."""
    several: bool = False
    """Whether several labels may apply, each with a probability of its own."""
    max_length: int | None = None
    adapter: str | None = None
    adapter_folder: Path | None = None
    kinds: frozenset[CellKind] = frozenset({CellKind.GENERATE, CellKind.LATENCY})

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """Spec, labels, and hashes of weights, adapter and tokenizer."""
        folder = self.adapter_folder
        return {
            "spec": self.spec,
            "backend": "classifier",
            "labels": list(self.labels),
            "several_labels": self.several,
            "max_length": self.max_length,
            "weights_sha256": self.loaded.weights_sha256,
            "adapter_sha256": weights_fingerprint(folder) if folder else None,
            "tokenizer_sha256": fingerprint_of(self.tokenizer),
            "dtype": self.loaded.dtype,
            "stored": self.loaded.stored,
        }

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the identity without the spec: a moved folder is the same arm."""
        return sha256({k: v for k, v in self.identity.items() if k not in ("spec", "stored")})

    @property
    def configuration(self) -> Any:
        """The model's configuration."""
        return self.loaded.torch_model.config

    def cannot(self, kind: CellKind) -> str:
        """Return that a classifier only names labels."""
        return (
            f"{self.spec} is a classifier, which gives labels and no {kind.value}; use "
            "classification or label_probability"
        )

    def active(self) -> AbstractContextManager[Any]:
        """Return a context that yields the torch model computing this arm."""
        return self.loaded.switched(self.adapter)

    def prompt(self, case: Case, generation: GenerationSettings) -> Prompt:
        """Return the text, or both texts of a pair; each arm tokenizes them for itself."""
        return read_texts(case, generation)

    @cached_property
    def context_length(self) -> int | None:
        """Most tokens that it reads, by tokenizer and configuration; None if unlimited."""
        model = self.loaded.torch_model
        limits = [self.tokenizer.model_max_length]
        if (positions := getattr(model.config, "max_position_embeddings", None)) is not None:
            limits.append(positions - _reserved_positions(model))
        return min((int(n) for n in limits if n < 1e9), default=None)

    @property
    def head_outputs(self) -> tuple[tuple[float, ...], ...]:
        """The head's outputs on the probe texts, each computed alone."""
        encoded = [self.tokenizer(text) for text in PROBES]
        return tuple(self._compute([one])[0] for one in encoded)

    def count_tokens(self, case: Case) -> int:
        """Return the tokens of a case's texts, uncut."""
        return len(self.tokenizer(case.prompt, case.context)["input_ids"])

    def complete(self, requests: Sequence[Request]) -> Iterator[StoredAnswer]:
        """Answer requests, those of equal length together."""
        encoded = []
        for request in requests:
            try:
                encoded.append((request, self._encode(request.case)))
            except ValueError as error:
                yield StoredAnswer.of(request.cell, None, str(error), time.time())
        encoded.sort(key=lambda pair: len(pair[1]["input_ids"]))
        for _, group in groupby(encoded, key=lambda pair: len(pair[1]["input_ids"])):
            same = list(group)
            for start in range(0, len(same), self._together):
                yield from self._answer(same[start : start + self._together])

    @property
    def _together(self) -> int:
        """Texts at once: Transformers takes one at a time where no padding token is set."""
        config = self.loaded.torch_model.config.get_text_config()
        return 1 if getattr(config, "pad_token_id", None) is None else _TOGETHER

    def _encode(self, case: Case) -> Any:
        cut = {} if self.max_length is None else {"truncation": True, "max_length": self.max_length}
        encoded = self.tokenizer(case.prompt, case.context, **cut)
        length, limit = len(encoded["input_ids"]), self.context_length
        if not length:
            raise ValueError("the text is empty after tokenizing")
        if limit is not None and length > limit:
            raise ValueError(
                f"{length} tokens, and the classifier reads {limit}; if it cuts texts where it is "
                f"deployed, write ?max_length={limit} into its spec"
            )
        return encoded

    def _answer(self, batch: Sequence[tuple[Request, Any]]) -> Iterator[StoredAnswer]:
        started = time.time()
        outputs = self._compute([encoded for _, encoded in batch])
        seconds = time.time() - started
        for (request, encoded), values in zip(batch, outputs, strict=True):
            if not all(map(math.isfinite, values)):
                yield StoredAnswer.of(request.cell, None, "the head's output is NaN", started)
                continue
            text, probabilities = self._read(values)
            completion = Completion(
                text=text,
                label_probabilities=probabilities,
                input_tokens=len(encoded["input_ids"]),
                latency_s=seconds,
                batch_size=len(batch),
            )
            yield StoredAnswer.of(request.cell, completion, None, started)

    def _compute(self, encoded: Sequence[Any]) -> list[tuple[float, ...]]:
        """Return the head's outputs for texts of equal length."""
        import torch

        names = encoded[0].keys()
        try:
            with torch.inference_mode(), self.active() as model:
                batch = {
                    name: torch.tensor(
                        [encoding[name] for encoding in encoded], device=model.device
                    )
                    for name in names
                }
                logits = model(**batch).logits.double().cpu()
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(str(error)) from error
        return [tuple(row) for row in logits.tolist()]

    def _read(self, values: Sequence[float]) -> tuple[str, dict[str, float] | None]:
        """Return the answer's text and the labels' probabilities for a head's outputs."""
        if not self.labels:
            return f"{values[0]:.9g}", None
        if self.several:
            shares = [0.5 * (1 + math.tanh(value / 2)) for value in values]
            chosen = [name for name, p in zip(self.labels, shares, strict=True) if p > 0.5]
            return ", ".join(chosen) or NONE, dict(zip(self.labels, shares, strict=True))
        highest = max(values)
        weights = [math.exp(value - highest) for value in values]
        total = math.fsum(weights)
        shares = [weight / total for weight in weights]
        return self.labels[values.index(highest)], dict(zip(self.labels, shares, strict=True))


def _reserved_positions(model: Any) -> int:
    """Return how many positions no token takes: RoBERTa counts from the padding token's id."""
    for name, module in model.named_modules():
        if (
            name.endswith("position_embeddings")
            and getattr(module, "padding_idx", None) is not None
        ):
            return int(module.padding_idx) + 1
    return 0


def read_texts(case: Case, generation: GenerationSettings) -> Prompt:
    """Return what a classifier reads of a case."""
    if case.prompt is None or case.tools:
        raise ValueError(
            "a classifier reads `prompt`, and `context` as the second text of a pair: it takes no "
            f"{'tools' if case.tools else 'messages'}"
        )
    refuse_settings("a classifier", generation)
    return Prompt(case.prompt if case.context is None else case.prompt + SECOND + case.context)


def refuse_settings(what: str, generation: GenerationSettings) -> None:
    """Refuse settings for a model that writes."""
    if generation.system is not None:
        raise ValueError(f"{what} takes no system prompt: remove `system` under [generation]")
    if generation.samples > 1 or generation.temperature > 0:
        raise ValueError(f"{what} does not sample: remove temperature and samples")


def classifier(target: str) -> HfClassifier:
    """Open one classifier."""
    return open_together({"base": f"classifier:{target}"}, PoolLimits())["base"]


@dataclass
class _Loads:
    """The models that were loaded, with the labels that their heads give."""

    dtype: str
    whole: dict[Path, LoadedModel] = field(default_factory=dict)
    """Folder → a model with a head of its own."""
    headless: dict[tuple[Path, int | None], LoadedModel] = field(default_factory=dict)
    """(folder, labels) → a model whose adapters bring the head."""


def open_together(
    specs: Mapping[str, str],
    limits: PoolLimits,
    *,
    dtype: str = "auto",
    hosting: ServerHosting = NOWHERE,
) -> dict[str, HfClassifier]:
    """Open several classifiers; an adapter of one of them is attached to it."""
    loads, arms = _Loads(dtype), {}
    targets = {name: _Target.of(spec) for name, spec in specs.items()}
    for name in sorted(specs, key=lambda arm: is_adapter(targets[arm].folder)):
        opens = _open_adapter if is_adapter(targets[name].folder) else _open_whole
        arms[name] = opens(targets[name], name, loads)
    return {name: arms[name] for name in specs}


def _open_whole(target: _Target, _: str, loads: _Loads) -> HfClassifier:
    folder = target.folder
    if fresh := folder not in loads.whole:
        loads.whole[folder] = load_classifier(folder, dtype=loads.dtype)
    loaded = loads.whole[folder]
    labels, several = read_labels(loaded, None, loaded.torch_model.config.num_labels)
    arm = HfClassifier(
        target.spec, loaded, loaded.tokenizer, labels, several, max_length=target.max_length
    )
    if fresh:
        import torch

        loaded.pristine = torch.tensor(arm.head_outputs, dtype=torch.float64)
    return arm


def _open_adapter(target: _Target, name: str, loads: _Loads) -> HfClassifier:
    folder = target.folder
    named = target.base or str(adapter_config(folder).get("base_model_name_or_path"))
    try:
        base = resolve_folder(named)
    except ModelError as error:
        raise ModelError(
            f"{target.spec} names {named} as its base, which is not there; if it was moved, write "
            "?base=FOLDER into the spec"
        ) from error
    head = adapter_head(folder, base)
    loaded = loads.whole.get(base)
    if loaded is None or head.outputs not in (None, loaded.torch_model.config.num_labels):
        key = base, head.outputs
        if key not in loads.headless:
            loads.headless[key] = load_classifier(
                base, dtype=loads.dtype, head=head, spec=target.spec
            )
        loaded = loads.headless[key]
    recorded = (base_record(folder).get("base") or {}).get("weights_sha256")
    if recorded not in (None, loaded.weights_sha256):
        raise NotComparable(
            f"{target.spec} was trained on weights {recorded[:12]}, not on {base} "
            f"({loaded.weights_sha256[:12]}); write ?base=FOLDER into the spec"
        )
    outputs = head.outputs or loaded.torch_model.config.num_labels
    labels, several = read_labels(loaded, folder, outputs)
    attach_adapter(loaded, folder, name, spec=target.spec)
    has_tokenizer = any((folder / f).is_file() for f in ("tokenizer.json", "tokenizer_config.json"))
    tokenizer = load_tokenizer(folder) if has_tokenizer else loaded.tokenizer
    return HfClassifier(
        target.spec, loaded, tokenizer, labels, several, target.max_length, name, folder
    )


@dataclass(frozen=True, slots=True)
class _Target:
    """What a `classifier:` spec names."""

    spec: str
    folder: Path
    max_length: int | None
    base: str | None

    @classmethod
    def of(cls, spec: str) -> _Target:
        """Read a spec."""
        path, _, query = spec.removeprefix("classifier:").partition("?")
        if not path:
            raise ModelError(f"{spec}: names no model; write it as {SPEC}")
        options = dict(parse_qsl(query, keep_blank_values=True))
        for name in options:
            if name not in _OPTIONS:
                raise ModelError(f"{spec}: {unknown_name_message(name, _OPTIONS, what='option')}")
        length = options.get("max_length")
        if length is not None and not (length.isdecimal() and int(length) > 0):
            raise ModelError(f"{spec}: max_length={length!r} must be a whole number above 0")
        folder = resolve_folder(path)
        return cls(spec, folder, None if length is None else int(length), options.get("base"))
