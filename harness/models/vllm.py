"""`vllm:PATH`: a model or LoRA adapter in a vLLM server that tunegate starts and ends itself.

One server has base and all adapters on it; a full model has one of its own. vLLM runs in an
environment of its own (`TUNEGATE_VLLM`, this one, or what `tunegate install vllm` made), so
its dependencies cannot conflict with ours. Whether it computes with what is in the folders is
proven as for any server (`tunegate.harness.models.servers.identity`).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from tunegate.harness.contracts.model import NOWHERE, PoolLimits, ServerHosting
from tunegate.harness.models._model_folder import is_adapter, resolve_folder
from tunegate.harness.models.adapters.weight_files import refuse_unsafe
from tunegate.harness.models.server import ServerArm, open_server
from tunegate.harness.models.servers.managed_server import ManagedServer, start_server
from tunegate.harness.models.servers.target import ServerTarget
from tunegate.harness.models.servers.vllm_command import (
    VllmInstallation,
    VllmServerPlan,
    VllmSettings,
    find_installation,
    parse_settings,
    refuse_adapter,
    server_environment,
)
from tunegate.harness.records.errors import ModelError, UsageError
from tunegate.harness.records.wording import count_noun

SPEC = "vllm:FOLDER_OR_ID[?tp=N&gpu_memory=SHARE&dtype=NAME&max_len=N&mtp=N]"
_REMEDIES = {
    "max seq len": "write ?max_len=N into the spec, the tokens that a prompt and its answer need",
    "No available memory for the cache": "use a smaller model, or free memory",
    "less than desired GPU memory": "write ?gpu_memory=SHARE into the spec, or free GPU memory",
    "Available memory on node": "free memory, or use a smaller model",
}
"""Part of an error of vLLM's → what to do about it here."""


@dataclass(eq=False)
class VllmArm(ServerArm):
    """An arm in a server of ours."""

    named: str = ""
    """The spec that the user gave."""
    dtype: str = "auto"
    mtp: int | None = None
    process: ManagedServer | None = field(default=None, repr=False)
    """The server, kept as long as one of its arms is."""

    @property
    def spec(self) -> str:
        """The spec that it was opened by."""
        return self.named

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """Fields of a server's arm, and the number format and drafts that were asked for."""
        known = {**super().identity, "spec": self.named, "backend": "vllm", "dtype": self.dtype}
        return known if self.mtp is None else {**known, "mtp": self.mtp}


@dataclass(frozen=True, slots=True)
class VllmTarget:
    """A model that is to be served."""

    spec: str
    folder: Path
    options: Mapping[str, Any]

    @property
    def adapter(self) -> bool:
        """Whether it is an adapter, which is served on base."""
        return is_adapter(self.folder)


def parse_vllm_spec(spec: str) -> VllmTarget:
    """Read a `vllm:` spec."""
    path, _, query = spec.removeprefix("vllm:").partition("?")
    if not path:
        raise ModelError(f"{spec}: names no model; write it as {SPEC}")
    options = parse_settings(spec, dict(parse_qsl(query, keep_blank_values=True)))
    folder = resolve_folder(path)
    refuse_unsafe(folder)
    if is_adapter(folder):
        refuse_adapter(spec, folder)
    return VllmTarget(spec, folder.absolute(), options)


def model_file(target: str) -> Path:
    """Return the folder that a target names."""
    return resolve_folder(target.partition("?")[0])


def vllm(target: str, limits: PoolLimits | None = None) -> ServerArm:
    """Open one model in a server of its own."""
    spec = f"vllm:{target}"
    if parse_vllm_spec(spec).adapter:
        raise UsageError(f"{spec}: is an adapter; base must be vllm:, too, to serve both together")
    return open_together({"base": spec}, limits or PoolLimits())["base"]


