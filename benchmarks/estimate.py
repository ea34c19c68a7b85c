"""Estimated and measured peak memory of short trainings: `python -m benchmarks.estimate`.

Each training runs `tunegate train …` for two steps in a process of its own, with every row at full
length: SmolLM2-135M, and a tiny model with the suffix `-tiny`. The ratio is estimate / measured.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks._apart import apart
from tunegate.trainers.estimate.memory import TrainingSetting

SETTINGS = (
    "sft-lora-8-64-4 sft-lora-16-256-2 sft-lora-64-96-8 sft-full-0-128-2 sft-full-0-64-8 "
    "sft-full-0-384-1 sft-qlora-8-64-4 sft-qlora-16-256-2 dpo-lora-8-64-2 kto-lora-32-128-2 "
    "grpo-lora-8-128-4 sft-lora-16-256-8-tiny sft-full-0-256-8-tiny"
)
"""trainer-method-rank-length-batch."""


def main() -> int:
    """Print every setting with its ratio."""
    from tunegate.trainers.estimate.memory import (
        load_configuration,
        model_shape,
        process_bytes,
        step_memory,
    )

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("settings", nargs="*", default=SETTINGS.split(), help="default: all")
    process, ratios = process_bytes(), []
    print(f"{'setting':<24}{'estimated, MB':>14}{'measured, MB':>14}{'ratio':>7}")
    with tempfile.TemporaryDirectory() as folder:
        for name in parser.parse_args().settings:
            trainer, method, rank, length, batch = name.removesuffix("-tiny").split("-")
            setting = TrainingSetting(
                method,
                int(rank),
                int(length),
                int(batch),
                trainer=trainer,
                written=int(length) // 2 if trainer == "grpo" else 0,
            )
            base = _save_tiny_model(folder) if name.endswith("-tiny") else "embedded"
            step = step_memory(model_shape(load_configuration(base)), setting)
            estimate = process + step.total + step.mapped
            peak = apart(trained, setting, base).peak
            ratios.append(estimate / peak)
            print(
                f"{name:<24}{estimate / 1e6:14.0f}{peak / 1e6:14.0f}{ratios[-1]:7.2f}", flush=True
            )
    print(f"estimate / measured: {min(ratios):.2f} to {max(ratios):.2f}")
    return 0


def _save_tiny_model(folder: str) -> str:
    """Save a Llama of random weights with the embedded model's tokenizer; return its folder."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from tunegate.harness.models.demo_model import make_demo_model

    tokenizer = AutoTokenizer.from_pretrained(make_demo_model())
    sizes: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    heads: dict[str, Any] = {"num_attention_heads": 4, "num_key_value_heads": 2}
    config = LlamaConfig(vocab_size=len(tokenizer), **sizes, **heads)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def trained(setting: TrainingSetting, base: str) -> None:
    """Train two steps on rows that are as long as the setting says."""
    from tunegate.trainers.arguments import prepare_environment

    prepare_environment()
    from tunegate.trainers.train import run_method

    method = import_module(f"tunegate.trainers.{setting.trainer}").METHOD
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.jsonl"
        examples = [_row(setting, i) for i in range(2 * setting.batch)]
        rows.write_text("".join(f"{json.dumps(row)}\n" for row in examples), encoding="utf-8")
        flags = {
            "model_name_or_path": base,
            "train_files": str(rows),
            "output_dir": f"{folder}/out",
            "max_steps": "2",
            "save_strategy": "no",
            "per_device_train_batch_size": str(setting.batch),
            **_own(setting),
        }
        if setting.method != "full":
            flags |= {"peft": setting.method, "lora_r": str(setting.rank)}
            flags |= {"lora_target_modules": "all-linear"}
        argv = [word for name, value in flags.items() for word in (f"--{name}", value)]
        if run_method(method, argv, say=lambda line: print(line, file=sys.stderr)) != 0:
            raise SystemExit(f"{setting}: the training failed")


def _row(setting: TrainingSetting, number: int) -> dict[str, Any]:
    """Return a row whose answer is cut at the setting's length; of GRPO one whose prompt fits."""
    text = " ".join(f"word{i}" for i in range(setting.length))
    prompt = [{"role": "user", "content": f"Say {number}"}]
    answer = [{"role": "assistant", "content": text}]
    if setting.trainer == "dpo":
        worse = [{"role": "assistant", "content": f"No {text}"}]
        return {"prompt": prompt, "chosen": answer, "rejected": worse}
    if setting.trainer == "kto":
        return {"prompt": prompt, "completion": answer, "label": number % 2 == 0}
    if setting.trainer == "grpo":
        return {"prompt": " a" * (setting.length - setting.written), "expected": str(number)}
    return {"prompt": prompt, "completion": answer}


def _own(setting: TrainingSetting) -> dict[str, str]:
    """Return the flags of one trainer."""
    if setting.trainer != "grpo":
        return {"max_length": str(setting.length)}
    written = setting.written
    return {
        "max_completion_length": str(written),
        "num_generations": "2",
        "generation_kwargs": json.dumps({"min_new_tokens": written}),
        "reward": f"{__name__}:letters",
    }


def letters(completions: list[str], **_: object) -> list[float]:
    """Reward answers for small letters, which no two of them have alike."""
    return [sum(map(str.islower, text)) / (1 + len(text)) for text in completions]


if __name__ == "__main__":
    sys.exit(main())
