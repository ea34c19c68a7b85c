"""Folder contents: what a model folder's weight headers, configuration and tokenizer state."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tunegate.harness.models._model_contents import DRAFTING, ModelContents, part_kind
from tunegate.harness.models._weight_parts import weight_parts
from tunegate.harness.models.adapters.weight_files import (
    TensorHeader,
    read_json,
    same_bytes,
    tensor_headers,
)

_EXPERT = re.compile(r"\bexperts\.(?:(\d+)\.)?")
_HEAD = re.compile(r"^(?:(?:model|language_model)\.)*lm_head\.weight$")
_EMBEDDING = re.compile(
    r"(?:embed_tokens|\bwte|word_embeddings|tok_embeddings|embed_in|backbone\.embeddings?)\.weight$"
)
_TEXT_CONFIGS = ("text_config", "llm_config", "language_config", "thinker_config")
_CONTEXT = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx")


def folder_contents(folder: Path) -> ModelContents:
    """Return what a model folder states."""
    config, headers = _json(folder / "config.json"), tensor_headers(folder)
    generation = _json(folder / "generation_config.json")
    parts_of = (config.get(key) for key in _TEXT_CONFIGS)
    text: dict[str, Any] = next((part for part in parts_of if isinstance(part, dict)), {})
    both = {**config, **text}
    parts = {part: part_kind(part, names) for part, names in weight_parts(headers).items()}
    embedding = next(filter(_EMBEDDING.search, headers), None)
    tokens, last = _tokens(folder)
    stops = generation.get("eos_token_id", both.get("eos_token_id"))
    return ModelContents(
        folder,
        parts=parts,
        kinds=frozenset(filter(None, parts.values())),
        experts=_experts(headers) if headers else None,
        context=next((both[key] for key in _CONTEXT if isinstance(both.get(key), int)), None),
        rope=_rope(both),
        tied=_tied(config, text),
        head=_head(headers, embedding),
        rows=None if embedding is None else headers[embedding].shape[0],
        tokens=tokens,
        last_token=last,
        stops=None if stops is None else frozenset(stops if isinstance(stops, list) else [stops]),
        sampling=generation,
        templates=_templates(folder),
        inputs=frozenset(_inputs(folder)),
        number_format=_number_format(headers),
        quantised="quantization_config" in both or "quantization" in both,
        code=frozenset(_missing_code(folder, config)),
    )


def _json(path: Path) -> dict[str, Any]:
    value = read_json(path) if path.is_file() else {}
    return value if isinstance(value, dict) else {}


def _experts(headers: Mapping[str, TensorHeader]) -> int:
    numbers = [0]
    for name, header in headers.items():
        if (match := _EXPERT.search(name)) and part_kind("", [name]) != DRAFTING:
            numbers.append(int(match[1]) + 1 if match[1] else header.shape[0])
    return max(numbers)


def _head(headers: Mapping[str, TensorHeader], embedding: str | None) -> str | None:
    """Return whether there is an output head of its own; None without known embeddings."""
    if embedding is None:
        return None
    head = next(filter(_HEAD.search, headers), None)
    if head is None:
        return "none"
    return "copy" if same_bytes(headers[head], headers[embedding]) else "own"


def _tied(config: Mapping[str, Any], text: Mapping[str, Any]) -> bool | None:
    """Return whether the head is tied, by the class's own default where nothing is stated."""
    stated = [part["tie_word_embeddings"] for part in (config, text) if _states_tie(part)]
    if stated:
        return any(stated)
    try:
        from transformers import CONFIG_MAPPING

        made = CONFIG_MAPPING[config["model_type"]]()
    except (ImportError, KeyError, TypeError, ValueError):
        return None
    return bool(getattr(made, "tie_word_embeddings", False))


def _states_tie(config: Mapping[str, Any]) -> bool:
    return isinstance(config.get("tie_word_embeddings"), bool)


def _rope(config: Mapping[str, Any]) -> dict[str, frozenset[Any]]:
    """Return the base, kind and factor of rotary positions; older versions name them otherwise."""
    found: dict[str, set[Any]] = {}

    def collect(value: Any) -> None:
        for key, inner in value.items() if isinstance(value, dict) else ():
            name = {"type": "rope_type", "rope_local_base_freq": "rope_theta"}.get(key, key)
            if isinstance(inner, dict):
                collect(inner)
            elif name in ("rope_theta", "rope_type", "factor") and inner not in (None, "default"):
                found.setdefault(name, set()).add(inner)

    for key in ("rope_parameters", "rope_scaling"):
        collect(config.get(key))
    collect({key: config.get(key) for key in ("rope_theta", "rope_local_base_freq")})
    return {name: frozenset(values) for name, values in found.items()}


def _tokens(folder: Path) -> tuple[dict[str, int] | None, int | None]:
    """Return the special and added tokens, and the highest id; None where no file lists them."""
    tokenizer = _json(folder / "tokenizer.json")
    if not tokenizer:
        return None, None
    added = {str(entry["content"]): int(entry["id"]) for entry in tokenizer.get("added_tokens", ())}
    vocabulary = (tokenizer.get("model") or {}).get("vocab") or ()
    last = max(vocabulary.values()) if isinstance(vocabulary, dict) and vocabulary else 0
    return added, max([last, len(vocabulary) - 1, *added.values()])


def _templates(folder: Path) -> dict[str, str]:
    settings = _json(folder / "tokenizer_config.json").get("chat_template")
    listed = settings if isinstance(settings, list) else []
    templates = {str(one.get("name")): str(one.get("template")) for one in listed}
    older = _json(folder / "chat_template.json").get("chat_template")  # of models that see
    for text in (older, settings):
        if isinstance(text, str):
            templates["default"] = text
    for path in folder.glob("additional_chat_templates/*.jinja"):
        templates[path.stem] = path.read_text(encoding="utf-8", errors="replace")
    if (path := folder / "chat_template.jinja").is_file():
        templates["default"] = path.read_text(encoding="utf-8", errors="replace")
    return templates


def _inputs(folder: Path) -> Iterator[str]:
    """Yield what the preprocessing takes; Transformers 5 writes all of it into one file."""
    processor = _json(folder / "processor_config.json")
    first = _json(folder / "preprocessor_config.json")
    if "image_processor" in processor or (first and "feature_extractor_type" not in first):
        yield "images"
    if "video_processor" in processor or (folder / "video_preprocessor_config.json").is_file():
        yield "videos"
    if "feature_extractor" in processor or "feature_extractor_type" in first:
        yield "audio"


def _number_format(headers: Mapping[str, TensorHeader]) -> str | None:
    sizes: dict[str, int] = {}
    for header in headers.values():
        sizes[header.dtype] = sizes.get(header.dtype, 0) + header.end - header.begin
    return max(sizes, key=lambda dtype: sizes[dtype]) if sizes else None


def _missing_code(folder: Path, config: Mapping[str, Any]) -> Iterator[str]:
    """Yield the modules that `auto_map` takes classes from and that are not in the folder."""
    named = config.get("auto_map")
    for value in named.values() if isinstance(named, dict) else ():
        module = str(value).partition(".")[0]
        if "--" not in str(value) and not (folder / f"{module}.py").is_file():
            yield f"{module}.py"
