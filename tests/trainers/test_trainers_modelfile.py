"""Modelfile: the model, its stop tokens, context and sampling."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.gguf_files import needs_gguf, set_keys
from tests.tiny_models import Tiny, make_tokenizer
from tunegate.trainers.artifacts import _modelfile

pytestmark = needs_gguf


def test_the_file_names_model_stops_and_parameters(tiny: Tiny, tmp_path: Path) -> None:
    from tests.gguf_writer import write_gguf
    from tunegate.harness.models.gguf_format.file import read_gguf

    folder = tmp_path / "model"
    shutil.copytree(tiny.base(), folder)
    make_tokenizer(template="{{ messages }}").save_pretrained(folder)
    sampled = {"do_sample": True, "temperature": 0.6, "repetition_penalty": 1.1}
    set_keys(folder / "generation_config.json", eos_token_id=[0, 9], **sampled)
    write_gguf(folder, tmp_path / "m.gguf", "F32")

    path = _modelfile.write_modelfile(
        folder, read_gguf(tmp_path / "m.gguf"), adapter=tmp_path / "a.gguf"
    )

    lines = path.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "FROM ./m.gguf",
        "ADAPTER ./a.gguf",
        'PARAMETER stop "<|end|>"',
        "PARAMETER num_ctx 256",
        "PARAMETER temperature 0.6",
        "PARAMETER repeat_penalty 1.1",
    ]
