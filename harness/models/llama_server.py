"""`llama-server:FILE.gguf`: a GGUF file in llama.cpp's server, which is started and ended here.

Arms of one file share a server: LoRA adapters (`?lora=FILE&scale=X`) are loaded once, and each
request says which is applied, and how strongly. Prompts are rendered here with the file's own
tokenizer and template, or those of `?tokenizer=FOLDER`. What is served is compared with the file,
unpacked by Transformers, or with `?weights=FOLDER`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from tunegate.harness.contracts import environment
from tunegate.harness.contracts.model import NOWHERE, PoolLimits, ServerHosting
from tunegate.harness.models._load_model import silence_libraries
from tunegate.harness.models._model_folder import require_modules, resolve_folder
from tunegate.harness.models.gguf_format.converters import find_program
from tunegate.harness.models.gguf_format.file import GgufFile, read_gguf
from tunegate.harness.models.gguf_format.lora import parse_scale, read_lora
from tunegate.harness.models.gguf_format.tokenizer import gguf_tokenizer
from tunegate.harness.models.server import ServerArm, open_server
from tunegate.harness.models.servers.managed_server import ManagedServer, start_server
from tunegate.harness.models.servers.target import NO_WEIGHTS, ServerTarget
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.errors import ModelError, unknown_name_message
from tunegate.harness.records.hashing import file_sha256, sha256

SPEC = "llama-server:FILE.gguf[?lora=FILE&scale=X&context=N&tokenizer=FOLDER&weights=FOLDER]"
_OPTIONS = ("lora", "scale", "context", "tokenizer", "weights")
_SLOTS = 4
"""Most questions that a server computes at the same time; each has a context of its own."""
_LEAST = 16
"""Tokens of the smallest context."""
CONTEXT = 8192
"""Tokens of a prompt and its answer, unless the file's model has fewer or the spec says."""


