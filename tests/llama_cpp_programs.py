"""Stand-ins for llama.cpp's programs, in a folder that `--llama-cpp` can name.

The converters take the arguments of the real ones and write tiny files; the real ones are tried
where TUNEGATE_LLAMA_CPP names a clone.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_CONVERTER = """\
import sys
sys.path[:0] = [{root!r}, {src!r}]
from pathlib import Path
from tests.gguf_writer import write_gguf
import argparse
p = argparse.ArgumentParser()
p.add_argument("folder", type=Path); p.add_argument("--outfile", type=Path)
p.add_argument("--outtype"); p.add_argument("--base")
a = p.parse_args()
if (a.folder / "unknown").exists():
    print("INFO: loading", file=sys.stderr)
    sys.exit("NotImplementedError: Model Strange is not supported")
if a.base:
    from gguf import GGUFWriter
    w = GGUFWriter(a.outfile, "llama"); w.add_string("general.type", "adapter")
    w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
else:
    write_gguf(a.folder, a.outfile, a.outtype.upper() if a.outtype != "auto" else "F16")
"""
_QUANTISER = """\
#!{python}
import sys
from pathlib import Path
plain, out, kind = sys.argv[1:]
if kind == "Q6_K":
    sys.exit("llama_model_quantize: failed to quantize")
Path(out).write_bytes(Path(plain).read_bytes())
"""
_SERVER = """\
#!{python}
import json, os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from gguf import GGUFReader
words = dict(zip(sys.argv[1:], sys.argv[2:]))
fields = GGUFReader(words["--model"]).fields
if "broken" in words["--model"]:
    sys.exit("0.00.011.061 E llama_model_load: error loading model: it is broken")
tokens = fields["tokenizer.ggml.tokens"].contents()
sys.path[:0] = [{root!r}, {src!r}]
from pathlib import Path
from tunegate.harness.models.gguf_format.file import read_gguf
from tunegate.harness.models.gguf_format.tokenizer import gguf_tokenizer
tokenizer = gguf_tokenizer(read_gguf(Path(words["--model"])), None)
class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args): pass
    def answer(self, value, status=200):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers(); self.wfile.write(data)
    def do_GET(self):
        context = int(words["--ctx-size"]) // int(words["--parallel"])
        card = {{"id": words["--alias"], "owned_by": "llamacpp"}}
        pages = {{
            "/health": {{"status": "ok"}},
            "/v1/models": {{"data": [card]}},
            "/props": {{"build_info": "b1", "default_generation_settings": {{"n_ctx": context}}}},
        }}
        page = self.path.partition("?")[0]
        key = "Bearer " + os.environ["LLAMA_API_KEY"]
        locked = page != "/health" and self.headers["Authorization"] != key
        if locked or page not in pages:
            return self.answer({{"error": "no"}}, 401 if locked else 404)
        self.answer(pages[page])
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/tokenize":
            ids = tokenizer(body["content"], add_special_tokens=False)["input_ids"]
            return self.answer({{"tokens": ids}})
        prompt = body.get("prompt", [])
        if self.path == "/completion":
            listed = [{{"id": i, "logprob": -1.0 - i}} for i in range(body["n_probs"])]
            place = {{"id": 0, "top_logprobs": listed}}
            return self.answer({{"completion_probabilities": [place]}})
        if self.path != "/v1/completions":
            return self.answer({{"error": "no such page"}}, 404)
        ids = prompt if isinstance(prompt, list) else tokenizer(prompt)["input_ids"]
        text = f"{{len(ids)}} tokens, lora {{json.dumps(body.get('lora'))}}"
        usage = {{"prompt_tokens": len(ids), "completion_tokens": 3}}
        self.answer({{"choices": [{{"text": text, "finish_reason": "stop"}}], "usage": usage}})
ThreadingHTTPServer(("127.0.0.1", int(words["--port"])), Handler).serve_forever()
"""
real_llama_cpp = pytest.mark.skipif(
    not (Path(os.environ.get("TUNEGATE_LLAMA_CPP", "")) / "convert_hf_to_gguf.py").is_file(),
    reason="TUNEGATE_LLAMA_CPP names no clone of llama.cpp",
)


def make_programs(folder: Path) -> Path:
    """Write the stand-ins and return their folder."""
    (folder / "build" / "bin").mkdir(parents=True)
    for name in ("convert_hf_to_gguf.py", "convert_lora_to_gguf.py"):
        text = _CONVERTER.format(root=str(ROOT), src=str(ROOT / "src"))
        (folder / name).write_text(text, encoding="utf-8")
    server = folder / "build" / "bin" / "llama-server"
    text = _SERVER.format(python=sys.executable, root=str(ROOT), src=str(ROOT / "src"))
    server.write_text(text, encoding="utf-8")
    server.chmod(0o755)
    quantiser = folder / "build" / "bin" / "llama-quantize"
    quantiser.write_text(_QUANTISER.format(python=sys.executable), encoding="utf-8")
    quantiser.chmod(0o755)
    return folder
