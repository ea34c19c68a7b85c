"""A real `llama-server` on a tiny GGUF file with a tokenizer of ours, for tests that have one.

It is taken from TUNEGATE_LLAMA_SERVER or PATH. All weights are 0, so that every answer ends at
once: what is tested is what the server builds, not what it writes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.models.servers.managed_server import ManagedServer, free_port

PROGRAM = os.environ.get("TUNEGATE_LLAMA_SERVER") or shutil.which("llama-server")
needs_llama_server = pytest.mark.skipif(
    PROGRAM is None, reason="no llama-server on PATH or in TUNEGATE_LLAMA_SERVER"
)
_WIDTH = 32


def write_gguf(
    tokenizer: Any, path: Path, *, add_bos: bool = False, eos: int | None = None
) -> Path:
    """Write a tiny Llama with a byte-level tokenizer; `eos` names another end than its own."""
    import gguf
    import numpy as np

    content = json.loads(tokenizer.backend_tokenizer.to_str())
    special = {token["id"] for token in content["added_tokens"]}
    names = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(4096)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(_WIDTH)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    writer.add_rope_dimension_count(_WIDTH)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(names))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(names)
    writer.add_token_types([control if i in special else normal for i in range(len(names))])
    writer.add_token_merges([" ".join(pair) for pair in content["model"]["merges"]])
    writer.add_eos_token_id(tokenizer.eos_token_id if eos is None else eos)
    if tokenizer.bos_token_id is not None:
        writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_add_bos_token(add_bos)
    writer.add_chat_template(tokenizer.chat_template)
    square = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    shapes = {f"blk.0.{name}.weight": (_WIDTH, _WIDTH) for name in square}
    shapes |= {f"blk.0.{name}.weight": (_WIDTH,) for name in ("attn_norm", "ffn_norm")}
    shapes |= {"output_norm.weight": (_WIDTH,), "token_embd.weight": (len(names), _WIDTH)}
    for name, shape in shapes.items():
        writer.add_tensor(name, np.zeros(shape, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@contextmanager
def running(file: Path, *options: str) -> Iterator[str]:
    """Serve a file as `base`; yield the address."""
    port = free_port()
    command = [str(PROGRAM), "-m", str(file), "--port", str(port), "--alias", "base"]
    command += ["-t", "1", "-np", "1", "-c", "2048", *options]
    server = ManagedServer.start("llama-server", command, port=port, log=file.with_suffix(".log"))
    try:
        server.wait_until_ready(lambda line: None, limit_s=120)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.process.kill()
        server.stop()