@dataclass(eq=False)
class LlamaServerArm(ServerArm):
    """A GGUF file, with an adapter or without, in a server of ours."""

    target: LlamaServerTarget | None = None
    process: ManagedServer | None = field(default=None, repr=False)
    """The server, kept as long as one of its arms is."""

    @property
    def spec(self) -> str:
        """The spec that it was opened by."""
        assert self.target is not None
        return self.target.spec

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """Fields of a server's arm, and the files."""
        assert self.target is not None
        file, lora = self.target.file, self.target.lora
        identity_fields = {**super().identity, "backend": "llama-server", "dtype": "llama.cpp"}
        identity_fields |= {"weights_sha256": file_sha256(file.path), "stored": file.stored}
        if lora is not None:
            identity_fields |= {"adapter_sha256": file_sha256(lora), "scale": self.target.scale}
        return identity_fields

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the identity without the name and address: the files decide."""
        return sha256({k: v for k, v in self.identity.items() if k not in ("spec", "card")})

    @property
    def image_kinds(self) -> frozenset[CellKind]:
        """Nothing: it is started without the file of a vision tower."""
        return frozenset()

    @property
    def weights_spec(self) -> str | None:
        """The file as Transformers unpacks it, with the adapter; or what the spec names."""
        assert self.target is not None
        return self.target.weights_spec


@dataclass(frozen=True, slots=True)
class LlamaServerTarget:
    """A file that is to be served."""

    spec: str
    file: GgufFile
    lora: Path | None = None
    scale: float = 1.0
    context: int | None = None
    tokenizer: Path | None = None
    weights: str | None = None

    @property
    def weights_spec(self) -> str | None:
        """The model spec of the reference; None if it is taken on trust."""
        if self.weights is not None:
            return None if self.weights == NO_WEIGHTS else self.weights
        options = [f"tokenizer={self.tokenizer}"] if self.tokenizer else []
        if self.lora is not None:
            options += [f"lora={self.lora}", f"scale={self.scale}"]
        return f"gguf:{self.file.path}" + ("?" + "&".join(options) if options else "")


def parse_llama_server_spec(
    spec: str, files: dict[Path, GgufFile] | None = None
) -> LlamaServerTarget:
    """Read a `llama-server:` spec; those in `files` are not read again."""
    path, _, query = spec.partition(":")[2].partition("?")
    if not path:
        raise ModelError(f"{spec}: names no file; write it as {SPEC}")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name, value in options.items():
        if name not in _OPTIONS:
            raise ModelError(f"{spec}: {unknown_name_message(name, _OPTIONS, what='option')}")
        if not value:
            raise ModelError(f"{spec}: {name}= has no value")
    context = options.get("context")
    if context is not None and not (context.isdecimal() and int(context) >= _LEAST):
        raise ModelError(f"{spec}: context={context!r} is not a number of tokens from {_LEAST} on")
    files = {} if files is None else files
    place = Path(path).expanduser().absolute()
    file = files[place] = files.get(place) or read_gguf(place)
    lora, tokenizer = (
        Path(options[name]).expanduser().absolute() if name in options else None
        for name in ("lora", "tokenizer")
    )
    if lora is not None:
        read_lora(lora, file)
    weights = options.get("weights")
    if weights is not None and weights != NO_WEIGHTS and ":" not in weights:
        resolve_folder(weights)
    return LlamaServerTarget(
        spec,
        file,
        lora,
        parse_scale(spec, options.get("scale", "1")),
        int(context) if context else None,
        tokenizer,
        weights,
    )


def model_file(target: str) -> Path:
    """Return the file that a target names."""
    return Path(target.partition("?")[0]).expanduser().absolute()


def llama_server(target: str, limits: PoolLimits | None = None) -> ServerArm:
    """Open one file in a server of its own."""
    return open_together({"base": f"llama-server:{target}"}, limits or PoolLimits())["base"]


def open_together(
    specs: Mapping[str, str],
    limits: PoolLimits,
    *,
    dtype: str = "auto",
    hosting: ServerHosting = NOWHERE,
) -> dict[str, LlamaServerArm]:
    """Serve all `llama-server:` arms of a run; `dtype` is for local models alone."""
    silence_libraries()
    require_modules("transformers", what="a GGUF file", extra="gguf")
    environment.require_feature("gguf", next(iter(specs.values())))
    files: dict[Path, GgufFile] = {}
    targets = {name: parse_llama_server_spec(spec, files) for name, spec in specs.items()}
    tokenizers: dict[tuple[Path, Path | None], Any] = {}
    for file, folder in ((target.file, target.tokenizer) for target in targets.values()):
        if (file.path, folder) not in tokenizers:
            tokenizers[file.path, folder] = gguf_tokenizer(file, folder)
    program = find_program("llama-server")  # the mistakes of the specs come first
    groups: dict[Path, dict[str, LlamaServerTarget]] = {}
    for name, target in targets.items():
        groups.setdefault(target.file.path, {})[name] = target
    arms: dict[str, LlamaServerArm] = {}
    started: list[ManagedServer] = []
    try:
        for group in groups.values():
            plan = LlamaServerPlan.of(program, group, limits)
            key = secrets.token_urlsafe(24)
            started.append(plan.start(key, hosting))
            for name, target in group.items():
                tokenizer = tokenizers[target.file.path, target.tokenizer]
                opened = plan.open(target, started[-1], (key, limits), tokenizer)
                shared = {f.name: getattr(opened, f.name) for f in fields(opened) if f.init}
                arms[name] = LlamaServerArm(**shared, target=target, process=started[-1])
    except BaseException:
        for server in started:
            server.stop()
        raise
    return {name: arms[name] for name in specs}


@dataclass(frozen=True, slots=True)
class LlamaServerPlan:
    """One server: a file, and the adapters of all of its arms."""

    program: Path
    targets: Mapping[str, LlamaServerTarget]
    adapters: tuple[Path, ...]
    context: int
    slots: int

    @classmethod
    def of(
        cls, program: Path, targets: Mapping[str, LlamaServerTarget], limits: PoolLimits
    ) -> LlamaServerPlan:
        """Plan the server of one file's arms."""
        chosen = {target.context: target.spec for target in targets.values() if target.context}
        if len(chosen) > 1:
            (context_given, first), (other, second) = list(chosen.items())[:2]
            raise ModelError(
                f"{second}: context={other}, and {first} has {context_given}; give both one"
            )
        file = next(iter(targets.values())).file
        longest = int(file.fields.get(f"{file.architecture}.context_length", CONTEXT))
        adapters = dict.fromkeys(t.lora for t in targets.values() if t.lora is not None)
        for path in adapters:
            if "," in str(path):
                raise ModelError(f"{path}: llama-server takes no comma in the name of an adapter")
        context = next(iter(chosen), min(longest, CONTEXT))
        return cls(program, targets, tuple(adapters), context, min(limits.concurrency, _SLOTS))

    def start(self, key: str, hosting: ServerHosting) -> ManagedServer:
        """Start it and wait for it."""
        first = next(iter(self.targets))
        log = hosting.folder() / f"llama-server-{first}.log"
        hosting.report(f"starting {self.program} for {' and '.join(self.targets)}: log {log}")
        return start_server(
            f"llama-server for {first}",
            self.command,
            log=log,
            environment={**os.environ, "LLAMA_API_KEY": key},
            report=hosting.report,
        )

    def command(self, port: int) -> list[str]:
        """Return the command that serves it on a port of the loopback address."""
        file = next(iter(self.targets.values())).file
        command = [str(self.program), "--host", "127.0.0.1", "--port", str(port), "--offline"]
        command += ["--model", str(file.path), "--alias", next(iter(self.targets)), "--no-ui"]
        command += ["--ctx-size", str(self.context * self.slots), "--parallel", str(self.slots)]
        if self.adapters:
            command += ["--lora", ",".join(map(str, self.adapters)), "--lora-init-without-apply"]
        return command

    def open(
        self,
        target: LlamaServerTarget,
        server: ManagedServer,
        key_and_limits: tuple[str, PoolLimits],
        tokenizer: Any,
    ) -> ServerArm:
        """Open a target of a server that is ready, with the server's key and the run's limits."""
        where = ServerTarget(f"http://127.0.0.1:{server.port}/v1", next(iter(self.targets)))
        extra = self.request_fields(target)
        return open_server(where, *key_and_limits, tokenizer=tokenizer, fields=extra)

    def request_fields(self, target: LlamaServerTarget) -> dict[str, Any]:
        """Return the fields of every request: each adapter's scale, and no cache of other ones."""
        scales = [
            {"id": number, "scale": target.scale if path == target.lora else 0.0}
            for number, path in enumerate(self.adapters)
        ]
        return {"cache_prompt": False, **({"lora": scales} if scales else {})}
