"""Hostile model folders: `python -m benchmarks.attacks models`.

Weights and configurations that run code when they are loaded, name files outside, or lie about what
is in them. Each must be refused before a case is spent, in a line, and none of its code may run.
"""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.attacks.attempt import AttackAttempt, command_attempt
from benchmarks.attacks.project import AttackedProject

GATE = ("gate", "suites", "--base=evil", "--tuned=replay:tuned.jsonl", "--run-dir=run")
GGUF = ("gate", "suites", "--base=gguf:evil/m.gguf", "--tuned=replay:tuned.jsonl")
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8,
    "intermediate_size": 8, "num_attention_heads": 1, "num_hidden_layers": 1, "vocab_size": 2,
}  # fmt: skip
RAN = "ran.txt"
Change = Callable[[AttackedProject], None]


class _Payload:
    """Unpickled, writes a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, (f"open({RAN!r}, 'w').write('hunter2-9f31')",))


def attempts() -> Iterator[AttackAttempt]:
    """Yield the attacks; a file that a payload writes holds the secret, which fails them."""
    for name, files in _folders().items():
        yield command_attempt(name, GATE, _folder(files))
    for trainer in ("../../evil", "__init__", "os", "sft;id", "SFTTrainer.__class__", "a" * 9_999):
        yield command_attempt(f"a trainer called {trainer:.30}", ("train", trainer))
    for name, raw in _gguf_files().items():
        yield command_attempt(f"gguf: {name}", GGUF, _folder({"m.gguf": raw}))


def _folder(files: Mapping[str, Any]) -> Change:
    def change(project: AttackedProject) -> None:
        place = project.folder / "evil"
        place.mkdir()
        for name, content in files.items():
            (place / name).parent.mkdir(exist_ok=True)
            if isinstance(content, int):
                with (place / name).open("wb") as file:
                    file.truncate(content)
            elif isinstance(content, Path):
                (place / name).symlink_to(content)
            else:
                raw = content if isinstance(content, bytes) else json.dumps(content).encode()
                (place / name).write_bytes(raw)

    return change


def tensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """Return a safetensors file of this header."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def tensor(
    start: int, end: int, shape: tuple[int, ...] = (2,), dtype: str = "F32"
) -> dict[str, Any]:
    """Return the entry of a tensor."""
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


WHOLE = tensors({"a": tensor(0, 8)}, b"\0" * 8)
CODE = b"open('ran.txt', 'w').write('hunter2-9f31')\n"
INDEX = "model.safetensors.index.json"


def _broken(raw: bytes) -> dict[str, Any]:
    return {"config.json": CONFIG, "model.safetensors": raw}


def _configured(**more: Any) -> dict[str, Any]:
    return {"config.json": {**CONFIG, **more}, "model.safetensors": WHOLE, "evil.py": CODE}


def _folders() -> Mapping[str, Mapping[str, Any]]:
    pickled = pickle.dumps(_Payload())
    auto = {"auto_map": {"AutoModelForCausalLM": "evil.Model", "AutoConfig": "evil.Config"}}
    outside = {"weight_map": {"a": "../../../etc/passwd"}}
    backtracks = {"target_modules": "(((a+)+)+)+$", "peft_type": "LORA", "r": 8}
    deep = b"[" * 100_000
    return {
        "an empty folder": {},
        "a pickle": {"config.json": CONFIG, "pytorch_model.bin": pickled},
        "a pickle under the name of tensors": _broken(pickled),
        "a configuration with code": _configured(**auto),
        "custom_generate next to the weights": {
            **_configured(), "custom_generate/generate.py": CODE
        },
        "an index that names a file outside": {"config.json": CONFIG, INDEX: outside},
        "a header of 2^63 bytes": _broken(tensors({}, length=2**63)),
        "a tensor beyond the end": _broken(tensors({"a": tensor(0, 8_000_000)}, b"\0" * 8)),
        "an empty file": _broken(b""),
        "a configuration that is 100,000 deep": {"config.json": deep, "model.safetensors": WHOLE},
        "weights behind a link to a device": {
            "config.json": CONFIG, "model.safetensors": Path("/dev/zero")
        },
        "an adapter with a pattern that backtracks": {
            "adapter_config.json": backtracks, "adapter_model.safetensors": WHOLE
        },
    }  # fmt: skip


def _gguf_files() -> Mapping[str, bytes]:
    head = b"GGUF" + struct.pack("<I", 3)

    def text(raw: bytes, length: int | None = None) -> bytes:
        return struct.pack("<Q", len(raw) if length is None else length) + raw

    return {
        "an empty file": b"",
        "2^63 tensors": head + struct.pack("<QQ", 2**63, 0),
        "a key of 2^60 bytes": head + struct.pack("<QQ", 0, 1) + text(b"a", 2**60),
        "a pickle": pickle.dumps(_Payload()),
    }  # fmt: skip
