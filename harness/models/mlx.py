"""`mlx:FOLDER[?adapter=FOLDER]`: a model in Apple's MLX, as mlx-lm computes it.

MLX runs in a process and an environment of its own: the Python named in `TUNEGATE_MLX`, this one,
or what `tunegate install mlx` made. Arms of one folder share a load; their adapters are
switched. Prompts are rendered here, and compared with mlx-lm's own. That MLX computes what is in
the folders is proven as for a server (`tunegate.harness.models.servers.identity`).
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.child_process import LineProcess
from tunegate.harness.contracts.decoding import decode_completion, timed_thoughts
from tunegate.harness.contracts.model import (
    NOWHERE,
    PoolLimits,
    Prompt,
    Request,
    ServerHosting,
)
from tunegate.harness.models._chat_template import PROBES, fingerprint_of, render_prompt
from tunegate.harness.models._continuations import continuation_ids
from tunegate.harness.models._load_model import load_tokenizer, silence_libraries
from tunegate.harness.models._model_folder import require_modules, resolve_folder
from tunegate.harness.models._thought_tracker import ThoughtTracker
from tunegate.harness.models.adapters.weight_files import (
    read_json,
    refuse_unsafe,
    weights_fingerprint,
)
from tunegate.harness.models.demo_model import cache_folder
from tunegate.harness.models.mlx_format.adapter import WEIGHTS, is_mlx_adapter
from tunegate.harness.records.answers import ALONE, GENERATED, CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import BackendError, ModelError, UsageError
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.hashing import file_sha256, sha256

SPEC = "mlx:FOLDER[?adapter=FOLDER]"
PYTHON = "TUNEGATE_MLX"
"""Environment variable that names the Python of MLX's environment."""
_WORKER = Path(__file__).parent / "mlx_format" / "worker.py"
_OPENING_S, _ANSWER_S = 600.0, 3600.0
"""Seconds to load a model, and from one answer to the next."""
_INSTALL = (
    "`tunegate install mlx` makes an environment for it, or name the Python of one with "
    f"mlx-lm in {PYTHON}"
)
_PROBE_TOKENS = 12
_PROBED = 6


@dataclass(eq=False)
class MlxProcess:
    """The worker that holds a model and the adapters of its arms."""

    folder: Path
    process: LineProcess
    log: Path
    dtype: str = "auto"
    versions: Mapping[str, str] = field(default_factory=dict)

    def call(self, name: str, limit_s: float = _ANSWER_S, **arguments: Any) -> Any:
        """Ask for one answer.

        Raises:
            BackendError: the worker failed, or ended.
        """
        self.process.send(json.dumps({"call": name, **arguments}))
        return self.receive(limit_s)

    def receive(self, limit_s: float = _ANSWER_S) -> Any:
        """Return the worker's next answer."""
        try:
            answer = json.loads(self.process.receive(limit_s))
        except (TimeoutError, EOFError, ValueError) as error:
            raise BackendError(f"mlx:{self.folder}: {error}; its log is {self.log}") from error
        if isinstance(answer, dict) and "error" in answer:
            raise BackendError(f"mlx:{self.folder}: {answer['error']}; its log is {self.log}")
        return answer


@dataclass(frozen=True, slots=True)
class MlxTarget:
    """A model that MLX is to compute."""

    spec: str
    folder: Path
    adapter: Path | None = None


