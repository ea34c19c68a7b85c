"""A GGUF file computed by llama.cpp, through llama-cpp-python.

Prompts are rendered and tokenised here and sent as token ids, so that the arms provably read the
same. llama.cpp only computes logits; the next token is chosen here, greedily or drawn with the
cell's own seed. Every question starts from an empty cache, so no answer depends on the one before.
Its arithmetic is llama.cpp's own (activations rounded to 8 bits with quantised weights, a cache in
16 bits), so some answers differ from those of the same file unpacked to float32.
"""

from __future__ import annotations

import itertools
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from tunegate.harness.contracts.decoding import decode_completion, timed_thoughts
from tunegate.harness.contracts.model import Prompt, Request
from tunegate.harness.models._chat_template import fingerprint_of, render_prompt
from tunegate.harness.models._continuations import continuation_ids
from tunegate.harness.models._model_folder import require_modules
from tunegate.harness.models._thought_tracker import ThoughtTracker
from tunegate.harness.models.gguf_format.file import GgufFile
from tunegate.harness.records.answers import GENERATED, CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import ModelError, error_reason
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.hashing import file_sha256, sha256

_SMALLEST = 2048
"""Tokens of the smallest context; it grows with the prompts, up to the file's own."""


@dataclass
class LlamaCppArm:
    """One GGUF file in llama.cpp."""

    spec: str
    file: GgufFile
    tokenizer: Any
    _model: Any = field(default=None, repr=False)
    """llama_cpp.Llama, opened with a context that is long enough for what was asked so far."""

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """Spec, hashes of file, tokenizer and template, how tensors are stored, and the engine."""
        return {
            "spec": self.spec,
            "backend": "gguf",
            "weights_sha256": file_sha256(self.file.path),
            "tokenizer_sha256": fingerprint_of(self.tokenizer),
            "template_sha256": sha256(self.tokenizer.chat_template or ""),
            "stop_ids": self.file.stop_ids,
            "architecture": self.file.architecture,
            "stored": self.file.stored,
            "dtype": "llama.cpp",
            "engine": f"llama-cpp-python {self._version}",
        }

    @property
    def _version(self) -> str:
        import llama_cpp

        return str(llama_cpp.__version__)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the identity without the spec: a moved file is the same arm."""
        return sha256({k: v for k, v in self.identity.items() if k != "spec"})

    @property
    def kinds(self) -> frozenset[CellKind]:
        """Everything but whole texts."""
        return frozenset(CellKind) - {CellKind.TEXT}

    def cannot(self, kind: CellKind) -> str:
        """Return what can answer the question instead."""
        return (
            f"{self.spec}: llama.cpp is not asked for the bits of whole texts; leave "
            "?engine=llama.cpp out, and Transformers computes them"
        )

    def prompt(self, case: Case, generation: GenerationSettings) -> Prompt:
        """Render with the chat template (or not, as the suite sets it) and tokenise once."""
        return render_prompt(self.tokenizer, case, generation, spec=self.spec)

    def complete(self, requests: Sequence[Request]) -> Iterator[StoredAnswer]:
        """Yield the answers one after the other; what fails is the case's own error."""
        for request in requests:
            started, clock = time.time(), time.perf_counter()
            try:
                fields = self._answer(request)
            except (ValueError, RuntimeError) as error:
                yield StoredAnswer.of(request.cell, None, error_reason(error), started)
                continue
            completion = Completion(
                input_tokens=len(request.prompt.token_ids or ()),
                latency_s=round(time.perf_counter() - clock, 6),
                batch_size=1,
                **fields,
            )
            yield StoredAnswer.of(request.cell, completion, None, started)

    def _answer(self, request: Request) -> dict[str, Any]:
        ids = list(request.prompt.token_ids or ())
        texts = continuation_ids(self.tokenizer, request)
        writes = request.kind in GENERATED
        more = request.generation.most_tokens if writes else max(map(len, texts), default=0)
        if not ids:
            raise ValueError("the prompt is empty after tokenising")
        self.make_room(len(ids) + more)
        if writes:
            return self._write(request, ids)
        sums = self._likelihoods(ids, texts)
        if request.kind is CellKind.CHOICES:
            return {"choice_logprobs": tuple(sums)}
        # Several right answers: the likeliest one counts.
        return {"answer_logprob": max(s / len(t) for s, t in zip(sums, texts, strict=True))}

    def make_room(self, needed: int) -> None:
        """Open the model, or open it again with a longer context.

        Raises:
            ValueError: this exceeds the model's context.
            ModelError: llama.cpp does not load the file.
        """
        limit = int(self.file.fields.get(f"{self.file.architecture}.context_length", needed))
        if needed > limit:
            raise ValueError(
                f"{needed} tokens do not fit the model's context of {limit}; shorten the prompt"
            )
        if self._model is None or self._model.n_ctx() < needed:
            if self._model is not None:
                self._model.close()
            self._model = open_llama(
                self.file, min(limit, max(_SMALLEST, 1 << needed.bit_length()))
            )
            # At the interpreter's end it would find its own modules gone.
            weakref.finalize(self, self._model.close)

    def _forward(self, ids: Sequence[int]) -> Any:
        """Read tokens after those read before and return the logits behind the last, as float64."""
        import llama_cpp

        self._model.eval(list(ids))
        pointer = llama_cpp.llama_get_logits_ith(self._model.ctx, -1)
        logits = np.ctypeslib.as_array(pointer, shape=(self._model.n_vocab(),))
        return logits.astype(np.float64)

    def _write(self, request: Request, ids: Sequence[int]) -> dict[str, Any]:
        settings, prompt = request.generation, request.prompt.text
        random = np.random.default_rng(request.seed)
        thoughts = ThoughtTracker.of(settings, prompt)
        written: list[int] = []
        seconds: list[float] = []
        clock = time.perf_counter()
        self._model.reset()
        logits, reason_to_end = self._forward(ids), "stop"
        while (token := choose_token(logits, settings, random)) not in self.file.stop_ids:
            written.append(token)
            seconds.append(round(time.perf_counter() - clock, 6))
            if thoughts is not None:
                thoughts.follow(self.tokenizer, written)
                if thoughts.stops(self.tokenizer, written):
                    break
            full = len(written) >= settings.max_new_tokens
            if full if thoughts is None else thoughts.is_full(len(written)):
                reason_to_end = "length"
                break
            logits = self._forward([token])
        fields = decode_completion(self.tokenizer, written, settings, prompt=prompt)
        for stop in settings.stop:
            fields["text"] = fields["text"].partition(stop)[0]
        fields = timed_thoughts(fields, seconds)
        return {**fields, "finish_reason": reason_to_end, "output_tokens": len(written)}

    def _likelihoods(self, ids: Sequence[int], texts: Sequence[Sequence[int]]) -> list[float]:
        """Return the summed log-likelihood of each text after the prompt."""
        self._model.reset()
        first = log_softmax(self._forward(ids))
        sums = []
        for text in texts:
            total = float(first[text[0]])
            if len(text) > 1:
                # Read again and not rewound: a model with a running state cannot be.
                self._model.reset()
                self._forward(ids)
            for before, token in itertools.pairwise(text):
                total += float(log_softmax(self._forward([before]))[token])
            sums.append(total)
        return sums


