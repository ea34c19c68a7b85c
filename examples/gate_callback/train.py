"""A plain TRL script, watched by the gate: SmolLM2-135M learns to turn tickets into JSON.

```
python examples/gate_callback/train.py OUT
```
"""

from __future__ import annotations

import sys
from pathlib import Path

from datasets import load_dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

from tunegate import GateCallback
from tunegate.harness.models.demo_model import make_demo_model

SUITE = Path(__file__).parents[2] / "suites/support_json"


def main(out: str) -> None:
    """Train for thirty steps and let the gate look at both checkpoints."""
    trainer = SFTTrainer(
        str(make_demo_model()),
        args=SFTConfig(
            out,
            max_steps=30,
            save_steps=15,
            save_total_limit=1,
            learning_rate=6e-4,
            per_device_train_batch_size=4,
            max_length=256,
            bf16=False,
            use_cpu=True,
            report_to="none",
        ),
        train_dataset=load_dataset("json", data_files=str(SUITE / "train.jsonl"), split="train"),
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"),
    )
    trainer.add_callback(GateCallback(SUITE, max_cases=40, stop_on="regression"))
    trainer.train()


if __name__ == "__main__":
    main(sys.argv[1])
