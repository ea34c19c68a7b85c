"""llama.cpp's own programs on this machine: its server, quantiser and converters.

They are found in the folder that `--llama-cpp DIR` or TUNEGATE_LLAMA_CPP names (a clone, built or
not, or an installation), else on PATH.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tunegate.harness.models._model_folder import require_modules
from tunegate.harness.records.errors import ModelError

HOME = "TUNEGATE_LLAMA_CPP"
"""Environment variable that names llama.cpp's folder."""
SERVER = "TUNEGATE_LLAMA_SERVER"
"""Environment variable that names the server itself."""
_CLONE = "git clone --depth 1 https://github.com/ggml-org/llama.cpp"
_BINARIES = ("build/bin", "bin", ".")
_LINE = 300
"""Characters of a program's error that a message quotes."""


def use_llama_cpp(folder: str | None) -> None:
    """Take llama.cpp's programs from `folder` in this process; None leaves all as it is."""
    if folder is None:
        return
    if not Path(folder).is_dir():
        raise ModelError(f"--llama-cpp {folder}: not a folder; get llama.cpp with `{_CLONE}`")
    os.environ[HOME] = str(Path(folder).absolute())


def find_program(name: str) -> Path:
    """Return the path of one of llama.cpp's programs, such as `llama-server`."""
    named = os.environ.get(SERVER) if name == "llama-server" else None
    home = os.environ.get(HOME)
    places = [Path(named)] if named else [Path(home) / d / name for d in _BINARIES] if home else []
    program = next((path for path in places if path.is_file()), None)
    if program is not None:
        return program.absolute()
    if not places and (on_path := shutil.which(name)):
        return Path(on_path)
    where = f"{SERVER}={named}: is not there" if named else f"{name} is not in {home}"
    lacking = where if places else f"{name} is not on PATH"
    raise ModelError(f"{lacking}; {_remedy(name)}")


def _remedy(name: str) -> str:
    if name.endswith(".py"):
        return f"get it with `{_CLONE}` (nothing to build) and name the folder: --llama-cpp DIR"
    return (
        f"install llama.cpp (`brew install llama.cpp`), or `{_CLONE}`, build it with cmake, and "
        "name the folder: --llama-cpp DIR"
    )


def convert(script: str, *arguments: str | Path) -> None:
    """Run one of llama.cpp's converters, `convert_hf_to_gguf.py` or `convert_lora_to_gguf.py`."""
    program = find_program(script)
    require_modules(
        "torch", "transformers", "gguf", "sentencepiece", what="a GGUF file", extra="gguf"
    )
    _run([sys.executable, str(program), *map(str, arguments)], script)


def quantise(plain: Path, out: Path, quantisation: str) -> None:
    """Write a GGUF file in another format, such as `Q4_K_M`, with `llama-quantize`."""
    program = find_program("llama-quantize")
    _run([str(program), str(plain), str(out), quantisation], program.name)


def _run(command: Sequence[str], name: str) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", env=environment, check=False
        )
    except OSError as error:
        raise ModelError(f"{command[0]}: does not run ({error})") from error
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1][:_LINE] if lines else f"exit code {done.returncode}"
        raise ModelError(f"{name} refused the model: {reason}")
