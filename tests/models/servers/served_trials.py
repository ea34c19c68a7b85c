"""Planted serving faults and sound servers, for real vLLM.

Each fault must be found with its cause, and no sound server may raise an alarm.
"""

from __future__ import annotations

import dataclasses
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks._served_adapters import merge_adapter, train_adapter
from tests.models.servers import altered_models as made
from tunegate.harness.contracts.model import Arm
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.models.server import server as open_server
from tunegate.harness.models.servers.identity import ServedIdentity
from tunegate.harness.models.servers.managed_server import ManagedServer, free_port
from tunegate.harness.models.servers.target import parse_target
from tunegate.harness.models.servers.vllm_command import (
    VllmServerPlan,
    VllmSettings,
    find_installation,
    server_environment,
)
from tunegate.harness.records.errors import TunegateError

_MAX_LEN = "1024"


@dataclass(frozen=True)
class Trial:
    """What is served under the names of base and tuned, and what should be."""

    name: str
    cause: str = ""
    """Pattern of the refusal; empty for a sound server."""
    root: Path | None = None
    """Folder of tuned as the spec names it; None is that of base."""
    names: tuple[str, str] = ("base", "tuned")
    """Names on the server that base and tuned are asked under; "" computes base here."""
    after: str = ""
    """Trial whose proof it was before the server changed."""


@dataclass(frozen=True)
class TrialServer:
    """One start of vLLM, and the trials that use it."""

    model: Path
    trials: Sequence[Trial]
    adapters: Mapping[str, Path] = field(default_factory=dict)
    names: Sequence[str] = ("base",)
    modules: Sequence[str] = ()
    """Modules that LoRA is applied to; empty for the adapters' own."""
    tokenizer: Path | None = None

    def command(self, dtype: str, port: int) -> list[str]:
        """Return the command that starts it."""
        plan = VllmServerPlan("base", self.model, self.adapters)
        command = plan.command(find_installation(), VllmSettings(dtype=dtype), port)
        command += ["--max-model-len", _MAX_LEN]
        name = command.index("--served-model-name") + 1
        command[name : name + 1] = self.names
        if self.modules:
            command[command.index("--lora-target-modules") + 1 :] = [
                *self.modules,
                *("--max-model-len", _MAX_LEN),
            ]
        return command + (["--tokenizer", str(self.tokenizer)] if self.tokenizer else [])


Make = Callable[..., Path]


def plan_servers(base: Path, folder: Path) -> dict[str, TrialServer]:
    """Make all adapters and models, and return the servers by name."""
    own = train_adapter(base, folder / "own")

    def altered(name: str, change: made.Change | None = None, **config: Any) -> Path:
        return made.alter_adapter(own, folder / name, change, **config)

    sound = sound_adapters(base, folder, altered)
    high = {name: sound.pop(name) for name in HIGH_RANKS}
    return {
        "adapters": _adapters_server(base, own, sound, altered),
        "ranks": TrialServer(
            base, _sound_trials(high), {_slug(name): path for name, path in high.items()}
        ),
        **_servers_of_one_fault(base, folder, own, altered("prefix", made.renamed)),
    }


def _adapters_server(
    base: Path, own: Path, sound: Mapping[str, Path], altered: Make
) -> TrialServer:
    """Plan the server of the adapters that are sound or of the right names and other values."""
    faults = {
        "alpha doubled": (altered("alpha", lora_alpha=32), r"scaled by (1\.[89]|2)"),
        "down_proj missing": (altered("down", made.times(0, "down_proj")), "down_proj are served"),
        "k_proj missing": (altered("k", made.times(0, "k_proj")), "k_proj are served without"),
        "one layer's q_proj missing": (
            altered("one", made.times(0, "layers.7.self_attn.q_proj")),
            "a part of the fine-tune is not applied",
        ),
        "scale x 1.05": (altered("scale", made.times(1.05)), r"scaled by 1\.0[456]"),
        "scale x 1.01": (altered("little", made.times(1.01)), r"scaled by 1\.01"),
        "another adapter": (altered("other", made.shuffled), "another model or another fine-tune"),
    }
    roots = {
        "alpha pattern ignored": altered("pattern", alpha_pattern={"q_proj": 64}),
        "rsLoRA mis-scaled": altered("rooted", use_rslora=True),
    }
    sentence = "every module is scaled by lora_alpha / r, which does not follow"
    changed = "the server changed while it answered"
    trials = [
        *_sound_trials({"own": sound["own"]}),  # first: base is spoiled after this proof
        *(Trial(n, cause, own, ("base", _slug(n))) for n, (_, cause) in faults.items()),
        *(Trial(n, sentence, root, ("base", "own")) for n, root in roots.items()),
        Trial("merged under base's name", "tuned answers under its name", own, ("own", "own")),
        Trial("base spoiled after load", changed, own, ("half", "own"), after="own"),
        *_sound_trials({name: path for name, path in sound.items() if name != "own"}),
    ]
    adapters = {_slug(name): path for name, path in sound.items()}
    adapters["half"] = altered("half", made.times(0.5))
    adapters |= {_slug(name): path for name, (path, _) in faults.items()}
    return TrialServer(base, trials, adapters)


