"""Baseline memory of a training process, measured by training a tiny model.

`python -m tunegate.trainers.estimate.process` does it and prints the most memory that it took, in
bytes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tunegate.harness.errors import BackendError
from tunegate.trainers.training_card import peak_memory


def measure_overhead() -> int:
    """Return the bytes of libraries, rows and trainer in a process of its own; takes seconds.

    Raises:
        BackendError: the tiny training failed.
    """
    command = [sys.executable, "-m", "tunegate.trainers.estimate.process"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not done.stdout.strip().isdigit():
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise BackendError(f"the training process could not be measured: {last}")
    return int(done.stdout)


def _peak() -> int:
    """Return the most memory of this program; `ru_maxrss` begins with what its parent had."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="ascii", errors="replace") if status.is_file() else ""
    found = [line.split()[1] for line in lines.splitlines() if line.startswith("VmHWM:")]
    return int(found[0]) * 1024 if found else peak_memory()


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<|end|>", *letters])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast: Any = PreTrainedTokenizerFast  # not annotated
    return fast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>")


def _base(folder: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = _tokenizer()
    shape: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads: dict[str, Any] = {"num_attention_heads": 2, "num_key_value_heads": 2}
    config = LlamaConfig(vocab_size=len(tokenizer), **shape, **heads)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main() -> int:
    """Train a tiny model for two steps and print the peak."""
    from tunegate.trainers.arguments import prepare_environment

    prepare_environment()
    from tunegate.trainers.sft import run

    with tempfile.TemporaryDirectory() as name:
        base, rows = Path(name) / "base", Path(name) / "rows.jsonl"
        _base(base)
        row = json.dumps({"prompt": "a", "completion": "b"})
        rows.write_text(f"{row}\n" * 8, encoding="utf-8")
        flags: dict[str, Any] = {"model_name_or_path": base, "train_files": rows}
        flags |= {
            "output_dir": Path(name) / "out",
            "max_steps": 2,
            "save_strategy": "no",
            "lora_target_modules": "all-linear",
        }
        argv = [word for key, value in flags.items() for word in (f"--{key}", str(value))]
        code = run([*argv, "--use_peft"])
    sys.stdout.write(f"{_peak()}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
