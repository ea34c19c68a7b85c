"""Hostile model folders: `python -m benchmarks.attacks.models`.

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

from benchmarks.attacks.attempt import AttackAttempt, command_attempt, report
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
    return {
        **_code_folders(), **_index_folders(), **_weight_folders(), **_configuration_folders(),
        **_device_folders(), **_adapter_folders(), "an empty folder": {},
    }  # fmt: skip


def _code_folders() -> Mapping[str, Mapping[str, Any]]:
    """Return folders that hold code."""
    pickled = pickle.dumps(_Payload())
    evil_tokenizer = {"auto_map": {"AutoTokenizer": ["evil.T", None]}}
    auto = {"auto_map": {"AutoModelForCausalLM": "evil.Model", "AutoConfig": "evil.Config"}}
    return {
        "a pickle": {"config.json": CONFIG, "pytorch_model.bin": pickled},
        "a pickle under the name of tensors": _broken(pickled),
        "a pickle as adapter": {"adapter_config.json": {}, "adapter_model.bin": pickled},
        "a configuration with code": _configured(**auto),
        "an architecture of a module": _configured(architectures=["evil.Model"], model_type="evil"),
        "quantised by a module": _configured(quantization_config={"quant_method": "evil.Method"}),
        "a tokenizer with code": {**_configured(), "tokenizer_config.json": evil_tokenizer},
        "generation settings with code": {
            **_configured(), "generation_config.json": {"custom_generate": "evil", "max_length": -1}
        },
        "custom_generate next to the weights": {
            **_configured(), "custom_generate/generate.py": CODE
        },
    }  # fmt: skip


def _index_folders() -> Mapping[str, Mapping[str, Any]]:
    """Return folders with an index of their weights."""
    return {
        "an index that names a file outside": {
            "config.json": CONFIG,
            INDEX: {"weight_map": {"a": "../../../etc/passwd"}},
        },
        "an index without its files": {
            "config.json": CONFIG, INDEX: {"weight_map": {"a": "b"}}
        },
        "an index that is 50,000 deep": {
            "config.json": CONFIG, INDEX: b"[" * 50_000
        },
        "an index of itself": {
            "config.json": CONFIG,
            INDEX: {
                "weight_map": {"a": "model.safetensors.index.json"}
            },
        },
    }  # fmt: skip


def _weight_folders() -> Mapping[str, Mapping[str, Any]]:
    """Return folders whose weights lie about what is in them."""
    overlap = {"a": tensor(0, 8), "b": tensor(4, 12)}
    return {
        "a header of 2^63 bytes": _broken(tensors({}, length=2**63)),
        "a header of 90 MB": _broken(tensors({}, length=90_000_000)),
        "a header that is 50,000 deep": _broken(tensors(b"[" * 50_000)),
        "a header that is no object": _broken(tensors([1])),
        "tensors that overlap": _broken(tensors(overlap, b"\0" * 12)),
        "a tensor beyond the end": _broken(tensors({"a": tensor(0, 8_000_000)}, b"\0" * 8)),
        "offsets below zero": _broken(tensors({"a": tensor(-8, 0)}, b"\0" * 8)),
        "a shape of 2^62": _broken(tensors({"a": tensor(0, 8, (2**62, 2**62))}, b"\0" * 8)),
        "a type that is none": _broken(tensors({"a": tensor(0, 8, dtype="EVIL")}, b"\0" * 8)),
        "an empty file": _broken(b""),
        "a head of another size": _broken(
            tensors({"lm_head.weight": tensor(0, 224, (7, 8))}, b"\0" * 224)
        ),
    }  # fmt: skip


def _configuration_folders() -> Mapping[str, Mapping[str, Any]]:
    """Return folders with a configuration that cannot be."""
    return {
        "a configuration that is 100,000 deep": {
            "config.json": b"[" * 100_000, "model.safetensors": WHOLE
        },
        "a configuration of a billion layers": _configured(num_hidden_layers=10**9),
        "a vocabulary below zero": _configured(vocab_size=-1),
        "no configuration": {"model.safetensors": WHOLE},
        "a sparse configuration of 40 GB": {"config.json": 40 * 10**9, "model.safetensors": WHOLE},
    }  # fmt: skip


def _device_folders() -> Mapping[str, Mapping[str, Any]]:
    """Return folders with links to a file without an end."""
    return {
        "weights behind a link to a device": {
            "config.json": CONFIG, "model.safetensors": Path("/dev/zero")
        },
        "a chat template from a device": {
            **_configured(), "chat_template.jinja": Path("/dev/zero")
        },
        "a tokenizer from a device": {**_configured(), "tokenizer.json": Path("/dev/zero")},
        "a configuration from a device": {
            "config.json": Path("/dev/zero"), "model.safetensors": WHOLE
        },
    }  # fmt: skip


def _adapter_folders() -> Mapping[str, Mapping[str, Any]]:
    """Return adapters of no base."""
    return {
        "an adapter that names a file as its base": {
            "adapter_config.json": {"base_model_name_or_path": "/etc/passwd", "peft_type": "LORA"},
            "adapter_model.safetensors": WHOLE,
        },
        "an adapter with a pattern that backtracks": {
            "adapter_config.json": {"target_modules": "(((a+)+)+)+$", "peft_type": "LORA", "r": 8},
            "adapter_model.safetensors": WHOLE,
        },
        "an adapter of no known kind": {
            "adapter_config.json": {"peft_type": "os.system", "auto_mapping": {"x": "evil"}},
            "adapter_model.safetensors": WHOLE,
        },
    }  # fmt: skip


def _gguf_files() -> Mapping[str, bytes]:
    head = b"GGUF" + struct.pack("<I", 3)

    def text(raw: bytes, length: int | None = None) -> bytes:
        return struct.pack("<Q", len(raw) if length is None else length) + raw

    array = text(b"a") + struct.pack("<IIQ", 9, 9, 1)
    return {
        "an empty file": b"",
        "a magic number alone": head,
        "2^63 tensors": head + struct.pack("<QQ", 2**63, 0),
        "2^63 fields": head + struct.pack("<QQ", 0, 2**63),
        "a key of 2^60 bytes": head + struct.pack("<QQ", 0, 1) + text(b"a", 2**60),
        "arrays that are 5,000 deep": head + struct.pack("<QQ", 0, 1) + array
        + struct.pack("<IQ", 9, 1) * 5_000,
        "a type that is none": head + struct.pack("<QQ", 0, 1) + text(b"a") + struct.pack("<I", 99),
        "the wrong byte order": b"GGUF" + struct.pack(">IQQ", 3, 1, 1),
        "a pickle": pickle.dumps(_Payload()),
    }  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(report(attempts())[1])