def _servers_of_one_fault(
    base: Path, folder: Path, own: Path, prefix: Path
) -> dict[str, TrialServer]:
    """Plan the servers that are started with a fault, and that of a merged model."""
    merged = merge_adapter(base, own, folder / "merged")
    quantised = made.round_to_four_bits(base, folder / "quantised")
    sibling = made.make_sibling_tokenizer(base, folder / "sibling")
    # vLLM has one module for q, k and v, and applies LoRA to all three where one is named.
    missing = "down_proj, gate_proj, o_proj, up_proj are served without"
    differ = "its weights differ: quantised"
    not_applied = "base answers under its name: the fine-tune is not applied"
    return {
        "modules": TrialServer(
            base,
            [
                Trial("two of seven modules served", missing, own),
                Trial("wrong key prefix", not_applied, own, ("base", "prefix")),
            ],
            {"tuned": own, "prefix": prefix},
            modules=["q_proj", "v_proj"],
        ),
        "merged": TrialServer(
            merged,
            [Trial("merged, in 16 bits", "", merged, ("", "tuned"))],
            names=["tuned"],
        ),
        "quantised": TrialServer(
            quantised, [Trial("quantised base", differ, own, ("base", "base"))]
        ),
        "sibling": TrialServer(
            base,
            [Trial("tokenizer of a sibling", "makes other token ids", own, ("base", "base"))],
            tokenizer=sibling,
        ),
    }


def sound_adapters(base: Path, folder: Path, altered: Make) -> dict[str, Path]:
    """Return adapters of several ranks, scales, modules and strengths."""
    train = train_adapter
    attention, mlp = ["q_proj", "k_proj", "v_proj", "o_proj"], ["gate_proj", "up_proj", "down_proj"]
    other = "Dear Ms. Keller, your parcel is on its way and should arrive by Thursday.\n"
    pattern = {"q_proj": 8, "down_proj": 32}
    return {
        "own": folder / "own",
        "rank 4": train(base, folder / "rank-4", rank=4),
        "rank 16": train(base, folder / "rank-16", rank=16),
        "rank 32": train(base, folder / "rank-32", rank=32),
        "rank 64": train(base, folder / "rank-64", rank=64),
        "rsLoRA, rank 8": altered("rslora-8", made.times(0.3), use_rslora=True),
        "rsLoRA, rank 16": train(base, folder / "rslora-16", rank=16, use_rslora=True, steps=4),
        "alpha 2": altered("alpha-2", lora_alpha=2),
        "alpha 64": altered("alpha-64", made.times(0.25), lora_alpha=64),
        "alpha pattern": altered("alpha-pattern", alpha_pattern=pattern),
        "rank pattern": train(base, folder / "rank-pattern", rank_pattern={"down_proj": 16}),
        "attention only": train(base, folder / "attention", target_modules=attention),
        "MLP only": train(base, folder / "mlp", target_modules=mlp),
        "one layer": train(base, folder / "layer", layers_to_transform=[15]),
        "other text": train(base, folder / "letter", text=other),
        "B x 0.1": altered("weak-1", made.times(0.1)),
        "B x 0.02": altered("weak-2", made.times(0.02)),
        "B x 0.01": altered("weak-3", made.times(0.01)),
        "B x 0.001": altered("weak-4", made.times(0.001)),
    }


HIGH_RANKS = ("rank 16", "rank 32", "rank 64", "rsLoRA, rank 16", "rank pattern")
"""Adapters with a server of their own: vLLM on a CPU computes each with the largest rank of all."""


