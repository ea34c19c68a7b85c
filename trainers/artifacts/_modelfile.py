"""Modelfile: how Ollama is to serve a GGUF file.

It has no TEMPLATE: an Ollama that runs llama-server renders the chat template in the file, unless
it takes that for one that it knows. Judging `ollama:NAME` compares the prompt that it builds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunegate.harness.models._load_model import load_tokenizer
from tunegate.harness.models.adapters.weight_files import read_json
from tunegate.harness.models.gguf_format.file import GgufFile
from tunegate.harness.records.files import write_atomic

NAME = "Modelfile"
CONTEXT = 8192
"""Tokens of num_ctx, unless the model has fewer: Ollama takes 4096 on a small GPU, and cuts longer
prompts without an error (docs/context-length.mdx in its repository)."""
_PARAMETERS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
}
"""Key of generation_config.json → Ollama's parameter."""
_HEAD = """\
# ollama create NAME -f Modelfile; then prove it: --artifacts ollama:NAME
# Ollama renders the chat template in the file, or one it takes it for; OLLAMA_GO_TEMPLATE=0 in the
# server's environment keeps it to the file's own"""


def write_modelfile(folder: Path, model: GgufFile, *, adapter: Path | None = None) -> Path:
    """Write the Modelfile next to a GGUF file and return its path."""
    lines = [_HEAD, f"FROM ./{model.path.name}"]
    if adapter is not None:
        lines.append(f"ADAPTER ./{adapter.name}")
    context = int(model.fields.get(f"{model.architecture}.context_length", CONTEXT))
    lines += _parameter_lines(folder, load_tokenizer(folder), min(context, CONTEXT))
    path = model.path.parent / NAME
    write_atomic(path, "\n".join(lines) + "\n")
    return path


def _parameter_lines(folder: Path, tokenizer: Any, context: int) -> Iterator[str]:
    path = folder / "generation_config.json"
    configured = read_json(path) if path.is_file() else {}
    ids = configured.get("eos_token_id")
    listed = ids if isinstance(ids, list) else [ids]
    stops = dict.fromkeys(i for i in (tokenizer.eos_token_id, *listed) if i is not None)
    for number in stops:
        text = tokenizer.convert_ids_to_tokens(number)
        if number in tokenizer.all_special_ids or number in tokenizer.added_tokens_decoder:
            yield f'PARAMETER stop "{text}"'
    yield f"PARAMETER num_ctx {context}"
    for key, name in _PARAMETERS.items():
        value = configured.get(key)
        if value is not None:
            yield f"PARAMETER {name} {value}"