def open_llama(file: GgufFile, context: int) -> Any:
    """Return the file as llama.cpp's model.

    Raises:
        MissingExtra: llama-cpp-python is not installed.
        ModelError: llama.cpp does not load the file.
    """
    require_modules("llama_cpp", what="?engine=llama.cpp", extra="llama-cpp")
    from llama_cpp import Llama

    try:
        return Llama(str(file.path), n_ctx=context, n_gpu_layers=-1, verbose=False)
    except (ValueError, RuntimeError) as error:
        raise ModelError(
            f"{file.path}: llama.cpp does not load it ({error_reason(error)}); pip install "
            "--upgrade llama-cpp-python, or convert the model again"
        ) from error


def choose_token(logits: Any, settings: GenerationSettings, random: np.random.Generator) -> int:
    """Return the next token: the likeliest, or one drawn from the nucleus."""
    if settings.temperature == 0:
        return int(np.argmax(logits))
    order = np.argsort(-logits, kind="stable")
    shares = np.exp(log_softmax(logits[order] / settings.temperature))
    # Nucleus sampling (Holtzman et al. 2020): drop what is beyond top_p, keep the first.
    kept = shares * (np.cumsum(shares) - shares < settings.top_p)
    return int(order[random.choice(len(kept), p=kept / kept.sum())])


def log_softmax(logits: Any) -> Any:
    """Return log-probabilities."""
    shifted = logits - logits.max()
    return shifted - np.log(np.exp(shifted).sum())
