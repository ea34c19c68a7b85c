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
    quantiser = folder / "build" / "bin" / "llama-quantize"
    quantiser.write_text(_QUANTISER.format(python=sys.executable), encoding="utf-8")
    quantiser.chmod(0o755)
    return folder
