"""Models of sentence-transformers that rank: what `reranker:` and `embedder:` share."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.environment import require_feature
from tunegate.harness.contracts.model import Prompt, Request
from tunegate.harness.models._chat_template import PROBES
from tunegate.harness.models._load_model import (
    left_out,
    refuse_nan,
    refuse_unused,
    silence_libraries,
)
from tunegate.harness.models._model_folder import (
    RANKING_BACKENDS,
    gpu_is_free,
    is_adapter,
    prefix_errors,
    ranking_class,
    resolve_folder,
)
from tunegate.harness.models.adapters.weight_files import refuse_unsafe
from tunegate.harness.models.classifier import refuse_settings
from tunegate.harness.records.answers import CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import ModelError, OutOfMemory
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.hashing import file_sha256, sha256
from tunegate.harness.records.versions import installed_versions

Scorer = Callable[[Any, str, Sequence[str]], Sequence[float]]
"""Takes a model, a query and candidates; returns the candidates' scores."""
_READ = (".safetensors", ".json", ".txt", ".model", ".jinja")
"""Endings of files that decide the scores."""


@dataclass(frozen=True)
class RankingModel:
    """One reranker or embedder."""

    spec: str
    folder: Path
    model: Any = field(repr=False)
    scorer: Scorer = field(repr=False)
    kinds: frozenset[CellKind] = frozenset({CellKind.GENERATE, CellKind.LATENCY})

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """Spec, hash of the files, number format, cut of texts, prefixes and library."""
        return {
            "spec": self.spec,
            "backend": self.spec.partition(":")[0],
            "files_sha256": _files_sha256(self.folder),
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "max_length": self.max_length,
            "prefixes": dict(self.model.prompts),
            "library": installed_versions(("sentence-transformers",)),
        }

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the identity without the spec: a moved folder is the same arm."""
        return sha256({k: v for k, v in self.identity.items() if k != "spec"})

    @property
    def configuration(self) -> Any:
        """The configuration of its Transformers model; None of a table of word vectors."""
        configs = (getattr(part, "config", None) for part in self.model.modules())
        return next((config for config in configs if hasattr(config, "model_type")), None)

    @cached_property
    def weights_sha256(self) -> str:
        """Hash of its weights alone."""
        return _files_sha256(self.folder, (".safetensors",))

    @property
    def max_length(self) -> int | None:
        """Tokens that it reads of a text; None if it cuts nothing."""
        longest = self.model.max_seq_length
        return longest if longest is not None and longest < math.inf else None

    def count_tokens(self, case: Case) -> int:
        """Return the tokens of the longest text, or of the longest pair of a reranker, uncut."""
        query, texts = case.prompt or "", [*case.candidates.values()]
        pairs = self.spec.startswith("reranker:")
        rows = [(query, text) for text in texts] if pairs else [(text,) for text in (query, *texts)]
        return max(len(self.model.tokenizer(*row)["input_ids"]) for row in rows)

    def cannot(self, kind: CellKind) -> str:
        """Return that it only ranks."""
        return f"{self.spec} ranks candidates and gives no {kind.value}; use ndcg, mrr or recall"

    def prompt(self, case: Case, generation: GenerationSettings) -> Prompt:
        """Return the query with its candidates."""
        if case.prompt is None or case.tools:
            raise ValueError(
                "a reranker or embedder reads `prompt`, the query: it takes no "
                f"{'tools' if case.tools else 'messages'}"
            )
        if not case.candidates:
            raise ValueError("the case has no candidates: write `positive` and `negative`")
        refuse_settings("a reranker or embedder", generation)
        return Prompt(f"{case.prompt}\n\n{case.candidates_text}")

    @cached_property
    def probe_scores(self) -> tuple[tuple[float, ...], ...]:
        """The scores of the probe texts for each of them."""
        return tuple(self._scores(query, PROBES) for query in PROBES)

    def complete(self, requests: Sequence[Request]) -> Iterator[StoredAnswer]:
        """Rank the candidates of each request."""
        for request in requests:
            started = time.time()
            names = request.case.candidates
            scores = self._scores(request.case.prompt or "", list(names.values()))
            seconds = time.time() - started
            if not all(map(math.isfinite, scores)):
                yield StoredAnswer.of(request.cell, None, "a candidate's score is NaN", started)
                continue
            completion = Completion(
                text=ranking_text(list(names), scores),
                candidate_scores=scores,
                latency_s=seconds,
                batch_size=1,
            )
            yield StoredAnswer.of(request.cell, completion, None, started)

    def _scores(self, query: str, texts: Sequence[str]) -> tuple[float, ...]:
        import torch

        try:
            scores = self.scorer(self.model, query, texts)
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(str(error)) from error
        return tuple(float(f"{score:.9g}") for score in scores)  # all digits of a float32


def ranking_text(names: Sequence[str], scores: Sequence[float]) -> str:
    """Return a ranking in words: `p1 > n2 = n1`."""
    order = sorted(range(len(names)), key=lambda at: -scores[at])
    steps = (f" {'=' if scores[a] == scores[b] else '>'} {names[b]}" for a, b in pairwise(order))
    return names[order[0]] + "".join(steps)


def open_ranking_model(kind: str, target: str, scorer: Scorer, dtype: str) -> RankingModel:
    """Open a folder or hub id with a class of sentence-transformers."""
    spec = f"{RANKING_BACKENDS[kind]}:{target}"
    require_feature("rank", spec)
    folder = resolve_folder(target)
    if is_adapter(folder):
        raise ModelError(
            f"{spec} is an adapter; merge it into its base (merge_and_unload), save the whole "
            "model and name its folder"
        )
    saved = ranking_class(folder)
    if saved not in (None, kind):
        other = f"; write {RANKING_BACKENDS[saved]}:{target}" if saved in RANKING_BACKENDS else ""
        raise ModelError(f"{spec}: saved as a {saved}, not as a {kind}{other}")
    for part in _parts(folder):
        refuse_unsafe(part)
    silence_libraries()
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
    import torch

    gpu = gpu_is_free() and torch.cuda.is_available()
    with prefix_errors(f"{folder}: cannot be loaded"):
        model = getattr(import_module("sentence_transformers"), kind)(
            str(folder),
            device="cuda" if gpu else "cpu",
            local_files_only=True,
            model_kwargs={"dtype": "float32" if dtype == "auto" and not gpu else dtype},
        )
    refuse_nan(model.named_parameters(), folder)
    for part in _parts(folder):
        refuse_unused(model, left_out(model, part), part)
    return RankingModel(spec, folder, model, scorer)


def _parts(folder: Path) -> list[Path]:
    """Return the folder and those of its modules, without checkpoints of a training."""
    inner = (path for path in sorted(folder.rglob("*")) if path.is_dir())
    return [folder, *(p for p in inner if not _is_skipped(p.relative_to(folder)))]


def _is_skipped(path: Path) -> bool:
    return any(part.startswith((".", "checkpoint-")) for part in path.parts)


def _files_sha256(folder: Path, endings: Sequence[str] = _READ) -> str:
    files = (file for part in _parts(folder) for file in sorted(part.iterdir()))
    return sha256(
        {
            file.relative_to(folder).as_posix(): file_sha256(file)
            for file in files
            if file.is_file() and file.suffix in endings
        }
    )