def _sound_trials(adapters: Mapping[str, Path]) -> list[Trial]:
    return [Trial(name, "", path, ("base", _slug(name))) for name, path in adapters.items()]


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def serve_trials(
    served: TrialServer, base: Path, dtype: str, log: Path
) -> Iterator[dict[str, Any]]:
    """Start a server, and yield the result of each of its trials."""
    proofs: dict[str, ServedIdentity] = {}
    port, key = free_port(), secrets.token_urlsafe(24)
    os.environ["TUNEGATE_SERVER_KEY"] = key
    environment = server_environment(find_installation(), key)
    with ManagedServer.start(
        "vLLM", served.command(dtype, port), port=port, log=log, environment=environment
    ) as server:
        server.wait_until_ready(print)
        url = f"http://127.0.0.1:{port}/v1"
        opened: dict[str, Arm] = {}
        for trial in served.trials:
            yield one_trial(trial, url, base, opened, proofs)


def one_trial(
    trial: Trial,
    url: str,
    base: Path,
    opened: dict[str, Arm],
    proofs: dict[str, ServedIdentity],
) -> dict[str, Any]:
    """Prove base and tuned of a server that is ready, and return what was found."""
    seconds, clock = time.process_time(), time.monotonic()
    message, record = "", {}
    _Reference.seconds_saved = 0.0
    try:
        roots = {"base": base, "tuned": trial.root or base}
        arms = {
            arm: _open(opened, f"{url}?tokenizer={base}&weights={roots[arm]}#{name}")
            if name
            else open_arms({"base": str(base), "tuned": str(base)}, dtype="float32")["base"]
            for arm, name in zip(("base", "tuned"), trial.names, strict=True)
        }
        seconds, clock = time.process_time(), time.monotonic()
        proof = proofs.get(trial.after) or prove(arms)
        if trial.after or not trial.cause:
            proof.check(arms)
        record = proof.record["tuned"]
        proofs[trial.name] = dataclasses.replace(proof, record=dict(proof.record))
    except TunegateError as error:
        message = str(error)
    spent = time.process_time() - seconds + _Reference.seconds_saved
    right = bool(re.search(trial.cause, message)) if trial.cause else not message
    if trial.cause and not message:  # what 16 bits hide, as the record says
        right = record.get("status") == "declared" or record["hides_r_below"] > _LEAST
    kept = ("status", "arithmetic", "r", "along", "hides_r_below", "error_nats", "limit_nats")
    return {
        "name": trial.name,
        "kind": "fault" if trial.cause else "sound",
        "right": right,
        "found": bool(message),
        "processor_s": round(spent, 1),
        "wall_s": round(time.monotonic() - clock, 1),
        "message": message,
        **{key: record[key] for key in kept if key in record},
    }


_LEAST = 0.02
"""A record that admits no fault this small must not miss one."""


def _open(opened: dict[str, Any], target: str) -> Arm:
    """Open a name of a server; all but the first without the probe texts that a run asks."""
    if not opened:
        opened[target] = open_server(target)
    if target not in opened:
        where = parse_target(target)
        first = next(iter(opened.values()))
        client = dataclasses.replace(first.client, where=where)
        opened[target] = dataclasses.replace(first, where=where, client=client)
    found: Arm = opened[target]
    return found


def prove(arms: Mapping[str, Arm]) -> ServedIdentity:
    """Prove the arms as a run does."""
    return ServedIdentity.prove(arms, _Reference.open, lambda line: None)


class _Reference:
    """The folders that were opened last: most trials are compared with the same ones."""

    specs: Mapping[str, str] | None = None
    arms: Mapping[str, Arm] = MappingProxyType({})
    weights: Sequence[tuple[Any, Any]] = ()
    """Parameters with their values: a proof leaves them rounded to 16 bits."""
    seconds = 0.0
    """Seconds of processor that opening them took."""
    seconds_saved = 0.0
    """The same, if they were open already; counted as if they had not been."""

    @classmethod
    def open(cls, specs: Mapping[str, str]) -> Mapping[str, Arm]:
        """Open folders with Transformers in float32."""
        cls.seconds_saved = cls.seconds
        for parameter, values in cls.weights:
            parameter.data = values
        if specs != cls.specs:
            cls.arms, cls.weights = MappingProxyType({}), ()
            before = time.process_time()
            cls.arms = open_arms(specs, dtype="float32")
            cls.specs, cls.seconds = dict(specs), time.process_time() - before
            cls.seconds_saved = 0.0
            model = cls.arms["base"].loaded.torch_model  # type: ignore[attr-defined]  # HfArm's
            cls.weights = [(one, one.data) for one in model.parameters()]
        return cls.arms
