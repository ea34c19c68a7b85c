"""What base's folder holds and a model saved from it lacks: weight parts and small files.

Transformers loads a model without the parts that its class does not know, such as heads that draft
several tokens (MTP), and then saves it without them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from tunegate.harness.models._weight_parts import lost_parts
from tunegate.harness.models.adapters.weight_files import read_json, weight_files
from tunegate.harness.records.files import write_atomic

_TERMS = ("LICENSE", "LICENCE", "NOTICE")


def copy_base_parts(base: Path, out: Path) -> tuple[str, ...]:
    """Copy what a saved model lacks of base, and return a sentence on what was and was not copied.

    Only parts that the saved model lacks altogether are copied, byte for byte, so no trained tensor
    is replaced. A folder without config.json, such as a GGUF file's, gets nothing.
    """
    if not (out / "config.json").is_file():
        return ()
    lost = lost_parts(base, out)
    parts = [f"{part} ({len(t)} tensor{'s' * (len(t) > 1)})" for part, t in lost.items()]
    kinds = {read_json(folder / "config.json").get("model_type") for folder in (base, out)}
    # A class for text alone, or with a head of its own: its config.json does not name the parts.
    alike = len(kinds) == 1 and not lost_parts(out, base)
    if lost and alike:
        _add_tensors(base, out, {name for names in lost.values() for name in names})
    kept = [*parts] if alike else []
    for file in _missing_files(base, out, alike=alike):
        shutil.copyfile(file, out / file.name)
        kept.append(file.name)
    sentences = []
    if kept:
        sentences.append(f"kept from base, untrained: {', '.join(kept)}")
    if lost and not alike:
        sentences.append(f"not kept from base, as the class is another: {', '.join(parts)}")
    return tuple(sentences)


def _add_tensors(base: Path, out: Path, names: set[str]) -> None:
    """Add tensors of base as further shards, one for each of base's files that has some."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    wanted = {}
    for path in weight_files(base):
        with safe_open(path, framework="pt") as file:
            if here := sorted(names.intersection(file.keys())):
                wanted[path] = here
    saved = weight_files(out)
    number = len(saved) + len(wanted)
    shards = [out / f"model-{i:05}-of-{number:05}.safetensors" for i in range(1, number + 1)]
    for shard, (path, here) in zip(shards[len(saved) :], wanted.items(), strict=True):
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in here}
            save_file(tensors, shard, metadata={"format": "pt"})
    for path, shard in zip(saved, shards, strict=False):
        path.rename(shard)
    _write_index(out, shards)


def _write_index(out: Path, shards: list[Path]) -> None:
    """Write which shard holds which tensor, as Transformers does; sizes are in bytes."""
    from safetensors import safe_open

    places, size = {}, 0
    for shard in shards:
        with safe_open(shard, framework="pt") as file:
            places.update(dict.fromkeys(file.keys(), shard.name))
        with shard.open("rb") as raw:
            size += shard.stat().st_size - 8 - int.from_bytes(raw.read(8), "little")
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(places.items()))}
    write_atomic(out / "model.safetensors.index.json", json.dumps(index, indent=2) + "\n")


def _missing_files(base: Path, out: Path, *, alike: bool) -> Iterator[Path]:
    """Yield base's files that belong to the model, are not in `out` and hold no weights."""
    # llama.cpp's converter reads tokenizer.model of Gemma, Phi-3 and Mistral; Transformers 5 does
    # not save it again. A classifier generates nothing.
    names = ("tokenizer.model", *(["generation_config.json"] if alike else []))
    configs = (out / name for name in ("config.json", "tokenizer_config.json"))
    coded = any(read_json(path).get("auto_map") for path in configs if path.is_file())
    for path in sorted(base.iterdir()):
        belongs = path.name in names or path.name.upper().startswith(_TERMS)
        code = coded and path.suffix == ".py"
        if (belongs or code) and path.is_file() and not (out / path.name).exists():
            yield path