def open_together(
    specs: Mapping[str, str],
    limits: PoolLimits,
    *,
    dtype: str = "auto",
    hosting: ServerHosting = NOWHERE,
) -> dict[str, VllmArm]:
    """Serve all `vllm:` arms of a run."""
    targets = {name: parse_vllm_spec(spec) for name, spec in specs.items()}
    settings = _common_settings(targets, dtype)
    plans = _server_plans(targets)
    deployment = VllmDeployment(find_installation(), settings, targets, limits, hosting)
    arms: dict[str, VllmArm] = {}
    started: list[ManagedServer] = []
    try:
        for plan in plans:
            key = secrets.token_urlsafe(24)
            started.append(deployment.start(plan, key))
            for name in (plan.name, *plan.adapters):
                arms[name] = deployment.open_arm(name, started[-1], key)
    except BaseException:
        for server in started:
            server.stop()
        raise
    return {name: arms[name] for name in specs}


def _common_settings(targets: Mapping[str, VllmTarget], dtype: str) -> VllmSettings:
    """Return the settings, in which all specs must agree: arms are compared."""
    chosen: dict[str, Any] = {"dtype": dtype}
    for name in (f.name for f in fields(VllmSettings)):
        values = {t.options[name]: t.spec for t in targets.values() if name in t.options}
        if len(values) > 1:
            (value, first), (other, second) = list(values.items())[:2]
            raise ModelError(
                f"{second}: {name}={other}, and {first} has {value}; arms are compared, so give "
                "all of them the same options"
            )
        chosen |= dict.fromkeys([name] if values else [], next(iter(values), None))
    return VllmSettings(**chosen)


def _server_plans(targets: Mapping[str, VllmTarget]) -> list[VllmServerPlan]:
    """Return the servers: one has base and all adapters, each further full model has its own."""
    adapters = {name: t.folder for name, t in targets.items() if t.adapter}
    full = {name: t.folder for name, t in targets.items() if not t.adapter}
    if adapters and "base" not in full:
        raise ModelError(
            f"{targets[next(iter(adapters))].spec}: is an adapter, and base is not a vllm: model; "
            "write vllm: in front of base, too"
        )
    return [
        VllmServerPlan(name, folder, adapters if name == "base" else {}, 1 / len(full))
        for name, folder in full.items()
    ]


def _remedy(error: str) -> str:
    found = next((words for part, words in _REMEDIES.items() if part in error), "")
    return f"; {found}" if found else ""


@dataclass(frozen=True)
class VllmDeployment:
    """The settings that the servers of a run have in common."""

    found: VllmInstallation
    settings: VllmSettings
    targets: Mapping[str, VllmTarget]
    limits: PoolLimits
    hosting: ServerHosting

    def start(self, plan: VllmServerPlan, key: str) -> ManagedServer:
        """Start a server and wait for it; retry with another port if this one was taken."""
        log = self.hosting.folder() / f"vllm-{plan.name}.log"
        gpus = count_noun(self.settings.tp, "GPU")
        where = "the CPU" if self.found.cpu else gpus
        names = " and ".join([plan.name, *plan.adapters])
        note = f" ({self.found.untested})" if self.found.untested else ""
        version = f"{self.found.version}{note}"
        self.hosting.report(f"starting vLLM {version} on {where} for {names}: log {log}")
        try:
            return start_server(
                f"vLLM for {plan.name}",
                lambda port: plan.command(self.found, self.settings, port),
                log=log,
                environment=server_environment(self.found, key),
                report=self.hosting.report,
            )
        except ModelError as error:
            raise ModelError(f"{error}{_remedy(str(error))}") from error

    def open_arm(self, name: str, server: ManagedServer, key: str) -> VllmArm:
        """Open one of the names of a server that is ready."""
        target = self.targets[name]
        has_tokenizer = (target.folder / "tokenizer_config.json").is_file()
        tokenizer = str(target.folder) if has_tokenizer else None
        url = f"http://127.0.0.1:{server.port}/v1"
        where = ServerTarget(url, name, tokenizer, str(target.folder))
        opened = open_server(where, key, self.limits)
        shared = {f.name: getattr(opened, f.name) for f in fields(opened) if f.init}
        dtype, mtp = self.settings.dtype, self.settings.mtp
        return VllmArm(**shared, named=target.spec, dtype=dtype, mtp=mtp, process=server)