@dataclass(eq=False)
class MlxArm:
    """A model in an MLX process, with an adapter or without."""

    target: MlxTarget
    name: str | None
    """The adapter's name in the process; None is base."""
    worker: MlxProcess = field(repr=False)
    tokenizer: Any = field(repr=False)
    probed: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    image_kinds: frozenset[CellKind] = frozenset()

    @property
    def spec(self) -> str:
        """The spec that it was opened by."""
        return self.target.spec

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """Spec, hashes of weights, adapter, tokenizer and template, format, versions of MLX."""
        adapter = self.target.adapter
        return {
            "spec": self.spec,
            "backend": "mlx",
            "weights_sha256": weights_fingerprint(self.target.folder),
            "adapter_sha256": None if adapter is None else file_sha256(adapter / WEIGHTS),
            "adapter_config": None if adapter is None else _settings(adapter),
            "tokenizer_sha256": fingerprint_of(self.tokenizer),
            "template_sha256": sha256(self.tokenizer.chat_template or ""),
            "config_sha256": sha256(read_json(self.target.folder / "config.json")),
            "stop_ids": sorted(self.stop_ids),
            "prompts": "token ids",
            "dtype": self.worker.dtype,
            "versions": dict(self.worker.versions),
        }

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the identity without the spec: a moved folder is the same arm."""
        return sha256({k: v for k, v in self.identity.items() if k != "spec"})

    @property
    def kinds(self) -> frozenset[CellKind]:
        """Texts, and likelihoods of given answers."""
        return (GENERATED - {CellKind.DRAFTS}) | {CellKind.CHOICES, CellKind.ANSWER}

    def cannot(self, kind: CellKind) -> str:
        """Return who can."""
        return (
            f"{self.spec} has no {kind.value}; leave out the prefix, and Transformers computes it"
        )

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """End-of-sequence ids of the tokenizer and of the folder's configuration."""
        path = self.target.folder / "generation_config.json"
        configured = (read_json(path) if path.is_file() else {}).get("eos_token_id")
        ids = configured if isinstance(configured, list) else [configured]
        return frozenset(i for i in (*ids, self.tokenizer.eos_token_id) if i is not None)

    @property
    def context_length(self) -> int | None:
        """The configuration's `max_position_embeddings`."""
        config = read_json(self.target.folder / "config.json")
        return {**config, **config.get("text_config", {})}.get("max_position_embeddings")

    @property
    def address(self) -> str:
        """Names the process, as a server's address."""
        return f"mlx://localhost{self.target.folder}"

    @property
    def rounds(self) -> bool:
        """Whether MLX computes in less than float32."""
        return self.worker.dtype != "float32"

    @property
    def weights_spec(self) -> str:
        """The folder that Transformers reads for the proof."""
        return str(self.target.adapter or self.target.folder)

    def next_logprobs(self, prefixes: Sequence[Sequence[int]]) -> tuple[Mapping[int, float], ...]:
        """Return the likeliest next tokens after each prefix."""
        asked = [list(ids) for ids in prefixes]
        found = self.worker.call("next_logprobs", adapter=self.name, prefixes=asked)
        return tuple(dict(zip(ids, logprobs, strict=True)) for ids, logprobs in found)

    def ask_probes(self) -> None:
        """Ask each probe text twice, unless that was done, and keep the greedy answers."""
        if not self.probed:
            ids = [list(self.tokenizer(text)["input_ids"]) for text in PROBES[:_PROBED]]
            rounds = [self._greedy(ids, _PROBE_TOKENS) for _ in range(2)]
            self.probed = tuple(zip(*rounds, strict=True))

    def _greedy(self, prompts: list[list[int]], limit: int) -> list[str]:
        rows = dict(self._written(prompts, [limit] * len(prompts), GenerationSettings(), []))
        return [self.tokenizer.decode(rows[row]["ids"]) for row in range(len(prompts))]

    def prompt(self, case: Case, generation: GenerationSettings) -> Prompt:
        """Render with the chat template (or not, as the suite sets it) and tokenise once."""
        return render_prompt(self.tokenizer, case, generation, spec=self.spec)

    def complete(self, requests: Sequence[Request]) -> Iterator[StoredAnswer]:
        """Yield the answers; texts that are written together have one set of settings."""
        fitting: dict[tuple[bool, GenerationSettings], list[tuple[Request, Any]]] = {}
        for request in requests:
            try:
                texts = continuation_ids(self.tokenizer, request)
                self._refuse_misfit(request, texts)
            except ValueError as error:
                yield StoredAnswer.of(request.cell, None, str(error), time.time())
                continue
            key = (request.kind in GENERATED, request.generation)
            fitting.setdefault(key, []).append((request, texts))
        for (written, _), group in fitting.items():
            if not written:
                yield from self._score(group)
                continue
            alone = any(request.kind in ALONE for request, _ in group)
            for part in [[one] for one in group] if alone else [group]:
                yield from self._generate([request for request, _ in part])

    def _refuse_misfit(self, request: Request, texts: Sequence[Sequence[int]]) -> None:
        """Raise ValueError if prompt and answer do not fit the model's context."""
        length, limit = len(request.prompt.token_ids or ()), self.context_length
        if not length:
            raise ValueError("the prompt is empty after tokenising")
        longest = max(map(len, texts), default=0)
        needed = length + (longest if texts else request.generation.most_tokens)
        if limit is not None and needed > limit:
            raise ValueError(
                f"{needed} tokens do not fit the model's context of {limit}; shorten the prompt"
            )

    def _written(
        self,
        prompts: list[list[int]],
        limits: list[int],
        generation: GenerationSettings,
        seeds: list[int],
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield each row's number and what the worker wrote."""
        answer = self.worker.call(
            "generate",
            adapter=self.name,
            prompts=prompts,
            limits=limits,
            seeds=seeds,
            temperature=generation.temperature,
            top_p=generation.top_p,
            stop_ids=sorted(self.stop_ids),
        )
        while "row" in answer:
            yield answer["row"], answer
            answer = self.worker.receive()

    def _generate(self, requests: Sequence[Request]) -> Iterator[StoredAnswer]:
        started = time.time()
        generation = requests[0].generation
        rows = self._written(
            [list(request.prompt.token_ids or ()) for request in requests],
            [generation.most_tokens] * len(requests),
            generation,
            [request.seed for request in requests],
        )
        for row, written in rows:
            completion = self._completion(requests[row], written, len(requests))
            yield StoredAnswer.of(requests[row].cell, completion, None, started)

    def _completion(self, request: Request, written: dict[str, Any], size: int) -> Completion:
        ids, reason = self._cut(request, written)
        fields = decode_completion(
            self.tokenizer, ids, request.generation, prompt=request.prompt.text
        )
        for stop in request.generation.stop:
            fields["text"] = fields["text"].partition(stop)[0]
        return Completion(
            finish_reason=reason,
            input_tokens=len(request.prompt.token_ids or ()),
            output_tokens=len(ids),
            latency_s=round(written["seconds"], 6),
            batch_size=size,
            **timed_thoughts(fields, [round(at, 6) for at in written["times"]]),
        )

    def _cut(self, request: Request, written: dict[str, Any]) -> tuple[list[int], str]:
        """Return the tokens up to a stop text or the limit of the answer, and why they end."""
        ids: list[int] = written["ids"]
        thoughts = ThoughtTracker.of(request.generation, request.prompt.text)
        for count in range(1, len(ids) + 1) if thoughts is not None else ():
            assert thoughts is not None
            thoughts.follow(self.tokenizer, ids[:count])
            if thoughts.stops(self.tokenizer, ids[:count]):
                return ids[:count], "stop"
            if thoughts.is_full(count):
                return ids[:count], "length"
        return ids, "stop" if written["stopped"] else "length"

    def _score(self, group: Sequence[tuple[Request, Any]]) -> Iterator[StoredAnswer]:
        started, clock = time.time(), time.perf_counter()
        rows = [[list(r.prompt.token_ids or ()), list(ids)] for r, texts in group for ids in texts]
        sums = iter(self.worker.call("score", adapter=self.name, rows=rows))
        seconds = round(time.perf_counter() - clock, 6)
        for request, texts in group:
            values = [next(sums) for _ in texts]
            fields: dict[str, Any] = {"choice_logprobs": tuple(values)}
            if request.kind is CellKind.ANSWER:  # the likeliest of several right answers counts
                means = [v / len(ids) for v, ids in zip(values, texts, strict=True)]
                fields = {"answer_logprob": max(means)}
            tokens = len(request.prompt.token_ids or ())
            completion = Completion(input_tokens=tokens, latency_s=seconds, **fields)
            yield StoredAnswer.of(request.cell, completion, None, started)


def _settings(adapter: Path) -> dict[str, Any]:
    """Return the part of an adapter's configuration that can change its effect."""
    config = read_json(adapter / "adapter_config.json")
    return {key: config.get(key) for key in ("fine_tune_type", "lora_parameters", "num_layers")}


def parse_mlx_spec(spec: str) -> MlxTarget:
    """Read an `mlx:` spec."""
    path, _, option = spec.removeprefix("mlx:").partition("?")
    key, _, value = option.partition("=")
    if not path or (option and (key != "adapter" or not value)):
        raise ModelError(f"{spec}: not understood; write it as {SPEC}")
    place = Path(path).expanduser()
    if place.is_dir() and is_mlx_adapter(place):
        named = _named_model(place)
        raise ModelError(f"{spec}: an adapter; write mlx:{named or 'BASE'}?adapter={path}")
    folder, adapter = resolve_folder(path), Path(value).expanduser().absolute() if value else None
    refuse_unsafe(folder)
    if adapter is not None:
        if not adapter.is_dir() or not is_mlx_adapter(adapter):
            raise ModelError(f"{spec}: {adapter} holds no {WEIGHTS} of mlx_lm.lora")
        resolve_folder(str(adapter))  # what PEFT cannot compute is not proven
    return MlxTarget(spec, folder, adapter)


def _named_model(adapter: Path) -> str | None:
    path = adapter / "adapter_config.json"
    return read_json(path).get("model") if path.is_file() else None


def model_file(target: str) -> Path:
    """Return the folder that a target names."""
    return resolve_folder(target.partition("?")[0])


def mlx(target: str, dtype: str = "auto") -> MlxArm:
    """Open one model in a process of its own."""
    return open_together({"base": f"mlx:{target}"}, PoolLimits(), dtype=dtype)["base"]


def open_together(
    specs: Mapping[str, str],
    limits: PoolLimits,
    *,
    dtype: str = "auto",
    hosting: ServerHosting = NOWHERE,
) -> dict[str, MlxArm]:
    """Open all `mlx:` arms of a run: one process for each model folder."""
    require_modules("transformers", what="an MLX model")
    silence_libraries()
    targets = {name: parse_mlx_spec(spec) for name, spec in specs.items()}
    arms: dict[str, MlxArm] = {}
    for folder in dict.fromkeys(target.folder for target in targets.values()):
        group = {name: target for name, target in targets.items() if target.folder == folder}
        adapters = {n: str(t.adapter) for n, t in group.items() if t.adapter is not None}
        worker = _start(folder, adapters, dtype, hosting)
        tokenizer = load_tokenizer(folder)
        _compare_prompts(worker, tokenizer)
        for name, target in group.items():
            arms[name] = MlxArm(target, name if target.adapter else None, worker, tokenizer)
    return {name: arms[name] for name in specs}


def find_python() -> str:
    """Return the Python that has mlx-lm."""
    if named := os.environ.get(PYTHON):
        return named
    if importlib.util.find_spec("mlx_lm") is not None:
        return sys.executable
    installed = cache_folder() / "engines" / "mlx" / "bin" / "python"
    if installed.is_file():
        return str(installed)
    raise UsageError(f"MLX is not installed: {_INSTALL}")


def _start(
    folder: Path, adapters: Mapping[str, str], dtype: str, hosting: ServerHosting
) -> MlxProcess:
    python = find_python()
    log = hosting.folder() / "mlx.log"
    hosting.report(f"starting MLX for {folder}: log {log}")
    try:
        with log.open("a", encoding="utf-8") as stream:
            process = LineProcess([python, "-I", str(_WORKER)], stderr=stream)
    except OSError as error:
        raise UsageError(f"{PYTHON}={python}: is not a Python that runs ({error})") from error
    worker = MlxProcess(folder, process, log)
    try:
        opened = worker.call(
            "open", _OPENING_S, folder=str(folder), adapters=dict(adapters), dtype=dtype
        )
    except BackendError as error:
        process.close()
        if "ModuleNotFoundError" in str(error):
            raise UsageError(f"{python}: has no mlx-lm; {_INSTALL}") from error
        raise ModelError(str(error)) from error
    worker.dtype, worker.versions = opened["dtype"], opened["versions"]
    if problem := _lost_rope(read_json(folder / "config.json"), opened["rope_theta"]):
        process.close()
        raise ModelError(f"{folder / 'config.json'}: {problem}")
    return worker


def _lost_rope(config: Mapping[str, Any], used: float | None) -> str:
    """Return what to do about rotary positions that mlx-lm did not read; empty if it did.

    Transformers 5 writes `rope_parameters`, and most classes of mlx-lm 0.32 read `rope_theta` and
    `rope_scaling` only, with defaults of their own.
    """
    rope = config.get("rope_parameters") or {}
    wanted, kind = rope.get("rope_theta"), rope.get("rope_type", "default")
    if used is not None and wanted is not None and used != wanted:
        return (
            f"mlx-lm takes rope_theta {used:g} for {wanted:g}, as it does not read rope_parameters "
            f'of Transformers 5; add "rope_theta": {wanted} at the top level, and train again what '
            "MLX trained without it"
        )
    if used is not None and kind != "default" and not config.get("rope_scaling"):
        return (
            f"mlx-lm does not read rope_type {kind!r} in rope_parameters of Transformers 5; copy "
            "them to rope_scaling at the top level"
        )
    return ""


def _compare_prompts(worker: MlxProcess, tokenizer: Any) -> None:
    """Refuse a folder of which mlx-lm makes other prompts than Transformers does."""
    if not tokenizer.chat_template:
        return
    theirs = worker.call("tokenize", texts=list(PROBES))
    for text, ids in zip(PROBES, theirs, strict=True):
        prompt = render_prompt(
            tokenizer, Case(id="probe", prompt=text), GenerationSettings(), spec=str(worker.folder)
        )
        if list(prompt.token_ids or ()) != ids:
            other = Prompt(tokenizer.decode(ids), tuple(ids))
            difference = prompt.difference(other, ("Transformers", "mlx-lm"))
            raise ModelError(f"mlx:{worker.folder}: mlx-lm builds another prompt: {difference}")
